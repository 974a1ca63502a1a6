"""What happened, as typed facts for the journal, and what follows from them by pure folds (docs/format.md, events).

An event is JSON with `kind`, `at` (ISO, UTC) and its own fields. A reader leaves out fields it does not know, and keeps
events of kinds it does not know whole, so that an older version can read a newer journal.

    >>> event = Healed(datetime(2026, 3, 1, tzinfo=UTC), sites=("b",), objects=2, size=4096, unhealed=())
    >>> Event.from_json(event.to_json()) == event
    True
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar

from holdfast.errors import Damaged

__all__ = [
    "CaptureDone",
    "CommitRef",
    "Drilled",
    "Event",
    "Healed",
    "Progress",
    "ReceiptGiven",
    "Restored",
    "UnknownEvent",
    "Verified",
    "last_by_kind",
    "receipts_of",
]

_GRADES = ("self", "observed", "attested")
_KINDS: dict[str, type[Event]] = {}


@dataclass(frozen=True, slots=True)
class CommitRef:
    """A commit by name: its stream, its sequence and the SHA-256 of its stored bytes."""

    stream: str
    sequence: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened at a moment, by the clock of the host that says so."""

    kind: ClassVar[str] = ""
    at: datetime

    def __init_subclass__(cls) -> None:
        if cls.kind:
            _KINDS[cls.kind] = cls

    def to_json(self) -> dict[str, Any]:
        """The event as the journal holds it."""
        return {"kind": self.kind} | {each.name: _plain(getattr(self, each.name)) for each in fields(self)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Event:
        """The event that `to_json` wrote. Raises Damaged if a known kind lacks a field or has one of a wrong type."""
        kind = _text(value.get("kind"))
        made = _KINDS.get(kind)
        if made is None:
            data = {name: each for name, each in value.items() if name not in ("kind", "at")}
            return UnknownEvent(_moment(value.get("at")), kind, data)
        known: dict[str, Any] = {}
        for each in fields(made):
            if each.name not in value and each.default is not MISSING:
                continue
            try:
                known[each.name] = _READ[str(each.type)](value.get(each.name))
            except Damaged as error:
                raise _damaged(f"its {kind} event has no good {each.name}") from error
        return made(**known)


@dataclass(frozen=True, slots=True)
class CaptureDone(Event):
    """A capture became a commit. Counts are of records: all, and those new, changed or gone since the last capture.

    `broke` tells of a snapshot that had to close a break of a followed source: between which positions, and why.
    """

    kind: ClassVar[str] = "capture"
    commit: CommitRef
    position: str
    records: int
    new: int
    changed: int
    gone: int
    stored: int
    seconds: float
    gaps: tuple[str, ...] = ()
    broke: str = ""


@dataclass(frozen=True, slots=True)
class Verified(Event):
    """These sites were read and checked: so many objects and bytes. No `findings` means that all was as it must be.

    `oldest` is given when not everything was read now: the oldest reading of any object at these sites.
    """

    kind: ClassVar[str] = "verify"
    head: CommitRef | None
    sites: tuple[str, ...]
    objects: int
    size: int
    findings: tuple[str, ...]
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Healed(Event):
    """Damaged or missing objects were put back at these sites; `unhealed` names those no site has whole."""

    kind: ClassVar[str] = "heal"
    sites: tuple[str, ...]
    objects: int
    size: int
    unhealed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Restored(Event):
    """Records of a commit were put back. `is_proven`: what the target holds has the fingerprints of the commit."""

    kind: ClassVar[str] = "restore"
    commit: CommitRef
    target: str
    plan: str
    inserts: int
    updates: int
    deletes: int
    is_proven: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Drilled(Event):
    """A restore to scratch: how long it took (RTO), how old the data was (RPO), and whether it was proven equal."""

    kind: ClassVar[str] = "drill"
    commit: CommitRef
    records: int
    is_proven: bool
    seconds: float
    age_seconds: float


@dataclass(frozen=True, slots=True)
class ReceiptGiven(Event):
    """Everything up to this commit lies at this site. Grades, in rising order: self, observed, attested."""

    kind: ClassVar[str] = "receipt"
    site: str
    owner: str
    grade: str
    commit: CommitRef


@dataclass(frozen=True, slots=True)
class UnknownEvent(Event):
    """An event of a kind this version does not know, kept as it is."""

    name: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The event as it was read."""
        return {"kind": self.name, "at": _plain(self.at)} | dict(self.data)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation has come, told while it runs and kept nowhere. `total` is None while it is not known."""

    stage: str
    done: int
    total: int | None
    unit: str


def last_by_kind(events: Iterable[Event]) -> dict[str, Event]:
    """The latest event of each kind by its own time; of equal times the later in order."""
    last: dict[str, Event] = {}
    for event in events:
        kind = event.name if isinstance(event, UnknownEvent) else event.kind
        if kind not in last or event.at >= last[kind].at:
            last[kind] = event
    return last


def receipts_of(events: Iterable[Event], commit: CommitRef) -> tuple[ReceiptGiven, ...]:
    """The best receipt of each site for a commit or a later one of its stream, by site.

    A receipt covers everything up to its commit; one for the same sequence with another hash is of a fork and left out.
    """
    best: dict[str, ReceiptGiven] = {}
    for event in events:
        if not isinstance(event, ReceiptGiven) or event.grade not in _GRADES or not _covers(event.commit, commit):
            continue
        held = best.get(event.site)
        if held is None or _GRADES.index(event.grade) > _GRADES.index(held.grade):
            best[event.site] = event
    return tuple(best[site] for site in sorted(best))


def _covers(later: CommitRef, commit: CommitRef) -> bool:
    return later == commit or (later.stream == commit.stream and later.sequence > commit.sequence)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, CommitRef):
        return asdict(value)
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _damaged(cause: str) -> Damaged:
    return Damaged(f"the journal can't be read: {cause}", hint='run "holdfast verify"')


def _is(kind: type | tuple[type, ...]) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        # In Python a bool is an int; in the journal it is not.
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise _damaged("a field is of a wrong type")
        return value

    return read


def _moment(value: Any) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError as error:
        raise _damaged("an event has no good time") from error
    if moment.tzinfo is None:
        raise _damaged("an event has a time without a zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise _damaged("an event has a time outside all years") from error


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(_text(each) for each in _is(list)(value))


def _commit(value: Any) -> CommitRef:
    value = _is(dict)(value)
    return CommitRef(_text(value.get("stream")), _is(int)(value.get("sequence")), _text(value.get("sha256")))


def _number(value: Any) -> float:
    try:
        found = float(_is((int, float))(value))
    except OverflowError as err:
        raise _damaged("a number is too large") from err
    if not math.isfinite(found):
        raise _damaged("a number is none")
    return found


def _pair(value: Any) -> tuple[CommitRef, CommitRef]:
    if len(_is(list)(value)) != 2:
        raise _damaged("a range is of two commits")
    return _commit(value[0]), _commit(value[1])


_text = _is(str)
_READ: Mapping[str, Callable[[Any], Any]] = {
    "datetime": _moment,
    "datetime | None": lambda value: None if value is None else _moment(value),
    "str": _text,
    "int": _is(int),
    "float": _number,
    "bool": _is(bool),
    "tuple[str, ...]": _texts,
    "dict[str, Any]": lambda value: dict(_is(dict)(value)),
    "tuple[dict[str, Any], ...]": lambda value: tuple(dict(_is(dict)(each)) for each in _is(list)(value)),
    "Ranges": lambda value: tuple(_pair(each) for each in _is(list)(value)),
    "CommitRef": _commit,
    "CommitRef | None": lambda value: None if value is None else _commit(value),
}

# Last, for they build on all of the above: whoever reads events knows these kinds as well.
from holdfast.core import locks as _locks  # noqa: E402, F401
from holdfast.core import statements as _statements  # noqa: E402, F401
