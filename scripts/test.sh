#!/bin/sh
# Every check, cheapest first; all of them run even if one fails, and the planted bugs close. `make test` calls this.
# JOBS sets how many tests run at a time (4: many of them wait for servers), and planted bugs two more (where a
# test fails it often waits for what does not come).
set -u

cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH
jobs=${JOBS:-4}
failed=""
said=$(mktemp -d)
trap 'rm -rf "$said"' EXIT

# Half of what the tests would wait for is a disk that they are not about (those about losing power watch what is asked
# of it): their files lie in memory where it has room, and lets programs run. Set TMPDIR to have them elsewhere.
memory=/dev/shm
if [ -z "${TMPDIR:-}" ] && [ "$(df -Pk $memory 2>/dev/null | awk 'END { print $4 }')" -gt 6000000 ] 2>/dev/null; then
    trial=$(mktemp $memory/holdfast-XXXXXX) && printf '#!/bin/sh\n' >"$trial" && chmod +x "$trial"
    if "$trial" 2>/dev/null; then
        export TMPDIR=$memory
    fi
    rm -f "$trial"
fi

# Hundreds of commands are run as processes of their own: compiling all of Holdfast takes each longer than to run.
unset PYTHONDONTWRITEBYTECODE

# What it says is kept: the end of all shows once more what failed, whatever came after.
check() {
    title=$1
    shift
    printf '\n== %s: %s\n' "$title" "$*"
    { "$@" 2>&1 || : >"$said/$title.failed"; } | tee "$said/$title"
    [ ! -e "$said/$title.failed" ] || failed="$failed $title"
}

# On a core of its own, beside what needs no more than one either.
mypy --strict src scripts bench bugs reader >"$said/mypy" 2>&1 &
typing=$!

check lint ruff check --quiet --output-format concise .
check format ruff format --check --output-format concise .
check layers lint-imports
# Once, not once in every process that runs tests: what is not compiled yet takes ten seconds of each.
python -m pytest --collect-only -qq >/dev/null 2>&1
wait "$typing"
typed=$?
types() {
    cat "$said/mypy"
    return "$typed"
}
check types types
check tests python -m pytest -n "$jobs" --dist worksteal
case $failed in
    *tests*) check bugs python -m bugs --jobs $((jobs + 2)) ;;
    *) check bugs python -m bugs --jobs $((jobs + 2)) --after-tests ;;
esac

for title in $failed; do
    printf '\n== %s failed; the end of what it said:\n' "$title"
    tail -n 20 "$said/$title"
done
if [ -n "$failed" ]; then
    printf '\nfailed:%s\n' "$failed"
    exit 1
fi
