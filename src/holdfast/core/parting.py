"""At which point of a vault's history a source was set back: what its records say, as votes.

A record that the source holds as the vault held it from one point up to another votes for every point between. So
does one that the source lacks and the vault did not have yet. A few records were changed since, and some may have come
back to an old value by chance: the point with most votes counts, if the votes are many enough to believe it.

Points are whole numbers that rise with the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["END", "Ballot", "Point", "Says", "parting_point"]

END = (1 << 62) - 1  # after every point
_WEIGHT = 8
_NEAR = 0.9  # of the most votes: a point below has not the source's records
_CHANCE = 20  # of so many records that changed one may be as it was before by chance


class Says(IntEnum):
    """What the source says of a version of the vault's, from its beginning up to the next."""

    ANOTHER = 0  # it has another
    GONE = 1  # neither has the record
    SAME = 2  # it has this one
    NEW = 3  # the vault had none yet, and the source has a record that differs from the vault's last


@dataclass(slots=True)
class Ballot:
    """What the records of one collection say. `starts` and `ends` are the points of each version, `says` of what kind.

    `lacking` is how many records the source lacks, `differing` how many differ between both, `older` how many are as
    some older version. `stayed` counts, by the number of a commit, records that it changed and the source has so.
    """

    starts: pa.Array
    ends: pa.Array
    says: pa.Array
    lacking: int = 0
    differing: int = 0
    older: int = 0
    stayed: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Point:
    """Where a source was set back to: the state from `start` on, before `end`. Of `telling` records so many agree.

    `apart` are the places, among the ballots, of collections that were not set back with the others.
    """

    start: int
    end: int
    agreeing: int
    telling: int
    apart: frozenset[int] = frozenset()


def parting_point(ballots: Sequence[Ballot], below: int, *, is_set_back: bool = False) -> Point | None:
    """The newest point that most records agree on; None if what they say is no sign that the source was set back.

    A point is the number of its commit and, in so many bits *below* it, a place within that commit.
    If it `is_set_back`, as others say, what it lacks does not speak against that: it was deleted besides.
    """
    counted = _counted(ballots)
    if counted is None or not (most := pc.max(counted.same).as_py()):
        return None
    # What the source has as it was is a far stronger sign than what neither has: it deletes records of its own, too.
    votes = pc.add(pc.multiply(counted.same, _WEIGHT), counted.gone)
    votes = pc.if_else(pc.greater_equal(counted.same, int(most * _NEAR) or 1), votes, -1)
    chosen = pc.indices_nonzero(pc.equal(votes, pc.max(votes)))[-1].as_py()
    points = [*counted.points.slice(chosen, 2).to_pylist(), END]
    same, gone, new = (each[chosen].as_py() for each in (counted.same, counted.gone, counted.new))
    lacking, differing, older = (sum(getattr(b, name) for b in ballots) for name in ("lacking", "differing", "older"))
    stayed = [_stayed(each, points[1] >> below) for each in ballots]
    # Each of these would be many if the source had not been set back, whatever happened to it instead.
    is_gone = lacking - gone > same + gone and not is_set_back
    if same * _CHANCE < differing - same - new or is_gone or sum(stayed) > same + gone:
        return None
    own = [_votes_at(each, points[0]) for each in ballots]
    apart = frozenset(place for place, kept in enumerate(stayed) if kept > own[place])
    return Point(points[0], points[1], same + gone, lacking + older, apart)


class _Counted(NamedTuple):
    """Points, ascending, and of how many records the source says what from each up to the next."""

    points: pa.Array
    same: pa.Array
    gone: pa.Array
    new: pa.Array


def _counted(ballots: Sequence[Ballot]) -> _Counted | None:
    parts = [each for each in ballots if len(each.starts)]
    if not parts:
        return None
    starts, ends, says = (
        pa.concat_arrays([getattr(each, name) for each in parts]) for name in ("starts", "ends", "says")
    )
    columns = {"point": pa.concat_arrays([starts, ends])}
    for kind in (Says.SAME, Says.GONE, Says.NEW):
        one = pc.equal(says, pa.scalar(int(kind), says.type)).cast(pa.int64())
        columns[kind.name] = pa.concat_arrays([one, pc.negate(one)])
    names = [name for name in columns if name != "point"]
    table = pa.table(columns).group_by("point").aggregate([(name, "sum") for name in names]).sort_by("point")
    sums = (pc.cumulative_sum(table.column(f"{name}_sum").combine_chunks()) for name in names)
    points = table.column("point").combine_chunks()
    return _Counted(*(each.filter(pc.less(points, END)) for each in (points, *sums)))


def _stayed(ballot: Ballot, number: int) -> float:
    """How many records were changed after a commit that the source has as they are now."""
    return sum(count for each, count in ballot.stayed.items() if each > number)


def _votes_at(ballot: Ballot, point: int) -> int:
    """How many records agree on a point."""
    within = pc.and_(pc.less_equal(ballot.starts, point), pc.greater(ballot.ends, point))
    says = pc.is_in(ballot.says, value_set=pa.array([Says.GONE, Says.SAME], ballot.says.type))
    return int(pc.sum(pc.and_(within, says)).as_py() or 0)
