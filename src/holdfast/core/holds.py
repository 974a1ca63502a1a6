"""Which holds stand: by whom one is ended, and how.

* A legal hold, or one on a commit, stands until a matured request to release it.
* That of an incident also ends when somebody else decides on it who may: an approver, a holder or root, or where there
  are no approvers a reader. Never a writer: his key opened it, and lies where a thief looks first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from holdfast.core.control import AHEAD_MAX, Action, Rules, Statement, by_request, matured, subject_of
from holdfast.core.incident import Decision
from holdfast.core.statements import Decided, Held, Requested

__all__ = ["decisions_on", "may_decide", "open_holds"]

_MAY_DECIDE = frozenset({"approver", "holder", "root"})
_MAY_HOLD = frozenset({"approver", "holder", "root", "reader", "writer"})


def open_holds(statements: Iterable[Statement], rules: Rules, now: datetime) -> tuple[Statement, ...]:
    """The holds that stand: those that no matured request to release names, and of incidents that no decision ended."""
    known = tuple(statements)
    about = by_request(known)
    released = [
        each.event.subject
        for each in known
        if isinstance(each.event, Requested)
        and each.event.action == Action.RELEASE
        and matured(each, about.get(each.sha256, ()), rules, now).is_matured
    ]
    decided: dict[str, list[Statement]] = {}
    for each in decisions_on(known, rules, now):
        if isinstance(each.event, Decided) and each.event.incident:
            decided.setdefault(each.event.incident, []).append(each)
    return tuple(
        each
        for each in known
        if isinstance(each.event, Held)
        and each.vault == rules.vault
        and each.roles & _MAY_HOLD
        and subject_of(Action.RELEASE, each.sha256) not in released
        and not _is_over(each, decided.get(each.event.incident, ()))
    )


def decisions_on(statements: Iterable[Statement], rules: Rules, now: datetime) -> tuple[Statement, ...]:
    """What was decided on incidents by those who may, by their own times."""
    found = [
        each
        for each in statements
        if isinstance(each.event, Decided)
        and each.vault == rules.vault
        and may_decide(each.roles, rules)
        and each.event.decision in set(Decision)
        and each.event.at <= now + AHEAD_MAX
    ]
    return tuple(sorted(found, key=lambda each: (each.event.at, each.sha256)))


def may_decide(roles: frozenset[str], rules: Rules) -> bool:
    """Whether somebody in these roles may decide on incidents that others opened."""
    may = _MAY_DECIDE if rules.people else _MAY_DECIDE | {"reader"}
    return bool(roles & may) and "writer" not in roles


def _is_over(hold: Statement, decisions: Sequence[Statement]) -> bool:
    """Whether the last of the decisions on its incident, of others than who opened it, ended that."""
    told = [each.event.decision for each in decisions if isinstance(each.event, Decided) and each.person != hold.person]
    return bool(told) and told[-1] in (Decision.ACCEPT, Decision.MENDED)
