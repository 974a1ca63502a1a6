"""How a mapping into another engine is told: to people what is not as it was, with `--json` all of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from holdfast.cli.output import amount, plural

if TYPE_CHECKING:
    from holdfast.core.dialect import LeftOut
    from holdfast.core.mapping import NamedMapping
    from holdfast.core.ways import ColumnMap
    from holdfast.operations.proof import Proof

__all__ = ["GAPS", "exit_code", "mapping_facts", "mapping_lines"]

DIFFERENT = 4
GAPS = 3
_NAMED = 3
# Of what is not carried these are named one by one: they hold records together.
_TOLD = ("key", "foreign key")
_STAY = "these definitions stay readable in the vault (holdfast show, --json names them all)"


def mapping_lines(mapping: NamedMapping) -> list[str]:
    """What a person must know before the deed; of a mapping that records have revised, what is new."""
    if mapping.revisions:
        return [_revision(mapping)]
    columns = [column for each in mapping.collections for column in each.columns]
    as_itself = sum(column.form is not None and column.form.is_itself for column in columns)
    counted = f"{plural(len(mapping.collections), 'collection')}, {plural(len(columns), 'column')}"
    lines = [f"mapping {mapping.name}: {counted}, {amount(as_itself)} as themselves"]
    lines += [f"  {line}" for line in (*_forms(mapping), *_names(mapping))]
    lines += [f"  {line}" for line in _seldom(mapping)]
    values = mapping.values_left_out
    lines += [f"  left out: {_told(each)}" for each in values]
    others = [each for each in mapping.left_out if each not in values]
    lines += [f"  not carried: {_told(each)}" for each in others if each.kind in _TOLD]
    counts = Counter(each.kind for each in others if each.kind not in _TOLD)
    if counts:
        told = ", ".join(f"{kind} {amount(count)}" for kind, count in sorted(counts.items()))
        lines.append(f"  not carried: {told}; {_STAY}")
    return lines


def mapping_facts(mapping: NamedMapping | None) -> dict[str, Any] | None:
    """All of a mapping."""
    if mapping is None:
        return None
    return {
        "name": mapping.name,
        "collections": [
            {
                "name": each.name,
                "table": each.table,
                "key": each.key,
                "columns": [
                    {
                        "name": column.source.name,
                        "type": column.source.type,
                        "declared": column.source.declared,
                        "target_name": column.name,
                        "target_declared": column.declared,
                        "kept": column.form.words if column.form else None,
                        "seldom": column.form.seldom if column.form else None,
                        "otherwise": column.otherwise.form.words if column.otherwise else None,
                        "verdict": column.verdict.value,
                    }
                    for column in each.columns
                ],
                "references": [[r.columns, r.target, r.target_columns] for r in each.references],
                "indexes": [{"name": i.name, "columns": i.columns, "is_unique": i.is_unique} for i in each.indexes],
            }
            for each in mapping.collections
        ],
        "revisions": [
            {"collection": each.collection, "column": each.column, "reason": each.reason} for each in mapping.revisions
        ],
        "left_out": [{"kind": each.kind, "name": each.name, "reason": each.reason} for each in mapping.left_out],
    }


def exit_code(mapping: NamedMapping | None, proofs: Sequence[Proof]) -> int:
    """Of a finished move between engines: 0, 3 if values were left out, 4 if the proof failed."""
    if not all(proof.is_equal for proof in proofs):
        return DIFFERENT
    return GAPS if mapping is not None and mapping.values_left_out else 0


def _forms(mapping: NamedMapping) -> Iterator[str]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for each in mapping.collections:
        for column in each.columns:
            if column.form is not None and not column.form.is_itself:
                declared = column.source.declared or column.source.type
                found[column.form.words, declared].append(f"{each.name}.{column.source.name}")
    for (words, declared), names in sorted(found.items()):
        yield f"{declared}, kept {words}: {_some(names)}"


def _seldom(mapping: NamedMapping) -> Iterator[str]:
    """What becomes of values that are not as most of their column are."""
    columns = [column for each in mapping.collections for column in each.carried]
    counts = Counter(column.form.seldom for column in columns if column.form is not None and column.form.seldom)
    for words, count in sorted(counts.items()):
        yield f"{words} ({plural(count, 'column')})"
    bounded = [column for column in columns if column.form is not None and not column.form.seldom]
    counts = Counter(column.otherwise.form.words for column in bounded if column.otherwise and not _is_length(column))
    for words, count in sorted(counts.items()):
        told = plural(count, "column")
        yield f"should a value not fit its column's type, the whole column is kept {words}, and that is told ({told})"
    if longer := sum(map(_is_length, bounded)):
        told = plural(longer, "column")
        yield f"should a value be too long for its column, that gets a longer type or is no key: this is told ({told})"


def _is_length(column: ColumnMap) -> bool:
    """Whether only a value's length could make the column another one."""
    otherwise, form = column.otherwise, column.form
    return otherwise is not None and form is not None and otherwise.form.words == form.words


def _revision(mapping: NamedMapping) -> str:
    """What the newest revision says."""
    last = mapping.revisions[-1]
    one = mapping.of(last.collection)
    column = next(each for each in one.columns if each.source.name == last.column)
    words = column.form.words if column.form else "nowhere"
    lost = "" if len(one.key) == len(one.source.key) else ", and is no part of a key there"
    return f"revised: {last.collection}.{last.column} is kept {words}{lost}: {last.reason}"


def _names(mapping: NamedMapping) -> Iterator[str]:
    for each in mapping.collections:
        if each.table != each.name:
            yield f"{each.name} is called {each.table}"
        for column in each.columns:
            if column.name != column.source.name:
                yield f"{each.name}.{column.source.name} is called {column.name}"


def _told(each: LeftOut) -> str:
    return f"{each.kind} {each.name}{': ' + each.reason if each.reason else ''}"


def _some(names: Sequence[str]) -> str:
    more = f" and {amount(len(names) - _NAMED)} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
