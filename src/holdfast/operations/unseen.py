"""What a reading user may see no more: kept as it was, with a gap that says so, and never taken for gone.

Some servers hide what a user has no right to. So this host remembers the rights with which it last saw everything; with
fewer, what is not seen may be there still. It goes on like that until the rights are given back.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from holdfast.core.doors import Identified, Narrowed
from holdfast.core.ports import Snapshot
from holdfast.state.index import Index

__all__ = ["hidden", "unseen"]

_RIGHTS = "rights"
_HIDDEN = "hidden"


def unseen(snapshot: Snapshot, index: Index, known: Iterable[str]) -> Mapping[str, str]:
    """The collections among those known of which this snapshot may lack all or a part, and why."""
    if not isinstance(snapshot, Narrowed) or not isinstance(snapshot, Identified):
        return {}
    rights = snapshot.marks().rights
    before = frozenset(json.loads(index.recall(_RIGHTS) or "[]"))
    names = set(known)
    found = snapshot.unseen(before - rights if names else frozenset(), sorted(names - {*snapshot.names}))
    if not names or rights >= before:
        index.remember(_RIGHTS, json.dumps(sorted(rights)))
    index.remember(_HIDDEN, json.dumps({name: why for name, why in found.items() if name not in snapshot.names}))
    return {name: why for name, why in found.items() if name in names}


def hidden(index: Index) -> Mapping[str, str]:
    """The collections that the last snapshot could not see at all, and why: a feed knows nothing of them."""
    found: dict[str, str] = json.loads(index.recall(_HIDDEN) or "{}")
    return found
