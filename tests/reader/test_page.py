"""docs/format.md says what the code does: its tables are held against the code, one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

import msgspec
import pyarrow as pa
import pytest

from holdfast.connectors.sqlite.definitions import PRAGMA_SCHEMA, SCHEMA_SCHEMA, SEQUENCE_SCHEMA
from holdfast.core import events, locks, statements
from holdfast.core.canonical import LONG
from holdfast.core.fingerprint import BUCKETS
from holdfast.core.records import TYPES, Schema
from holdfast.vault import custody, roles, trust
from holdfast.vault import format as payloads
from holdfast.vault.coding import CONTROL_MAX, OBJECT_MAX, canonical_json
from holdfast.vault.findings import Problem
from holdfast.vault.merge import (
    AT_COLUMN,
    DELETE,
    INSERT,
    KEY_COLUMN,
    OP_COLUMN,
    ORDER_COLUMN,
    SYSTEM_PREFIX,
    TX_COLUMN,
    UPDATE,
)
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.receipts import Grade
from holdfast.vault.signing import HOLDER, OBSERVER, ROOT
from holdfast.vault.sites import size_limit

ROOT_FOLDER = Path(__file__).resolve().parents[2]
PAGE = (ROOT_FOLDER / "docs" / "format.md").read_text(encoding="utf-8")
ARROW = {
    pa.float64(): "float64",
    pa.float32(): "float32",
    pa.date32(): "date32",
    pa.time64("us"): "time64(us)",
    pa.timestamp("us"): "timestamp(us)",
    pa.timestamp("us", tz="UTC"): "timestamp(us, UTC)",
    pa.binary(16): "fixed binary(16)",
}


def section(heading: str) -> str:
    """The text under a heading, up to the next of the same or a higher level."""
    match = re.search(rf"^(#+) {re.escape(heading)}.*?\n(.*?)(?=^#{{2,3}} |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match is not None, f"no heading {heading}"
    return match[2]


def rows(heading: str) -> dict[str, list[str]]:
    """The rows of the tables under a heading: first cell without its backticks → the other cells."""
    found = {}
    for line in section(heading).splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|"))]
        if line.startswith("|") and not set(line) <= set("|- "):
            found[cells[0].strip("`")] = cells[1:]
    return found


def named(text: str) -> set[str]:
    """Everything between backticks."""
    return set(re.findall(r"`([^`]+)`", text))


def fields_of(struct: type[msgspec.Struct]) -> set[str]:
    tag = struct.__struct_config__.tag_field
    return {field.encode_name for field in msgspec.structs.fields(struct)} | ({tag} if tag else set())


def test_the_types_are_those_of_the_code() -> None:
    """Every type with its tag, its Arrow storage and its width."""
    table = rows("2.1 Values")
    told = {name: cells for name, cells in table.items() if name in TYPES}
    assert len(table) == len(TYPES) + 1
    for name, kind in TYPES.items():
        tag, storage, canonical = told[name]
        assert tag == f"`{kind.tag:02x}`"
        assert storage == ARROW.get(kind.arrow, str(kind.arrow))
        sized = re.match(r"(?:the )?(\d+) bytes", canonical)
        width = {"bool": 1, "float32": 4, "timestamptz": 8}.get(name, int(sized[1]) if sized else 0)
        assert width == kind.width, name


def test_the_names_are_those_of_the_code() -> None:
    """Each pattern of the table, filled in, is a name of its kind; a digit less is none."""
    table = {pattern: cells for pattern, cells in rows("1. What lies at a site").items() if "/" in pattern}
    kinds = set()
    for pattern in table:
        if pattern.startswith("quarantine/"):
            kinds.add(Kind.QUARANTINE)
            continue
        text = (
            pattern.replace("<hash>", "ab" * 32).replace("<first two hex of hash>", "ab").replace("<epoch>", "0" * 32)
        )
        text = re.sub("<(stream|chain|tail)>", "0" * 16, text)
        text = re.sub(r"<\w+, (\d+) digits>", lambda match: "1".zfill(int(match[1])), text)
        name = parse_name(text)
        assert name is not None, text
        kinds.add(name.kind)
        assert all(parse_name(text[:at] + text[at + 1 :]) is None for at in range(len(text)))
    assert kinds == set(Kind)


@pytest.mark.parametrize(
    ("heading", "struct"),
    [
        ("4. Keys", payloads.KeyObject),
        ("6.3 Shares", custody.Share),
        ("7.3 The commit", payloads.Commit),
        ("7.4 The part", payloads.Part),
        ("8. Events", payloads.EventsObject),
    ],
)
def test_the_fields_of_payloads_are_those_of_the_code(heading: str, struct: type[msgspec.Struct]) -> None:
    """No field is missing from the page, and it names none that is not there."""
    told = set(rows(heading)) - {"Field", "Field of a key object", "Field of a share", "Value", "Kind", *EVENT_KINDS}
    assert told == fields_of(struct)


def test_the_fields_of_the_trust_document_are_those_of_the_code() -> None:
    """Roles are told one by one."""
    told = set(rows("6. The trust document")) - {"Field"}
    assert told == (fields_of(trust.TrustDocument) - {"roles"}) | {f"roles.{name}" for name in fields_of(roles.Roles)}


@pytest.mark.parametrize(
    ("heading", "row", "struct"),
    [
        ("6. The trust document", "roles.root", roles.Root),
        ("6. The trust document", "roles.custodian", roles.Custodians),
        ("6. The trust document", "roles.writer", roles.Writers),
        ("6. The trust document", "roles.reader", roles.ReaderRole),
        ("6. The trust document", "sites", roles.SiteRole),
        ("6. The trust document", "roles.custodian", roles.Holder),
        ("6. The trust document", "roles.custodian", roles.Earlier),
        ("6.3 Shares", "pieces", custody.Piece),
        ("6. The trust document", "roles.approver", roles.Approvers),
        ("6. The trust document", "roles.approver", roles.Person),
        ("6. The trust document", "roles.retired", roles.Retired),
        ("6. The trust document", "retention", trust.Retention),
        ("6. The trust document", "journal", trust.Journal),
        ("6. The trust document", "safe", trust.Safe),
        ("7.3 The commit", "since", payloads.Place),
        ("7.3 The commit", "follows", payloads.Link),
        ("7.3 The commit", "rolls", payloads.Link),
        ("7.3 The commit", "parts", payloads.SealedPart),
        ("7.4 The part", "base", payloads.Place),
        ("7.4 The part", "segments", payloads.SegmentRef),
        ("7.4 The part", "counts", payloads.Counts),
    ],
)
def test_the_fields_within_fields_are_those_of_the_code(heading: str, row: str, struct: type[msgspec.Struct]) -> None:
    """What a field holds is named in its row."""
    assert fields_of(struct) <= named(" ".join(rows(heading)[row]))


def test_the_schema_and_the_algorithms_are_those_of_the_code() -> None:
    """The two objects of fixed form."""
    assert set(Schema((), ()).to_json()) <= named(rows("7.4 The part")["schema"][0])
    algorithms = canonical_json(msgspec.to_builtins(payloads.Algorithms())).decode()
    assert algorithms in named(rows("7.3 The commit")["algorithms"][0])
    coverage = named(rows("7.4 The part")["coverage"][0])
    assert {'"complete"', '"unproven"', '{"gaps":[…]}'} == coverage
    assert {"base", "delta", "changes", "same"} <= named(rows("7.4 The part")["kind"][0])


EVENT_KINDS = {
    each.kind: each
    for module in (events, statements, locks)
    for each in vars(module).values()
    if isinstance(each, type) and getattr(each, "kind", "")
}


def test_the_events_are_those_of_the_code() -> None:
    """Every kind with its fields, and the grades of receipts."""
    table = {kind: cells for kind, cells in (rows("8. Events") | rows("8.1 Control")).items() if kind in EVENT_KINDS}
    assert set(table) == set(EVENT_KINDS)
    for kind, cells in table.items():
        wanted = {field.name for field in fields(EVENT_KINDS[kind])} - {"at"}
        told = re.sub(r"\([^)]*\)", "", cells[1]).partition(":")[0]
        assert named(told) == wanted, kind
        assert cells[0] != "sealed" if kind in statements.CONTROL else cells[0] == "sealed"
    assert {grade.value for grade in Grade} <= named(section("8. Events"))


def test_the_findings_are_those_of_the_code() -> None:
    """What a verifier names, by the names it uses."""
    assert set(rows("9. What a verifier checks")) - {"Finding"} == {problem.value for problem in Problem}
    text = section("9. What a verifier checks")
    notes = {name for name, cells in rows("9. What a verifier checks").items() if cells[0].endswith("A note")}
    assert notes == {problem.value for problem in Problem if problem.is_note}
    healable = next(re.finditer(r"calls? for nothing\. (.*?) are mended", text, re.DOTALL))[1]
    assert named(healable) == {problem.value for problem in Problem if problem.is_healable}


def test_the_limits_are_those_of_the_code() -> None:
    """In bytes and in numbers."""
    table = rows("10. Limits and versions")
    told = {
        int(re.sub(r"\D", "", limit.partition(" ")[0])): cells[0]
        for limit, cells in table.items()
        if limit[:1].isdigit()
    }
    assert list(told) == [CONTROL_MAX, size_limit(Kind.COMMIT), OBJECT_MAX, payloads.OBJECTS_MAX, LONG]
    assert size_limit(Kind.KEY) == size_limit(Kind.TRUST) == size_limit(Kind.EVENTS) == 2 * CONTROL_MAX
    assert f"{BUCKETS:,}" in section("3. Fingerprints")
    assert f"at most {payloads.TAILS_MAX} " in rows("7.3 The commit")["tails"][0]


def test_system_columns_and_derived_keys_are_those_of_the_code() -> None:
    """Names and numbers that stand in data for ever."""
    table = rows("5.1 Columns")
    arrow = {OP_COLUMN: pa.int8(), KEY_COLUMN: pa.binary(), AT_COLUMN: pa.timestamp("us", tz="UTC")}
    arrow |= {TX_COLUMN: pa.string(), ORDER_COLUMN: pa.int64()}
    told = {name: cells[0] for name, cells in table.items() if name != "System column"}
    assert told == {name: ARROW.get(kind, str(kind)) for name, kind in arrow.items()}
    assert OP_COLUMN.startswith(SYSTEM_PREFIX)
    assert f"{INSERT} insert, {UPDATE} update, {DELETE} delete" in section("5.1 Columns")
    assert set(rows("6.1 Derived keys")) - {"Info"} == {each.decode() for each in (ROOT, OBSERVER, HOLDER)}


def test_the_collections_of_sqlite_are_those_of_the_code() -> None:
    """Names, keys and columns of the three that describe a database."""
    table = rows("Appendix A")
    for name, schema in (
        ("sqlite:schema", SCHEMA_SCHEMA),
        ("sqlite:pragma", PRAGMA_SCHEMA),
        ("sqlite:sequence", SEQUENCE_SCHEMA),
    ):
        key, columns = table[name]
        assert named(key) == set(schema.key)
        assert set(schema.names) <= named(columns)


def test_the_envelope_is_in_its_one_form() -> None:
    """The example is canonical JSON of the fields that signing writes."""
    (text,) = re.findall(r"```json\n(.*?)\n```", section("7.2 Envelopes"))
    value = json.loads(text)
    assert canonical_json(value).decode() == text
    assert [set(value), set(value["signatures"][0])] == [{"payload", "payloadType", "signatures"}, {"keyid", "sig"}]


def test_what_holds_the_page_is_there() -> None:
    """The tests and vectors that the last table names exist."""
    folder = ""
    for text in _paths(section("Appendix B")):
        folder = text.rpartition("/")[0] if "/" in text else folder
        path = ROOT_FOLDER / (text if "/" in text else f"{folder}/{text}")
        assert path.exists(), path


def _paths(text: str) -> Iterator[str]:
    return (each for each in re.findall(r"`([^`]+)`", text) if each.endswith((".py", ".json", "/")))


def test_literals_of_the_code_are_named() -> None:
    """Every word that a field can be is on the page."""
    for struct in (payloads.Part, payloads.SegmentRef, payloads.Algorithms, payloads.Commit):
        for hint in get_type_hints(struct).values():
            for word in _literals(hint):
                assert word in PAGE, word


def _literals(hint: Any) -> Iterator[str]:
    for each in get_args(hint):
        if isinstance(each, str):
            yield each
        else:
            yield from _literals(each)
