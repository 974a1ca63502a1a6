# run    set up, then lose and win back a sample shop     make run [ORDERS=20000]
# test   every check there is, in one command
# bench  measure against other tools, side by side        make bench [ONLY=ground]
# soak   the long tests that `test` leaves out
# setup  everything a developer needs; instant when nothing changed
# clean  remove all that setup, runs and tests made

VENV := .venv/bin

.PHONY: run test bench soak setup clean

run:
	@scripts/setup.sh run
	@$(VENV)/python scripts/run.py --orders $(or $(ORDERS),20000)

test:
	@scripts/setup.sh test
	@scripts/test.sh

bench:
	@scripts/setup.sh bench
	@$(VENV)/python -m bench $(ONLY)

soak:
	@scripts/setup.sh test
	@$(VENV)/python -m pytest -m soak -o faulthandler_timeout=0

setup:
	@scripts/setup.sh test

clean:
	rm -rf .venv build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests scripts bench bugs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
