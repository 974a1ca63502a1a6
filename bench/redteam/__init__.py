"""One thief, three keepers of copies: what the real secrets of a stolen capture host are good for at each of them.

`python -m bench.redteam` plays every attack and shows the verdicts; `--table` writes them into docs/threat-model.md.
"""
