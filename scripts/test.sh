#!/bin/sh
# Every check, cheapest first; all of them run even if one fails, and the planted bugs close. `make test` calls this.
# JOBS sets how many tests run at a time (2).
set -u

cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
export PATH PYTHONDONTWRITEBYTECODE=1
jobs=${JOBS:-2}
failed=""

check() {
    title=$1
    shift
    printf '\n== %s: %s\n' "$title" "$*"
    "$@" || failed="$failed $title"
}

check lint ruff check --quiet --output-format concise .
check format ruff format --check --output-format concise .
check types mypy --strict src scripts bench bugs reader
check layers lint-imports
check tests python -m pytest -n "$jobs" --dist worksteal
case $failed in
    *tests*) check bugs python -m bugs --jobs "$jobs" ;;
    *) check bugs python -m bugs --jobs "$jobs" --after-tests ;;
esac

if [ -n "$failed" ]; then
    printf '\nfailed:%s\n' "$failed"
    exit 1
fi
