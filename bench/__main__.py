"""`python -m bench [NAME …]`: a table on stderr, JSON lines on stdout. No name: all there are."""

from __future__ import annotations

import sys

from bench import databases, findings, ground, outage, siteserver, trust, year
from bench.report import print_line, print_table

SUITES = {
    "databases": databases.run,
    "findings": findings.run,
    "ground": ground.run,
    "outage": outage.run,
    "siteserver": siteserver.run,
    "trust": trust.run,
    "year": year.run,
}
_WITHIN = {"siteserver"}  # what another suite runs too


def main(names: list[str]) -> int:
    """Run the named suites; exit 2 for a name that is none."""
    unknown = [name for name in names if name not in SUITES]
    if unknown:
        print(f"bench: no suite called {', '.join(unknown)}; there are: {', '.join(SUITES)}", file=sys.stderr)
        return 2
    for name in names or [each for each in SUITES if each not in _WITHIN]:
        lines = SUITES[name]()
        print_table(lines)
        for line in lines:
            print_line(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
