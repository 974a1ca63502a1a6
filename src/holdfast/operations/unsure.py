"""Records whose numbers can't be added up: nobody knows what they were when the source left the history.

A source that is captured now and then may leave it between two captures. What changed in that time had one value at
the first of them and another at the second, and at the parting it may have had either, or one in between. Two changes
are counted from what a number was before both; from a guess the sum would be wrong without a word.

A source that has nothing of what came between the two left at the first of them, and all is sure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import row_digests
from holdfast.core.projection import compatible, project
from holdfast.core.records import Schema, is_definition
from holdfast.core.threeway import Deviation, Fate
from holdfast.core.undo import Histories, Way, way_of
from holdfast.operations.lost import Losses
from holdfast.vault.merge import DELETE
from holdfast.vault.states import CollectionState, State
from holdfast.vault.vault import Vault
from holdfast.vault.view import Opened, VaultView, open_rows

__all__ = ["unsure_keys"]


def unsure_keys(
    vault: Vault, losses: Losses, histories: Histories, alike: Mapping[str, pa.Array]
) -> dict[str, pa.Array]:
    """By collection with numbers to add up: the keys of records that both changed and that the vault saw change right
    after the parting. `alike` are keys of records that are among them if it is sure that both changed them.
    """
    parted = losses.parting.state
    asked = [*alike]
    # A stream of changes tells every one: there the parting lies between two of them.
    if parted is None or parted.until is not None or not asked or parted.number >= losses.good.number:
        return {}
    following = vault.state(parted.number + 1)
    if not _has_some_of(vault, following, losses, alike):
        return {}
    found = {}
    for name in asked:
        part = following.collections.get(name)
        pieces = histories.pieces(name)
        found[name] = _changed(pieces, histories.schemas[name], None if part is None else VaultView(vault, part))
    return found


def _has_some_of(vault: Vault, following: State, losses: Losses, alike: Mapping[str, pa.Array]) -> bool:
    """Whether the source has any change that came with that state, as far as the last good state still has it. A number
    that both hold alike may have moved twice by as much: it tells only where nothing else came with that state.
    """
    known = {each.name: each.unequal for each in losses.collections}
    tells, seems = False, False
    for name, each in following.collections.items():
        # What belongs to others by its key may be the same in both histories, such as a line of two orders.
        if is_definition(name) or way_of(each.part.schema) is Way.FOLLOW:
            continue
        segments = [one for one in each.segments if one.number == following.number]
        for segment in segments:
            if segment.ref.kind == "base" or name not in known:
                return True
            opened = open_rows(vault, segment, segment.schema)
            differs = pa.concat_arrays([*known[name].good.keys(), *known[name].live.keys()])
            is_open = pc.is_in(opened.rows.keys, value_set=alike.get(name, differs.slice(0, 0)))
            same = opened.filter(pc.invert(pc.or_(is_open, pc.is_in(opened.rows.keys, value_set=differs))))
            if _is_there_still(vault, losses.good.collections.get(name), same):
                return True
            seems = seems or pc.any(is_open).as_py()
            tells = tells or not pc.all(is_open).as_py()
    return seems and not tells


def _is_there_still(vault: Vault, good: CollectionState | None, alike: Opened) -> bool:
    """Whether one of these changes, to records that are alike in the last good state and the source, still shows."""
    keys = alike.rows.keys
    is_deletion = pc.equal(alike.ops, DELETE) if alike.ops is not None else pa.array([False] * len(keys))
    if not len(keys) or good is None:
        return False
    there = sum(len(each.keys) for each in VaultView(vault, good).keyed(keys.filter(pc.invert(is_deletion))))
    return there > 0 or bool(pc.any(is_deletion).as_py())


def _changed(pieces: Iterator[Deviation], schema: Schema, following: VaultView | None) -> pa.Array:
    """Keys of records that the following state does not hold as the parting's did."""
    found = [pa.array([], pa.binary())]
    for piece in pieces:
        if piece.fate is not Fate.BOTH or piece.base is None:
            continue
        is_there = following is not None and compatible(following.schema, schema)
        held = _digests(following, piece.keys, schema) if following is not None and is_there else {}
        was = row_digests(piece.base, schema).cast(pa.binary()).to_pylist()
        differs = [held.get(key) != digest for key, digest in zip(piece.keys.to_pylist(), was, strict=True)]
        found.append(piece.keys.filter(pa.array(differs, pa.bool_())))
    return pc.unique(pa.concat_arrays(found))


def _digests(view: VaultView, keys: pa.Array, schema: Schema) -> dict[bytes, bytes]:
    """The digests of the records under these keys, as they are in a schema."""
    found: dict[bytes, bytes] = {}
    for each in view.keyed(keys):
        digests = row_digests(project(each.batch, view.schema, schema), schema).cast(pa.binary())
        found.update(zip(each.keys.to_pylist(), digests.to_pylist(), strict=True))
    return found
