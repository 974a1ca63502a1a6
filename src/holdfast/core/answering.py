"""Routes become questions to the copy, and what it says becomes the platform's own answer.

* `Answering` makes of each route, once, what answers it. A mistake in a route leaves that route out, by name, and the
  others answer.
* What can't be told exactly is not told: `Untellable`, and the gateway refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from holdfast.core.asking import parameters
from holdfast.core.drafts import PATH, Draft
from holdfast.core.exchange import Asked, Matched, Subject
from holdfast.core.formats import Mistake, Untellable
from holdfast.core.listing import ListPlan
from holdfast.core.lookups import Records, Select, Shape, Texts
from holdfast.core.showing import Shown, Terms, path_names, shape_of

__all__ = ["Answering", "Reply"]

_FOUND, _ABSENT = 200, 404


class Reply(NamedTuple):
    """A status and the JSON that goes with it."""

    status: int
    body: str


class Answering:
    """Answers requests from the copy. `wrong` says of each route that can't, by name, why."""

    def __init__(self, drafts: Mapping[str, Draft], shapes: Mapping[str, Shape]) -> None:
        self._plans: dict[str, _RecordPlan | ListPlan] = {}
        self.wrong: dict[str, str] = {}
        for name, draft in drafts.items():
            try:
                self._plans[name] = _RecordPlan(draft, shapes) if draft.whole is None else ListPlan(draft, shapes)
            except Mistake as err:
                self.wrong[name] = str(err)

    def answer(self, matched: Matched, asked: Asked, subject: Subject, records: Records) -> Reply:
        """The platform's own answer, as the copy has it. Raises Untellable where it can't be told."""
        plan = self._plans.get(matched.route.name)
        if plan is None:
            raise Untellable("nothing in the copy answers this route")
        if isinstance(plan, ListPlan):
            return Reply(_FOUND, plan.answer(matched, asked, subject, records))
        return plan.answer(matched, asked, subject, records)


class _RecordPlan:
    """What answers a route to one record."""

    def __init__(self, draft: Draft, shapes: Mapping[str, Shape]) -> None:
        shape = shape_of(draft.route.collection, shapes)
        self._route = draft.route
        self._terms = Terms(draft, shape)
        self._shown = Shown(draft, shapes)
        self._names = path_names(draft.route.path)
        kinds = {PATH + name: "text" for name in self._names}
        self._absent = None if draft.absent is None else draft.absent.bind(kinds)
        # A key in other letters may be the same one there: who is not found here may be found there.
        texts = {"text", "source"} & {shape.columns.get(term.column, "") for term in draft.terms}
        if texts and shape.texts is Texts.FOLDED:
            self._absent = None

    def answer(self, matched: Matched, asked: Asked, subject: Subject, records: Records) -> Reply:
        """The record, or the platform's answer where it is not there."""
        parameters(asked.query, self._route)
        terms, values = self._terms.of(matched.params, subject)
        rows = records.find(Select(self._route.collection, self._shown.columns, terms), values, 2)
        if len(rows) == 1:
            return Reply(_FOUND, self._shown.show(rows[0], matched.params, records))
        if rows:
            raise Untellable("two records are under one key")
        # Somebody else's record is no record that is not there, and which of the two it is must not show.
        if self._absent is None or (self._route.owner and subject.access == "session"):
            raise Untellable("there is no such record in the copy")
        return Reply(_ABSENT, self._absent([matched.params[name] for name in self._names]))
