#!/bin/sh
# Make .venv ready for a level, and install the system packages that level needs. Instant when nothing changed.
#
#   scripts/setup.sh run      Holdfast itself
#   scripts/setup.sh test     and what its tests need
#   scripts/setup.sh bench    Holdfast and the tools it is measured against
#
# System packages are installed with apt-get as root or through password-less sudo; where neither is possible, what is
# missing is named. Exit codes: 0 ready, 2 something must be installed by hand first, 1 an installation failed.
set -eu

cd "$(dirname "$0")/.."
HOME_MARK=.venv/.location
LOG=.venv/setup.log

main() {
    level=${1:-test}
    case $level in
        run) tools="" ;;
        test) tools="age nginx redis-server sqlite3" ;;
        bench) tools="age nginx rclone redis-server restic sqlite3 sysbench wrk zstd" ;;
        *) stop "unknown level '$level'" "use run, test or bench" ;;
    esac
    need_packages "$(PATH="$PATH:/usr/sbin" missing_of $tools)"
    [ "$level" = run ] || need_postgresql
    [ "$level" = run ] || need_mariadb
    [ "$level" != test ] || need_ceph
    [ "$level" != bench ] || [ -z "$(missing_of borg)" ] || need_packages borgbackup
    digest=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
    is_ready "$level" && return
    make_venv
    case $level in
        test) install "Holdfast and its tests" '.[test]' ;;
        bench) install "Holdfast with its drivers" '.[bench]' ;;
        *) install "Holdfast" . ;;
    esac
    echo "$digest" >".venv/.ready-$level"
}

# A level is ready when its own stamp, or that of a level with more Python packages, is of these very files and this
# very folder: a virtual environment that was moved or copied still points to where it was made.
is_ready() {
    [ "$(cat $HOME_MARK 2>/dev/null)" = "$PWD" ] || return 1
    for stamp in ".venv/.ready-$1" .venv/.ready-test; do
        [ "$(cat "$stamp" 2>/dev/null)" = "$digest" ] && return 0
    done
    return 1
}

make_venv() {
    if [ "$(cat $HOME_MARK 2>/dev/null)" = "$PWD" ] && .venv/bin/python -m pip --version >/dev/null 2>&1; then
        return
    fi
    python=$(find_python) || stop "no Python 3.11 or later found" "install python3 (3.11+), or name one: make setup PYTHON=…/python3"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        need_packages "python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
    fi
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    "$python" -m venv .venv
    echo "$PWD" >$HOME_MARK
}

# PYTHON decides if it is set; pyenv and the like put commands on the PATH that do not run, so each is tried.
find_python() {
    for each in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
        if "$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$each"
            return
        fi
    done
    return 1
}

# Build with the pinned setuptools of .venv: an isolated build would fetch whatever is newest that day.
install() {
    say "installing $1 into .venv"
    { true >$LOG; } 2>/dev/null || stop "$PWD/.venv is not writable" "make setup as the user it belongs to, or remove it"
    if ! {
        pip install -c constraints.txt setuptools && pip install -c constraints.txt --no-build-isolation -e "$2"
    } >$LOG 2>&1; then
        grep -v '^WARNING' $LOG | tail -n 15 >&2
        say "error: the installation failed; all of its output is in $LOG"
        exit 1
    fi
}

pip() {
    .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"
}

# Tests and benchmarks start servers of their own. Debian's package would make and start a cluster besides: not for our
# sake.
need_postgresql() {
    for server in /usr/lib/postgresql/*/bin/postgres; do
        [ ! -x "$server" ] || [ ! -x "${server%/*}/pg_dump" ] || return 0
    done
    only_programs=/etc/postgresql-common/createcluster.d/holdfast-tests.conf
    if command -v apt-get >/dev/null 2>&1 && find_root; then
        trap '$sudo rm -f $only_programs' EXIT
        $sudo mkdir -p "${only_programs%/*}"
        echo "create_main_cluster = false" | $sudo tee $only_programs >/dev/null
    fi
    need_packages "postgresql postgresql-client"
    $sudo rm -f $only_programs
    trap - EXIT
}

# The server's programs alone: the whole package would make data of its own, and start a server on it.
need_mariadb() {
    if [ -n "$(PATH="$PATH:/usr/sbin" missing_of mariadbd mariadb mariadb-binlog mariadb-dump mariadb-install-db)" ]; then
        need_packages "mariadb-server-core mariadb-client"
    fi
}

# An object store with locks. Debian's packages start none of it as long as nobody configures it.
need_ceph() {
    if [ -n "$(missing_of ceph ceph-mon ceph-osd radosgw radosgw-admin)" ]; then
        need_packages "ceph-common ceph-mon ceph-osd radosgw"
    fi
}

missing_of() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null 2>&1 || echo "$tool"
    done
}

need_packages() {
    packages=$(echo $1)
    [ -n "$packages" ] || return 0
    by_hand="install them by hand, on Debian: apt-get install $packages"
    command -v apt-get >/dev/null 2>&1 || stop "missing on this system: $packages" "$by_hand"
    find_root || stop "missing on this system: $packages (and installing needs root)" "$by_hand"
    say "installing system packages: $packages"
    [ -n "$(recent_lists)" ] || apt update || say "the package lists could not be renewed; trying with those at hand"
    apt install -y --no-install-recommends $packages && return
    # Lists of a few days may already name versions that are gone.
    apt update && apt install -y --no-install-recommends $packages && return
    stop "apt-get could not install: $packages" "$by_hand"
}

# How to become root, in $sudo; false where that would need a password.
find_root() {
    sudo=""
    [ "$(id -u)" = 0 ] && return
    sudo="sudo -n"
    sudo -n true 2>/dev/null
}

recent_lists() {
    find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mtime -7 2>/dev/null | head -n 1
}

apt() {
    $sudo env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -qq "$@" </dev/null >&2
}

say() {
    echo "setup: $*" >&2
}

stop() {
    say "error: $1"
    say "hint: $2"
    exit 2
}

main "$@"
