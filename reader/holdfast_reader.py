"""Read a Holdfast vault without Holdfast: one file, written from docs/format.md alone, to be read and audited.

    python holdfast_reader.py --card CARD [--card CARD …] --site FOLDER [--site FOLDER …] list
    python holdfast_reader.py --card CARD --site FOLDER verify [--at N|TIME] [--before-tx TRANSACTION]
    python holdfast_reader.py --card CARD --site FOLDER export OUT [--collection C] [--at N|TIME] [--format sqlite]
    python holdfast_reader.py audit FILE [--older FILE] [--vault SHA256]

* Needs Python 3.11, pyrage and pyarrow. With `cryptography` it checks signatures; without it says that it did not.
* Nothing is believed: names are hashes, commits are signed and chained, and records leave only if their fingerprint,
  computed here in plain Python, is the one that was signed. That is slow: some 30,000 records a second.
* Memory holds the changes of one collection, a segment of its base, and 32 bytes for each of its records.
* Of an instant between two commits nothing is signed: its records are told to be so, and can't be proven.
* A fork stops the history; `--pin SHA256` before the command names the commit to end it with instead.
* Closed tails are read no further than to see that nothing goes on in them; a pin reaches what they still hold.
* It writes to OUT and nowhere else. Exit codes: 0 done, 2 usage, 7 damaged (what, is said on stderr).
* While an incident is open the default is the last good state, as section 8.1 says; `--at latest` is the newest commit.
  Of the people's words only decisions are judged: a hold that a request released is told as open.
* The journal is read by audit alone, but for deletions and incidents; audit needs `cryptography` and no key. It reads
  what `holdfast audit --export` wrote, or a site. What was taken away whole shows against an older file only. verify
  hashes its objects like all others.
* Section numbers are those of docs/format.md.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import sqlite3
import struct
import sys
import zipfile
import zlib
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pyrage

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key
except ImportError:
    Ed25519PublicKey = None  # type: ignore[assignment, misc]

MIB = 1 << 20
CONTROL_MAX, SEGMENT_MAX, LONG = 16 * MIB, 64 * MIB, MIB
SECURITY_KEY = "sk-ssh-ed25519@openssh.com"

Json = dict[str, Any]
Value = bytes | None  # section 2.1: the tag byte and the canonical bytes, as in a mixed column; None is NULL
Row = tuple[Value, ...]
Until = tuple[str, int] | None  # of the last commit's changes only those with at most this "at" or "order"


class Damaged(Exception):
    """Bytes are not what they must be."""


class Misused(Exception):
    """What was asked for can't be done."""


# ---- Values, keys, records and fingerprints: sections 2 and 3

TYPES: dict[str, tuple[int, int, pa.DataType]] = {  # tag, width of the canonical bytes (0: they vary), storage
    "bool": (0x01, 1, pa.bool_()),
    "int": (0x10, 8, pa.int64()),
    "uint": (0x11, 8, pa.uint64()),
    "float": (0x20, 8, pa.float64()),
    "float32": (0x21, 4, pa.float32()),
    "decimal": (0x30, 0, pa.string()),
    "text": (0x40, 0, pa.string()),
    "rawtext": (0x41, 0, pa.binary()),
    "bytes": (0x50, 0, pa.binary()),
    "date": (0x60, 4, pa.date32()),
    "time": (0x61, 8, pa.time64("us")),
    "timestamp": (0x62, 8, pa.timestamp("us")),
    "timestamptz": (0x63, 8, pa.timestamp("us", tz="UTC")),
    "uuid": (0x65, 16, pa.binary(16)),
    "json": (0x66, 0, pa.string()),
    "source": (0x70, 0, pa.string()),
}
BY_TAG = {tag: (name, width, storage) for name, (tag, width, storage) in TYPES.items()}
COUNTS = {"date": pa.int32(), "time": pa.int64(), "timestamp": pa.int64(), "timestamptz": pa.int64()}
BESIDE = [("holdfast:key", pa.binary()), ("holdfast:op", pa.int8()), ("holdfast:at", TYPES["timestamptz"][2])]
BESIDE += [("holdfast:tx", pa.string()), ("holdfast:order", pa.int64())]  # the system columns: section 5.1
FLOATS = {4: (">f", bytes.fromhex("7fc00000")), 8: (">d", bytes.fromhex("7ff8000000000000"))}  # and the one NaN


@dataclass(frozen=True)
class Schema:
    """Columns (name and type) in the source's order, and the key; without one the records are a multiset."""

    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.columns]


def storage_of(kind: str) -> pa.DataType:
    return pa.binary() if kind == "mixed" else TYPES[kind][2]


def values_of(column: pa.ChunkedArray, kind: str) -> list[Value]:
    """The values of an Arrow column."""
    if kind == "mixed":
        mixed: list[Value] = column.to_pylist()
        all(python_of(value) for value in mixed if value is not None)  # Damaged for what is no value
        return mixed
    tag, width, storage = TYPES[kind]
    body: Callable[[Any], bytes] = str.encode if storage == pa.string() else bytes
    if kind in ("float", "float32"):
        body = ordered_bits
    elif width < 16 and width:
        offset = 0 if kind in ("bool", "uint") else 1 << (8 * width - 1)
        body = lambda value: (value + offset).to_bytes(width, "big")  # noqa: E731
    plain = (column.cast(COUNTS[kind]) if kind in COUNTS else column).to_pylist()
    if kind in ("float", "float32"):
        plain = [None if value is None else struct.pack(FLOATS[width][0], value) for value in plain]
    return [None if value is None else bytes([tag]) + body(value) for value in plain]


def ordered_bits(bits: bytes) -> bytes:
    """IEEE bits so that the order of bytes is that of numbers."""
    code, nan = FLOATS[len(bits)]
    (number,) = struct.unpack(code, bits)
    bits = nan if number != number else bits
    return bytes(byte ^ 0xFF for byte in bits) if bits[0] & 0x80 else bytes([bits[0] | 0x80]) + bits[1:]


def python_of(value: bytes) -> tuple[str, Any]:
    """A value's type and the value in Python; dates and times as their counts."""
    kind, width, storage = BY_TAG.get(value[0] if value else 0, ("", 0, None))
    body = value[1:]
    try:
        text = body.decode() if storage == pa.string() else ""
    except UnicodeDecodeError:
        kind = ""
    if not kind or width not in (0, len(body)) or (kind == "bool" and body not in (b"\0", b"\1")):
        raise Damaged(f"a value that is none: {value[:20].hex()}")
    if kind in ("float", "float32"):
        bits = bytes([body[0] & 0x7F]) + body[1:] if body[0] & 0x80 else bytes(byte ^ 0xFF for byte in body)
        return kind, struct.unpack(FLOATS[width][0], bits)[0]
    if storage == pa.string():
        return kind, text
    if width in (0, 16):
        return kind, body
    number = int.from_bytes(body, "big")
    return kind, bool(number) if kind == "bool" else number if kind == "uint" else number - (1 << (8 * width - 1))


def key_of(row: Row, schema: Schema) -> bytes:
    """The key of a record, for a schema that has one: section 2.3."""
    key = b""
    for value in (row[schema.names.index(name)] for name in schema.key):
        if not value or value[0] not in BY_TAG:
            raise Damaged("a key column is NULL, or of no known type")
        key += value if BY_TAG[value[0]][1] else value[:1] + value[1:].replace(b"\0", b"\0\xff") + b"\0"
    return key


class Fingerprint:
    """Row digests under one schema (section 2.2), and the fingerprint of all rows that were added (section 3)."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._order = sorted((name.encode(), place) for place, name in enumerate(schema.names))
        self._buckets = [bytearray() for _ in range(4096)]
        self.rows = 0

    def digest(self, row: Row) -> bytes:
        parts = []
        for name, place in self._order:
            if (value := row[place]) is not None:
                tag, body = value[0], value[1:]
                if len(body) > LONG:
                    tag, body = tag | 0x80, struct.pack("<Q", len(body)) + hashlib.sha256(body).digest()
                parts += [struct.pack("<I", len(name)), name, bytes([tag]), struct.pack("<I", len(body)), body]
        return hashlib.sha256(b"".join(parts)).digest()

    def add(self, key: bytes, digest: bytes) -> None:
        self._buckets[zlib.crc32(key) >> 20] += digest
        self.rows += 1

    def hex(self) -> str:
        names = [self._schema.key, sorted(self._schema.names, key=str.encode)]
        told = json.dumps(names, ensure_ascii=False, separators=(",", ":")).encode()
        whole = hashlib.sha256(b"holdfast fingerprint 1\n" + struct.pack("<QI", self.rows, len(told)) + told)
        for bucket in self._buckets:
            digests = sorted(bytes(bucket[at : at + 32]) for at in range(0, len(bucket), 32))
            whole.update(hashlib.sha256(b"".join(digests)).digest())
        return whole.hexdigest()


# ---- Payloads: sections 4, 6 and 7. A shape is a regex for text, a range for integers, a list for any number of one
# shape, a tuple for a list of just these, a dict for an object of just these fields, or a function.


def fits(value: Any, shape: Any) -> bool:
    """Whether JSON has a shape."""
    if isinstance(shape, str):
        return isinstance(value, str) and re.fullmatch(shape, value, re.DOTALL) is not None
    if isinstance(shape, range):
        return type(value) is int and value in shape
    if isinstance(shape, dict):
        return isinstance(value, dict) and set(value) == set(shape) and all(fits(value[k], shape[k]) for k in shape)
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(each, shape[0]) for each in value)
    if isinstance(shape, tuple):
        return isinstance(value, list) and len(value) == len(shape) and all(map(fits, value, shape))
    return bool(shape(value))


def either(*shapes: Any) -> Callable[[Any], bool]:
    return lambda value: any(value is None if shape is None else fits(value, shape) for shape in shapes)


def map_of(key: str, shape: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(fits(k, key) and fits(v, shape) for k, v in value.items())


# fmt: off
HASH, EPOCH, STREAM, TITLE, TEXT = "[0-9a-f]{64}", "[0-9a-f]{32}", "[0-9a-f]{16}", ".{1,1024}", ".{0,1048576}"
KEY_NAME = f"keys/{EPOCH}/{HASH}"
SEGMENT_NAME = rf"objects/([0-9a-f]{{2}})/\1[0-9a-f]{{62}}|tails/{STREAM}/objects/{HASH}"
RECIPIENT, HEX = "age1[02-9ac-hj-np-z]{58}", "([0-9a-f]{2})*"
KEY = rf"{HASH}|(sk-ssh-ed25519@openssh\.com|ssh-rsa) [A-Za-z0-9+/]{{1,4096}}={{0,2}}"
TIME = r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9](:[0-5][0-9]){2}\.[0-9]{6}Z"
BASE64 = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
ONE, NUMBER, COUNT, SMALL, MANY = range(1, 2), range(1, 10**12), range(2**62 + 1), range(1, 1001), range(100_001)
SIZE = range(1, SEGMENT_MAX + 1)
BOOL: Callable[[Any], bool] = lambda value: isinstance(value, bool)  # noqa: E731
PLACE = {"stream": STREAM, "sequence": NUMBER}
LINK = either(None, {**PLACE, "sha256": HASH})
ENVELOPE = {"payload": BASE64, "payloadType": TEXT, "signatures": [{"keyid": HASH, "sig": BASE64}]}
TRUST = {
    "type": "holdfast.trust", "format": ONE, "version": NUMBER, "name": TITLE, "created": TIME, "nonce": HASH,
    "roles": {
        "root": {"threshold": SMALL, "keys": map_of(HASH, KEY)}, "writer": {"keys": map_of(HASH, HASH)},
        "custodian": {
            "threshold": SMALL, "recipients": [RECIPIENT],
            "holders": [
                {"name": TITLE, "recipient": RECIPIENT, "key": HASH, "shares": (KEY_NAME, SIZE), "digest": HASH},
            ],
            "earlier": [{"recipient": RECIPIENT, "key": (KEY_NAME, SIZE)}],
        },
        "reader": [{"recipient": RECIPIENT, "key": HASH, "collections": [TITLE]}],
        "approver": {
            "threshold": range(1001), "delay_hours": MANY, "restore": BOOL, "people": [{"name": TITLE, "key": KEY}],
        },
        "retired": [{
            "role": "root|approver|holder|writer|reader|site", "name": ".{0,1024}", "key": KEY,
            "last": [{**PLACE, "sha256": HASH}],
        }],
    },
    "sites": [{"name": TITLE, "owner": TITLE, "key": either(None, HASH)}],
    "safe": {"sites": SMALL, "owners": SMALL}, "journal": {"recipient": RECIPIENT, "keys": [(KEY_NAME, SIZE)]},
    "retention": {
        "keep_days": range(1, 100_001), "daily": MANY, "weekly": MANY, "monthly": MANY, "tail_days": MANY,
        "wait_hours": MANY,
    },
}
SHARE = {
    "type": "holdfast.share", "format": ONE, "vault": HASH, "recipient": RECIPIENT, "holder": TITLE,
    "threshold": range(2, 8), "pieces": [{"holders": [TITLE], "piece": BASE64}],
}
KEY_OBJECT = {"format": ONE, "epoch": EPOCH, "collection": TITLE, "recipient": RECIPIENT, "identity": TEXT}
COMMIT = {
    "type": "holdfast.commit", "format": ONE, "vault": HASH, "stream": STREAM, "writer": HASH, "sequence": NUMBER,
    "algorithms": {"digest": "sha256", "encryption": "age-x25519", "segment": "parquet", "signature": "ed25519"},
    "parent": either(None, HASH), "follows": LINK, "since": PLACE, "clock": TIME,
    "objects": [(either(KEY_NAME, SEGMENT_NAME), SIZE)], "epochs": map_of(EPOCH, RECIPIENT),
    "parts": [{"epoch": EPOCH, "sealed": BASE64}],
    "whole": BOOL, "in_tail": BOOL, "tails": [STREAM], "rolls": LINK,
}
EVENTS = {
    "type": "holdfast.events", "format": ONE, "vault": HASH, "chain": STREAM, "signer": HASH, "sequence": NUMBER,
    "parent": either(None, HASH), "clock": TIME, "public": [lambda value: isinstance(value, dict)],
    "sealed": either(None, BASE64),
}
SEGMENT = {"name": SEGMENT_NAME, "size": SIZE, "rows": COUNT, "first": HEX, "last": HEX, "kind": "base|delta|changes"}
PART = {
    "collection": TITLE, "generation": NUMBER, "kind": "base|delta|changes|same", "base": PLACE, "rows": COUNT,
    "schema": {
        "columns": [(TEXT, "|".join(["mixed", *TYPES]), TEXT)], "key": [TEXT], "references": [([TEXT], TEXT, [TEXT])],
    },
    "fingerprint": HASH, "segments": [SEGMENT], "counts": {"new": COUNT, "changed": COUNT, "gone": COUNT},
    "position": TEXT, "taken": TIME, "coverage": either("complete|unproven", {"gaps": [TEXT]}),
    "dropped": BOOL,
}
# fmt: on


def parsed(data: bytes, shape: Json, name: str) -> Json:
    """The JSON in these bytes; Damaged unless they are its one canonical form and it has the shape: section 7.1."""
    try:
        value = json.loads(data.decode()) if len(data) <= 2 * CONTROL_MAX else None
        form = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name}: not JSON: {error}") from error
    if form != data or not isinstance(value, dict) or (shape is not ENVELOPE and len(data) > CONTROL_MAX):
        raise Damaged(f"{name}: not canonical JSON, or too large")
    wrong = {*value} ^ {*shape} or {field for field in shape if not fits(value[field], shape[field])}
    if wrong:
        raise Damaged(f"{name}: not of format 1: {', '.join(sorted(wrong))}")
    return value


def signed_payload(data: bytes, kind: str, keys: Mapping[str, str], name: str) -> tuple[bytes, set[str]]:
    """The payload of an envelope that nobody but these keys signed, and which of them did: section 7.2."""
    envelope = parsed(data, ENVELOPE, name)
    payload, form = b64decode(envelope["payload"]), f"application/vnd.holdfast.{kind}+json"
    signers = [each["keyid"] for each in envelope["signatures"]]
    if envelope["payloadType"] != form or signers != sorted(set(signers)):
        raise Damaged(f"{name}: not an envelope of kind {kind}")
    said = b"DSSEv1 %d %s %d %s" % (len(form), form.encode(), len(payload), payload)
    for each in envelope["signatures"]:
        if each["keyid"] not in keys or keyid_of(keys[each["keyid"]], name) != each["keyid"]:
            raise Damaged(f"{name}: signed by the unknown key {each['keyid'][:16]}…")
        if Ed25519PublicKey is not None:
            try:
                check_signature(keys[each["keyid"]], b64decode(each["sig"]), said)
            except (InvalidSignature, UnsupportedAlgorithm, LookupError, ValueError, struct.error) as error:
                raise Damaged(f"{name}: its signature is wrong") from error
    return payload, set(signers)


def keyid_of(key: str, name: str) -> str:
    """The keyid of a public key in the one form of section 6.1."""
    kind, _, rest = key.rpartition(" ")
    try:
        public = b64decode(rest, validate=True) if kind else bytes.fromhex(key)
        return hashlib.sha256(strings(public)[1] if kind == SECURITY_KEY else public).hexdigest()
    except (ValueError, IndexError, struct.error) as error:
        raise Damaged(f"{name}: a key that is none") from error


def check_signature(key: str, signature: bytes, said: bytes) -> None:
    """Raise InvalidSignature or ValueError unless this key signed these bytes: section 7.2."""
    kind = key.rpartition(" ")[0]
    if not kind and not signature.startswith(b"SSHSIG"):
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, said)
        return
    blob = b64decode(key.rpartition(" ")[2]) if kind else string(b"ssh-ed25519") + string(bytes.fromhex(key))
    *fields, inner = strings(signature[10:])
    if signature[:10] != b"SSHSIG\0\0\0\1" or fields != [blob, b"holdfast", b"", b"sha512"]:
        raise InvalidSignature
    made, start = strings(inner[:-5] if kind == SECURITY_KEY else inner), b"SSHSIG" + b"".join(map(string, fields[1:]))
    if len(made) != 2:
        raise InvalidSignature
    said = start + string(hashlib.sha512(said).digest())
    if kind == "ssh-rsa":
        public = load_ssh_public_key(key.encode())
        algorithm = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}[made[0]]
        assert isinstance(public, rsa.RSAPublicKey)
        public.verify(made[1], said, padding.PKCS1v15(), algorithm)
        return
    if kind == SECURITY_KEY:
        _, raw, application = strings(blob)
        said = hashlib.sha256(application).digest() + inner[-5:] + hashlib.sha256(said).digest()
    if made[0] != (kind or "ssh-ed25519").encode() or (kind and not inner[-5] & 1):
        raise InvalidSignature
    Ed25519PublicKey.from_public_bytes(raw if kind else bytes.fromhex(key)).verify(made[1], said)


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def strings(data: bytes) -> list[bytes]:
    """The strings of which bytes in OpenSSH's form are made, each after its length."""
    found = []
    while data:
        (size,) = struct.unpack(">I", data[:4])
        found.append(data[4 : 4 + size])
        if len(data) < 4 + size:
            raise ValueError("ends too early")
        data = data[4 + size :]
    return found


# ---- Sites, trust and history: sections 1, 6, 7.5 and 7.6

# Every name ends in its hash.
NAME = re.compile(
    f"trust/[0-9]{{8}}-{HASH}|{KEY_NAME}|{SEGMENT_NAME}|(commits|events|tails/{STREAM}/events)/{STREAM}/[0-9]{{12}}-{HASH}"
    f"|tails/{STREAM}/commits/[0-9]{{12}}-{HASH}"
)


class Sites:
    """All sites together: a name is read from the first that holds it intact; `faults` says what was not."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.names = {folder: {*self._list(folder, "")} for folder in folders}
        self.faults: dict[str, None] = {}
        self._listed: dict[str, list[str]] = {}

    def under(self, prefix: str) -> list[str]:
        """Every good name that begins so, at any site, ascending. What is in tails is listed when it is asked for."""
        if prefix.startswith("tails/"):
            if prefix not in self._listed:
                found = {folder: {*self._list(folder, prefix)} for folder in self.names}
                self.names = {folder: names | found[folder] for folder, names in self.names.items()}
                self._listed[prefix] = sorted(name for name in set().union(*found.values()) if NAME.fullmatch(name))
            return self._listed[prefix]
        every = {name for names in self.names.values() for name in names if name.startswith(prefix)}
        return sorted(name for name in every if NAME.fullmatch(name))

    def read(self, name: str) -> bytes:
        if name.startswith("tails/"):
            self.under(name[: name.rindex("/", 0, -64) + 1])
        for folder, names in self.names.items():
            try:
                if name in names:
                    return self.read_at(folder, name)
            except Damaged as error:
                self.faults[str(error)] = None
        raise Damaged(f"{name}: no site that was named holds it intact")

    def read_at(self, folder: Path, name: str) -> bytes:
        path = folder / name
        try:
            size_max = SEGMENT_MAX if re.fullmatch(SEGMENT_NAME, name) else 2 * CONTROL_MAX
            is_sane = path.is_file() and not path.is_symlink() and path.stat().st_size <= size_max
            data = path.read_bytes() if is_sane else b""
        except OSError as error:
            raise Damaged(f"{path}: can't be read: {error.strerror}") from error
        if hashlib.sha256(data).hexdigest() != name[-64:]:
            raise Damaged(f"{path}: its SHA-256 is not its name")
        return data

    def _list(self, folder: Path, prefix: str) -> Iterator[str]:
        if not folder.is_dir():
            raise Misused(f"there is no folder {folder}")
        for at, folders, files in os.walk(folder / prefix):
            if not prefix and Path(at) == folder:
                folders[:] = [each for each in folders if each != "tails"]
            names = (Path(at, file).relative_to(folder).as_posix() for file in files)
            yield from (name for name in names if not name.startswith(("tmp/.tmp-", "quarantine/")))


class Archive(Sites):
    """A file of everything signed in place of sites: section 12."""

    def __init__(self, path: Path) -> None:
        super().__init__([])
        try:
            self._file = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise Misused(f"{path} is no file of an audit: {error}") from error
        self._sizes = {each.filename: each.file_size for each in self._file.infolist()}

    def under(self, prefix: str) -> list[str]:
        return sorted(name for name in self._sizes if name.startswith(prefix) and NAME.fullmatch(name))

    def read(self, name: str) -> bytes:
        try:
            data = self._file.read(name) if self._sizes.get(name, SEGMENT_MAX) <= 2 * CONTROL_MAX else b""
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise Damaged(f"{name}: can't be read: {error}") from error
        if hashlib.sha256(data).hexdigest() != name[-64:]:
            raise Damaged(f"{name}: is not there, or its SHA-256 is not its name")
        return data


@dataclass(frozen=True)
class Commit:
    """A commit that counts: its place, the hash ("": it is the very first) and place of the one before, its clock."""

    name: str
    payload: Json
    place: tuple[str, int]
    before: tuple[str, tuple[str, int]]
    clock: datetime

    @property
    def sha256(self) -> str:
        return self.name[-64:]


def load_trust(sites: Sites, vault: str, known: AbstractSet[str] = frozenset()) -> tuple[Json, list[str], list[str]]:
    """The newest trust document that is reached, the names on the way, and what does not follow: section 6. `known` are
    the names that cards tell.
    """
    first, names = f"trust/00000001-{vault}", sites.under("trust/")
    document, reached = next_trust(Json(), sites.read(first), first), [first]
    while rivals := followers(sites, document, names):
        chosen = [*rivals] if len(rivals) == 1 else [name for name in rivals if name in known]
        chosen = chosen or [name for name in rivals if leads(sites, rivals[name], names, known)]
        if len(chosen) != 1:
            break
        document = rivals[chosen[0]]
        reached += chosen
    refused = [f"{name}: not a trust document that follows" for name in names if name not in {*reached, *rivals}]
    forked = [f"{', '.join(rivals)}: fork: nothing tells which follows version {document['version']}"] if rivals else []
    return document, reached, [*refused, *forked]


def followers(sites: Sites, current: Json, names: Sequence[str]) -> dict[str, Json]:
    """The documents that could come next. One at most is there, but for whoever holds an old root key."""
    found = {}
    for name in (each for each in names if int(each[6:14]) == current["version"] + 1):
        try:
            found[name] = next_trust(current, sites.read(name), name)
        except Damaged:
            continue
    return found


def leads(sites: Sites, document: Json, names: Sequence[str], known: AbstractSet[str]) -> bool:
    """Whether what is known comes after this document."""
    reached = {"": document}
    while reached and known and not known & {*reached}:
        reached = {name: each for before in reached.values() for name, each in followers(sites, before, names).items()}
    return bool(known & {*reached})


def next_trust(current: Json, data: bytes, name: str) -> Json:
    """The trust document after the current one (none: the first), signed by the root thresholds of both."""
    following = parsed(b64decode(parsed(data, ENVELOPE, name)["payload"]), TRUST, name)
    roles, version = following["roles"], following["version"]
    if version != int(name[6:14]) or version != (current["version"] + 1 if current else 1):
        raise Damaged(f"{name}: version {version} does not follow")
    roots = [document["roles"]["root"] for document in (current, following) if document]
    _, signers = signed_payload(data, "trust", {k: v for root in roots for k, v in root["keys"].items()}, name)
    if any(len(signers & set(root["keys"])) < root["threshold"] for root in roots):
        raise Damaged(f"{name}: signed by too few root keys")
    people, holders = roles["approver"]["people"], roles["custodian"]["holders"]
    shared = {keyid_of(key, name) for key in (*roles["root"]["keys"].values(), *(each["key"] for each in people))}
    lists = roles["reader"], holders, roles["retired"], [site for site in following["sites"] if site["key"]]
    alone = [*roles["writer"]["keys"].values(), *(each["key"] for some in lists for each in some)]
    keyids = [keyid_of(key, name) for key in alone]
    pairs = [*roles["root"]["keys"].items(), *roles["writer"]["keys"].items()]
    if len({*keyids}) != len(keyids) or shared & {*keyids} or any(keyid_of(key, name) != each for each, key in pairs):
        raise Damaged(f"{name}: a key stands in two roles or under a wrong keyid")
    distinct = [[each["name"] for each in following["sites"]], [keyid_of(each["key"], name) for each in people]]
    distinct += [[each["name"] for each in people]]
    distinct += [[each[field] for each in holders] for field in ("name", "recipient", "key")]
    recovery = roles["custodian"]["recipients"]
    distinct += [[*recovery, *(each["recipient"] for each in roles["custodian"]["earlier"])]]
    if any(len({*values}) != len(values) for values in distinct) or not recovery or (holders and len(recovery) > 1):
        raise Damaged(f"{name}: a site, approver, holder or recovery recipient stands twice, or there is no custodian")
    shares, allow = roles["custodian"]["threshold"], roles["approver"]["threshold"]
    if not (2 <= shares < len(holders) <= 7 if holders else shares == 1):
        raise Damaged(f"{name}: a threshold that so many holders can't have")
    if not (2 <= allow < len(people) if people else allow == 0 and not roles["approver"]["restore"]):
        raise Damaged(f"{name}: a threshold that so many approvers can't have")
    if roles["root"]["threshold"] > len(roles["root"]["keys"]):
        raise Damaged(f"{name}: a threshold above the number of root keys")
    return following


def read_commit(sites: Sites, name: str, trust: Json, vault: str) -> Commit:
    """The commit under this name, if it counts: sections 6, 7.3 and 7.5."""
    retired = {keyid_of(each["key"], name): each for each in trust["roles"]["retired"] if each["role"] == "writer"}
    writers = trust["roles"]["writer"]["keys"] | {keyid: each["key"] for keyid, each in retired.items()}
    body, signers = signed_payload(sites.read(name), "commit", writers, name)
    payload = parsed(body, COMMIT, name)
    for signer in signers & {*retired}:
        ends = [each for each in retired[signer]["last"] if each["stream"] == payload["stream"]]
        number = payload["sequence"]
        if not any(
            number < each["sequence"] or (number, name[-64:]) == (each["sequence"], each["sha256"]) for each in ends
        ):
            raise Damaged(f"{name}: signed by a key after it was revoked")
    place, follows, is_first = (payload["stream"], payload["sequence"]), payload["follows"], payload["sequence"] == 1
    in_tail, whole, tails = payload["in_tail"], payload["whole"], payload["tails"]
    claimed = (*place, in_tail, {payload["writer"]}, payload["vault"])
    if claimed != (name.split("/")[1], int(name[-77:-65]), name.startswith("tails/"), signers, vault):
        raise Damaged(f"{name}: of another place, writer or vault than it claims")
    names, epochs = [each for each, _ in payload["objects"]], [part["epoch"] for part in payload["parts"]]
    if is_first != (payload["parent"] is None) or (not is_first and follows):
        raise Damaged(f"{name}: only the first of a stream has no parent and may follow another stream")
    if (whole or (is_first and not follows)) if in_tail else (is_first and (not whole or payload["rolls"])):
        raise Damaged(f"{name}: in a tail the first follows a commit and none is whole; elsewhere the first is whole")
    if len({*tails, place[0]}) != len(tails) + 1 or len(tails) > 4:
        raise Damaged(f"{name}: a tail is named twice, or there are too many")
    home = f"tails/{place[0]}/" if in_tail else ("objects/", "keys/")
    if not all(each.startswith(home) for each in names):
        raise Damaged(f"{name}: an object lies elsewhere than the commit")
    if len({*names}) != len(names) or len(names) > 10_000 or len({*epochs}) != len(epochs):
        raise Damaged(f"{name}: an object or epoch is named twice, or there are too many")
    if not {*epochs} <= {*payload["epochs"]}:
        raise Damaged(f"{name}: a part has no epoch")
    if payload["since"] == {"stream": place[0], "sequence": place[1]} and not whole:
        raise Damaged(f"{name}: what it needs begins with itself, and it is not whole")
    before = (payload["parent"] or "", (place[0], place[1] - 1))
    if follows:
        before = (follows["sha256"], (follows["stream"], follows["sequence"]))
    try:
        return Commit(name, payload, place, before, datetime.fromisoformat(payload["clock"]))
    except ValueError as error:
        raise Damaged(f"{name}: not of format 1: clock: {error}") from error


class History:
    """The commits that count, the line they make as far as that is certain, and what is wrong: sections 7.5 and 7.6.

    Closed tails are not read, but for what lies past the end that was rolled up, and for what a pin leads through.
    """

    def __init__(self, sites: Sites, trust: Json, vault: str, pin: str) -> None:
        self._sites, self._counts = sites, (trust, vault)
        self._read: dict[str, Commit | str] = {}
        self._after: dict[str, list[Commit]] = defaultdict(list)
        self._places: dict[tuple[str, int], list[Commit]] = defaultdict(list)
        self._latest = datetime.now(UTC) + timedelta(days=1)
        self._wrong: dict[str, str] = {}
        self._refused: list[str] = []
        self.commits: dict[str, Commit] = {}
        self.open_tails: set[str] = set()
        self._open("commits/")
        pinned = self._lead_to(pin) if pin else []
        self._open_tails()
        self._find_forks()
        for commit in self.commits.values():
            if commit.name not in self._wrong and (fault := self._fault(commit)):
                self._wrong[commit.name] = fault
        self.line = pinned if pin else self._forward()
        self.wrong = [*self._refused, *(f"{name}: {why}" for name, why in sorted(self._wrong.items()))]

    def _open(self, prefix: str) -> list[Commit]:
        """Take in the commits under a prefix; those that are new."""
        found = []
        for name in self._sites.under(prefix):
            if isinstance(commit := self._commit(name), str):
                self._refused += [commit] if commit not in self._refused else []
            elif commit.sha256 not in self.commits:
                self.commits[commit.sha256] = commit
                self._places[commit.place].append(commit)
                self._after[commit.before[0]].append(commit)
                found.append(commit)
        self._disown()
        return [commit for commit in found if commit.sha256 in self.commits]

    def _disown(self) -> None:
        """Leave out what somebody signed with a revoked key in the place of a commit that leads to its last trusted."""
        retired = [each for each in self._counts[0]["roles"]["retired"] if each["role"] == "writer"]
        trusted: dict[str, Commit] = {}
        for end in (end["sha256"] for each in retired for end in each["last"]):
            at = self.commits.get(end)
            while at is not None and at.sha256 not in trusted:
                trusted[at.sha256] = at
                at = self.commits.get(at.before[0])
        places = {each.place for each in trusted.values()}
        keyids = {keyid_of(each["key"], "trust") for each in retired}
        for each in [*self.commits.values()]:
            if each.payload["writer"] in keyids and each.sha256 not in trusted and each.place in places:
                del self.commits[each.sha256]
                self._places[each.place].remove(each)
                self._after[each.before[0]].remove(each)
                self._refused.append(f"{each.name}: signed with a revoked key for a place that another commit has")

    def _open_tail(self, tail: str) -> list[Commit]:
        self.open_tails.add(tail)
        return self._open(f"tails/{tail}/commits/")

    def _commit(self, name: str) -> Commit | str:
        """The commit under this name, or why it does not count."""
        if name not in self._read:
            try:
                self._read[name] = read_commit(self._sites, name, *self._counts)
            except Damaged as error:
                self._read[name] = str(error)
        return self._read[name]

    def _counted(self, names: Iterable[str]) -> list[Commit]:
        return [commit for name in names if isinstance(commit := self._commit(name), Commit)]

    def _before(self, commit: Commit) -> Commit | None:
        """The commit before, even one in a tail that is not open."""
        sha256, (stream, sequence) = commit.before
        if not sha256 or sha256 in self.commits:
            return self.commits.get(sha256)
        found = self._counted({f"tails/{stream}/commits/{sequence:012d}-{sha256}"} & {*self._in_tail(stream)})
        return found[0] if found else None

    def _in_tail(self, tail: str) -> list[str]:
        return self._sites.under(f"tails/{tail}/commits/")

    def _next(self, before: Commit, tails: Sequence[str]) -> list[Commit]:
        """The successors of a commit; if it has none, the beginnings of the first of these tails that has one."""
        after = self._after[before.sha256]
        groups = [[each for each in after if each.place[0] not in before.payload["tails"]]]
        groups += [[each for each in after if each.place[0] == tail] for tail in tails]
        return next((group for group in groups if group), [])

    def _open_tails(self) -> None:
        """Take in the tails that no commit closes, and the tails of their commits."""
        waiting = [*self.commits.values()]
        while waiting:
            before = waiting.pop()
            tails = before.payload["tails"]
            for place, tail in enumerate(tails):
                after = self._next(before, tails[:place])
                if len(after) == 1 and self._closes(after[0], before, tails[place:]):
                    break
                waiting += self._open_tail(tail)

    def _closes(self, commit: Commit, before: Commit, tails: Sequence[str]) -> bool:
        """Whether a commit stands for all that these tails of the one before it hold; if not, it is a fork."""
        if self._fault(commit) or len(self._places[commit.place]) > 1:
            return False
        rolls = commit.payload["rolls"]
        names = (
            self._beyond(rolls, before, tails) if rolls else [name for tail in tails for name in self._in_tail(tail)]
        )
        left = self._counted(names)
        for each in [commit, *left] if left else ():
            self._wrong[each.name] = "fork: a tail holds commits that the commit after it does not stand for"
        return not left

    def _beyond(self, rolls: Json, before: Commit, tails: Sequence[str]) -> list[str]:
        """The names of commits after the one that was rolled up, in its tail, in those above it and in its own."""
        stream, number, names, seen = rolls["stream"], rolls["sequence"], list[str](), set[str]()
        for end in self._counted(name for name in self._in_tail(stream) if name[-64:] == rolls["sha256"]):
            names += [name for tail in end.payload["tails"] for name in self._in_tail(tail)]
        while stream not in seen:
            seen.add(stream)
            names += [name for name in self._in_tail(stream) if int(name[-77:-65]) > number]
            for first in self._counted(name for name in self._in_tail(stream) if int(name[-77:-65]) == 1):
                base = self._before(first)
                among = tails if base is before else base.payload["tails"] if base else []
                above = among[: among.index(stream)] if stream in among else []
                names += [name for tail in above for name in self._in_tail(tail)]
                stream, number = (stream, number) if base is before else first.before[1]
        return names

    def _find_forks(self) -> None:
        """Name the commits that claim one place, or follow one commit or one that lies in a closed tail."""
        groups = [*self._places.values()]
        for sha256, after in self._after.items():
            tails = self.commits[sha256].payload["tails"] if sha256 in self.commits else ()
            groups.append([each for each in after if each.place[0] not in tails])
        for rivals in groups:
            if len(rivals) > 1:
                self._wrong |= {each.name: f"fork: {len(rivals)} commits claim one place" for each in rivals}
        for commit in self.commits.values():
            first: Commit | None = commit
            while first and first.before[0] and first.before[0] not in self.commits:
                last, first = first, self._before(first)
                if first or last is not commit:
                    self._wrong[commit.name] = "fork: it follows a commit in a closed tail"
            for rival in self._after[first.before[0]] if first and first is not commit else ():
                self._wrong[rival.name] = "fork: a tail that it closes goes on"

    def _fault(self, commit: Commit) -> str:
        """What is wrong with a commit and the one before it."""
        sha256, place = commit.before
        before = self.commits.get(sha256)
        if sha256 and before is None:
            return "forged: no such parent" if place in self._places else "gap: the commit before is at no site"
        if before and not is_after(commit, before):
            return "forged: its parent is not the commit before it"
        tails = before.payload["tails"] if before else []
        if commit.payload["rolls"] and commit.place[0] in (tails[-1:] or [commit.place[0]]):
            return "forged: it rolls up what it does not close"
        if (before and commit.clock < before.clock) or commit.clock > self._latest:
            return "clock: it claims a time that can't be true"
        return ""

    def _forward(self) -> list[Commit]:
        """From the beginning as far as exactly one blameless commit follows."""
        line: list[Commit] = []
        after, places, earliest = self._after[""], dict[tuple[str, int], int](), 0
        while len(after) == 1 and after[0].name not in self._wrong:
            commit, since = after[0], after[0].payload["since"]
            if commit.payload["whole"]:
                places[commit.place] = len(line)
            if (needed := places.get((since["stream"], since["sequence"]), -1)) < earliest:
                self._wrong[commit.name] = "forged: it needs what came before its era, or what can be no beginning"
                break
            earliest = needed
            line.append(commit)
            after = self._next(commit, commit.payload["tails"])
        return line

    def _lead_to(self, pin: str) -> list[Commit]:
        """What leads to the pinned commit, oldest first; the tails in it count as open."""
        names = [*self._sites.under("commits/"), *self._sites.under("tails/")]
        line = self._counted(each for each in names if "commits/" in each and each[-64:].startswith(pin))
        if len(line) != 1:
            raise Misused(f"{len(line)} commits have a SHA-256 that begins with {pin}")
        while True:
            if line[0].payload["in_tail"]:
                self._open_tail(line[0].place[0])
            before = self._before(line[0])
            if before is None or not is_after(line[0], before):
                return line
            line.insert(0, before)


def is_after(commit: Commit, before: Commit) -> bool:
    """Whether the commit with the hash that a commit names is the one that its place calls for."""
    in_tail, was_in_tail = commit.payload["in_tail"], before.payload["in_tail"]
    begins_tail = commit.place[0] in before.payload["tails"]
    return before.place == commit.before[1] and in_tail == (begins_tail if commit.place[1] == 1 else was_in_tail)


# ---- The journal: section 8


class Record:
    """Everything signed, judged: the trust documents, commits and events objects that count, and what is wrong."""

    def __init__(self, path: Path, wanted: str) -> None:
        sites = Sites([path]) if path.is_dir() else Archive(path)
        held = [name[-64:] for name in sites.under("trust/00000001-")]
        if wanted not in held and (wanted or len(held) != 1):
            raise Misused(f"{path} is of {len(held)} vaults: name one with --vault, as the recovery card does")
        self.vault = wanted or held[0]
        self.trust, reached, refused = load_trust(sites, self.vault)
        self.history = History(sites, self.trust, self.vault, "")
        self.wrong = [*(f"foreign: {each}" for each in refused), *self.history.wrong]
        self.events: dict[str, Json] = {}
        folders = ["events/", *(f"tails/{tail}/events/" for tail in sorted(self.history.open_tails))]
        for name in (each for folder in folders for each in sites.under(folder)):
            try:
                self.events[name] = read_events(sites, name, self.trust, self.vault)
            except Damaged as error:
                self.wrong.append(str(error))
        self.wrong += disowned(self.events, self.trust)
        self.wrong += broken_chains(self.events)
        self.wrong += [] if isinstance(sites, Archive) else list(sites.faults)
        self.counted = {*reached, *self.events, *(each.name for each in self.history.commits.values())}

    def gone_since(self, older: Record) -> list[str]:
        """What counted in an older file and is not here any more, but for what lay in tails that were closed since."""
        named = {tail for each in older.history.commits.values() for tail in each.payload["tails"]}
        named |= {tail for each in self.history.commits.values() for tail in each.payload["tails"]}
        closed = named - self.history.open_tails
        gone = sorted(older.counted - self.counted)
        return [name for name in gone if not (name.startswith("tails/") and name.split("/")[1] in closed)]


def read_events(sites: Sites, name: str, trust: Json, vault: str) -> Json:
    """The events object under this name, if it counts: section 8."""
    retired = {keyid_of(each["key"], name): each for each in trust["roles"]["retired"]}
    keys = {keyid: key for keyid, (_, key) in signers_of(trust).items()}
    body, signers = signed_payload(sites.read(name), "events", keys, name)
    payload = parsed(body, EVENTS, name)
    claimed = payload["chain"], payload["sequence"], {payload["signer"]}, payload["vault"]
    if claimed != (name.split("/")[-2], int(name[-77:-65]), signers, vault):
        raise Damaged(f"{name}: of another place, signer or vault than it claims")
    if (payload["sequence"] == 1) != (payload["parent"] is None):
        raise Damaged(f"{name}: only the first of a chain has no parent")
    for end in (retired[each]["last"] for each in signers & {*retired}):
        place = payload["sequence"], name[-64:]
        links = [each for each in end if each["stream"] == payload["chain"]]
        if not any(place[0] < each["sequence"] or place == (each["sequence"], each["sha256"]) for each in links):
            raise Damaged(f"{name}: signed by a key after it was revoked")
    return payload


def signers_of(trust: Json) -> dict[str, tuple[str, str]]:
    """Who may sign events: keyid → role with name, and key."""
    roles = trust["roles"]
    named = [(f"{each['role']} {each['name']}, revoked", each["key"]) for each in roles["retired"]]
    named += [("writer", key) for key in roles["writer"]["keys"].values()]
    named += [("reader", each["key"]) for each in roles["reader"]]
    named += [(f"holder {each['name']}", each["key"]) for each in roles["custodian"]["holders"]]
    named += [(f"site {each['name']}", each["key"]) for each in trust["sites"] if each["key"]]
    named += [(f"approver {each['name']}", each["key"]) for each in roles["approver"]["people"]]
    named += [("root", key) for key in roles["root"]["keys"].values()]
    found: dict[str, tuple[str, str]] = {}
    for role, key in named:
        keyid = keyid_of(key, "trust")
        found[keyid] = (f"{role}, {found[keyid][0]}" if keyid in found else role, key)
    return found


def disowned(events: dict[str, Json], trust: Json) -> list[str]:
    """Leave out what a revoked key signed beside the way to the last links up to which it was trusted: section 6."""
    retired = {keyid_of(each["key"], "trust"): each["last"] for each in trust["roles"]["retired"]}
    doubted = {name[-64:]: each for name, each in events.items() if each["signer"] in retired}
    way: set[str] = set()
    for end in (end for ends in retired.values() for end in ends):
        at = end["sha256"], end["stream"], end["sequence"], None
        while (link := doubted.get(at[0])) is not None and at[0] not in way:
            if (link["chain"], link["sequence"]) != at[1:3] or at[3] not in (None, link["signer"]):
                break
            way.add(at[0])
            at = str(link["parent"]), link["chain"], link["sequence"] - 1, link["signer"]
    left = sorted(name for name in events if name[-64:] in doubted and name[-64:] not in way)
    for name in left:
        del events[name]
    return [f"{name}: signed with a revoked key, and not on the way to its last trusted link" for name in left]


def broken_chains(events: Mapping[str, Json]) -> list[str]:
    """What is wrong with the chains of the journal: forks, gaps, wrong parents, a second signer."""
    chains: dict[str, dict[int, dict[str, Json]]] = defaultdict(lambda: defaultdict(dict))
    for name, payload in events.items():
        chains[payload["chain"]][payload["sequence"]][name] = payload
    wrong = []
    for chain, links in sorted(chains.items()):
        for number, found in sorted(links.items()):
            before = {name[-64:] for name in links.get(number - 1, ())}
            if len({name[-64:] for name in found}) > 1:
                wrong.append(f"{', '.join(found)}: fork: {len(found)} events objects claim one place")
            for name, payload in found.items():
                if number > 1 and payload["parent"] not in before:
                    fault = "forged: its parent is not the link before it" if before else "gap: the link before is gone"
                    wrong.append(f"{name}: {fault}")
        if len({payload["signer"] for found in links.values() for payload in found.values()}) > 1:
            wrong.append(f"chain {chain}: forged: several keys signed in one chain")
    return wrong


def audit(path: Path, older: Path | None, wanted: str) -> list[str]:
    """Print the journal with who signed what; what is wrong with it, and with the trust and the history beside it."""
    if Ed25519PublicKey is None:
        raise Misused("an audit checks signatures: install cryptography")
    record = Record(path, wanted)
    if not wanted:
        note("hold the vault's id against the recovery card")
    who = {keyid: role for keyid, (role, _) in signers_of(record.trust).items()}
    told = []
    for name, payload in record.events.items():
        kinds = [(str(each.get("at")), str(each.get("kind"))) for each in payload["public"]]
        kinds += [(payload["clock"], "sealed")] if payload["sealed"] else []
        told += [(at, kind, who[payload["signer"]], payload["signer"], name) for at, kind in kinds]
    for at, kind, role, keyid, name in sorted(told):
        print(f"{at}  {kind}  {role} {keyid[:12]}  {name[:-52]}")
    chains = {payload["chain"] for payload in record.events.values()}
    print(f"vault {record.vault} {record.trust['name']!r}: trust document {record.trust['version']}, ", end="")
    print(f"{len(record.history.commits)} commits, {len(record.events)} events objects in {len(chains)} chains")
    if older is None:
        note("nothing older to hold it against: what was taken away whole leaves no trace (--older FILE)")
        return record.wrong
    before = Record(older, record.vault)
    gone = record.gone_since(before)
    print(f"of {len(before.counted)} signed objects in {older}, {len(gone)} are gone or altered")
    faults = [f"{older}: {each}" for each in before.wrong]
    return [*record.wrong, *(f"{name}: gone or altered since {older}" for name in gone), *faults]


# ---- Parts, segments and records: sections 4, 5 and 7.4


@dataclass(frozen=True)
class Segment:
    """A segment, and how to read it: its epoch and schema, the number of its commit, the columns that still count."""

    ref: Json
    epoch: str
    schema: Schema
    number: int
    told: frozenset[str]


@dataclass(frozen=True)
class Collection:
    """A collection at a commit or an instant: its part, and the segments that make it up, oldest first."""

    part: Json
    schema: Schema
    segments: tuple[Segment, ...]
    until: Until


DELETIONS = ("marked", "pruned")


def pruned_commits(
    sites: Sites, trust: Json, vault: str, line: Sequence[Commit]
) -> tuple[dict[str, set[str]], list[str]]:
    """The commits whose segments sites let go of (hash → sites), and what is wrong with other records: section 8.3.

    That the rules of section 8.2 allowed it at that time is not judged here.
    """
    own = {each["name"]: {keyid_of(each["key"], "trust")} for each in trust["sites"] if each["key"]}
    others = {keyid_of(each["key"], "trust") for each in trust["roles"]["reader"]} | {*trust["roles"]["root"]["keys"]}
    said: list[tuple[datetime, str, list[tuple[str, str]], str, bool, str]] = []
    for name in sites.under("events/"):
        try:
            payload = read_events(sites, name, trust, vault)
        except Damaged:
            continue
        told = [(each["kind"], deletion_in(each)) for each in payload["public"] if each.get("kind") in DELETIONS]
        said += [
            (*record, kind, payload["signer"] in own.get(record[1], others), name) for kind, record in told if record
        ]
    places = {commit.sha256: at for at, commit in enumerate(line)}
    begins = {commit.place: at for at, commit in enumerate(line)}
    since = line[-1].payload["since"] if line else {}
    newest = begins.get((str(since.get("stream")), int(since.get("sequence", 0))), 0)
    wait = timedelta(hours=trust["retention"]["wait_hours"])
    marked: dict[tuple[str, int], datetime] = {}
    found: dict[str, set[str]] = defaultdict(set)
    wrong = []
    for at, site, ranges, kind, may, name in sorted(said, key=lambda each: (each[0], each[3], each[5])):
        ends = [(places.get(first, newest), places.get(last, newest)) for first, last in ranges]
        covered = [each for first, last in ends for each in range(first, last + 1)]
        if may and kind == "marked":
            marked |= {(site, each): min(at, marked.get((site, each), at)) for each in covered}
        elif (
            kind == "pruned"
            and may
            and all(each < newest and at - marked.get((site, each), at + wait) >= wait for each in covered)
        ):
            for each in covered:
                found[line[each].sha256].add(site)
        elif kind == "pruned":
            wrong.append(f"{name}: forged: a deletion at site {site} that is not justified")
    return found, wrong


def deletion_in(event: Json) -> tuple[datetime, str, list[tuple[str, str]]] | None:
    """When, at which site and of which ranges (hashes of first and last) a mark or record speaks; None if malformed."""
    try:
        ranges = [(first["sha256"], last["sha256"]) for first, last in event["ranges"]]
        return datetime.fromisoformat(event["at"]).astimezone(UTC), str(event["site"]), ranges
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def keyids_of(trust: Json, *wanted: str) -> set[str]:
    """The keyids of these roles, now or until they were revoked."""
    roles = trust["roles"]
    keys = {role: [*roles[role]["keys"].values()] for role in ("root", "writer")}
    keys["reader"] = [each["key"] for each in roles["reader"]]
    keys["holder"] = [each["key"] for each in roles["custodian"]["holders"]]
    keys["approver"] = [each["key"] for each in roles["approver"]["people"]]
    told = [*(key for role in wanted for key in keys[role])]
    told += [each["key"] for each in roles["retired"] if each["role"] in wanted]
    return {keyid_of(key, "trust") for key in told}


def open_incidents(sites: Sites, trust: Json, vault: str) -> list[tuple[str, str, bytes]]:
    """Incidents whose holds no decision ended (section 8.1): each with its good commit and what is sealed beside it."""
    people = trust["roles"]["approver"]["people"]
    deciders = keyids_of(trust, "root", "approver", "holder", *(() if people else ("reader",)))
    holders = keyids_of(trust, "root", "approver", "holder", "reader", "writer")
    writers = keyids_of(trust, "writer")
    holds: list[tuple[str, str, str, bytes]] = []
    said: list[tuple[datetime, str, str, str, str]] = []
    for name in sites.under("events/00000000"):
        try:
            payload = read_events(sites, name, trust, vault)
        except Damaged:
            continue
        signer = payload["signer"]
        for each in payload["public"]:
            kind, incident = each.get("kind"), str(each.get("incident") or "")
            if kind == "hold" and incident and signer in holders:
                good = each["commit"] if fits(each.get("commit"), LINK) else None
                holds.append((incident, signer, good["sha256"] if good else "", b64decode(payload["sealed"] or "")))
            elif kind == "decided" and signer in deciders - writers and (at := time_in(each.get("at"))) is not None:
                said.append((at, name[-64:], incident, signer, str(each.get("decision"))))
    found = []
    latest = datetime.now(UTC) + timedelta(days=1)
    for incident, opener, good, sealed in holds:
        known = [(at, word) for at, _, of, who, word in sorted(said) if of == incident and who != opener]
        last = [word for at, word in known if word in ("accept", "reject", "mended") and at <= latest][-1:]
        if last in ([], ["reject"]):
            found.append((incident, good, sealed))
    return sorted(found)


def time_in(value: Any) -> datetime | None:
    """The time in an event, or None if it is none."""
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


class Vault:
    """One vault at some sites, opened with one identity."""

    def __init__(
        self, sites: Sites, identity: str, vault: str, pin: str, known: AbstractSet[str] = frozenset()
    ) -> None:
        self.sites = sites
        self._identity = pyrage.x25519.Identity.from_str(identity)
        self._identities = [self._identity]
        self._epochs: dict[str, Any] = {}
        self._read: dict[str, dict[str, tuple[str, Json]]] = {}
        self.trust, self.called, refused = load_trust(sites, vault, known)
        self.wrong = [f"foreign: {each}" for each in refused]
        self.history = History(sites, self.trust, vault, pin)
        self.line = self.history.line
        self.wrong += self.history.wrong
        for recipient in (each["recipient"] for each in self.trust["roles"]["custodian"]["earlier"]):
            if self._open(epoch := epoch_of(recipient), recipient):
                self._identities.append(self._epochs[epoch])
        self._begins = {commit.place: at for at, commit in enumerate(self.line)}
        self.pruned, forged = pruned_commits(sites, self.trust, vault, self.line)
        self.wrong += forged
        self.incidents = [] if pin else open_incidents(sites, self.trust, vault)

    def needs_pruned(self, number: int) -> list[str]:
        """The segments that a commit's state needs and that sites let go of: sections 5.3 and 8.3."""
        since = self.line[number - 1].payload["since"]
        start = self._begins.get((since["stream"], since["sequence"]), 0)
        gone = (commit for commit in self.line[start:number] if commit.sha256 in self.pruned)
        return [name for commit in gone for name, _ in commit.payload["objects"] if name.startswith("objects/")]

    def is_gone(self, number: int) -> bool:
        """Whether a commit's state can't be had any more: no site that was named holds what it needs."""
        return any(not any(name in held for held in self.sites.names.values()) for name in self.needs_pruned(number))

    def last_good(self) -> tuple[int, Until] | None:
        """The state before the open incidents, the earliest of them: section 8.1. None if it can't be told."""
        moments: dict[tuple[int, bool], tuple[int, Until]] = {}
        for incident, good, sealed in self.incidents:
            told = self._particulars(sealed, incident)
            numbers = [number for number, commit in enumerate(self.line, 1) if commit.sha256 == good]
            moment: tuple[int, Until] | None = (numbers[0], None) if numbers else None
            tx = told.get("tx")
            until = time_in(told.get("tx_at")) or time_in(told.get("until"))
            if not numbers and until is not None:
                tick = timedelta(microseconds=1) if told.get("tx_at") else timedelta()
                with contextlib.suppress(Misused):
                    moment = self.moment_at((until - tick).isoformat())
            with contextlib.suppress(Misused):
                before = self.moment_before(tx) if moment and tx else (0, None)
                if moment and before[0] == (moment[0] if moment[1] else moment[0] + 1):
                    moment = before
            if moment is not None:
                moments[moment[0] - bool(moment[1]), bool(moment[1])] = moment
        return moments[min(moments)] if moments else None

    def _particulars(self, sealed: bytes, incident: str) -> Json:
        """What is sealed beside a hold, if our identity opens the journal."""
        recipient = self.trust["journal"]["recipient"]
        try:
            if not sealed or not self._open(epoch_of(recipient), recipient):
                return {}
            events = json.loads(self._decrypt(epoch_of(recipient), sealed, "events"))
            return next((each for each in events if each.get("incident") == incident), {})
        except (Damaged, ValueError, AttributeError):
            return {}

    def moment_at(self, at: str | None) -> tuple[int, Until]:
        """A commit by its number, the newest (`latest`), or what there was at a time: section 7.5."""
        at = None if at == "latest" else at
        try:
            wanted = None if at is None or at.isdecimal() else datetime.fromisoformat(at).astimezone(UTC)
        except ValueError as error:
            raise Misused(f"{at!r} is neither a number nor a time such as 2026-03-01T09:00Z") from error
        number = len(self.line) if at is None else self._before(wanted) if wanted else int(at)
        if not 1 <= number <= len(self.line):
            raise Misused(f"there is no commit {at or ''}: the history holds {len(self.line)}")
        if wanted and number < len(self.line) and self._changes(number + 1):
            return number + 1, ("at", (wanted - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1))
        return number, None

    def moment_before(self, transaction: str) -> tuple[int, Until]:
        """What there was just before a transaction of the source, the newest of that name."""
        for number in range(len(self.line), 0, -1):
            for epoch, part in self._changes(number).values():
                for ref in part["segments"]:
                    table = self._table(Segment(ref, epoch, schema_of(part), number - 1, frozenset()))
                    names, orders = (table.column(f"holdfast:{each}").to_pylist() for each in ("tx", "order"))
                    if transaction in names:
                        return number, ("order", orders[names.index(transaction)] - 1)
        raise Misused(f"no change in the vault is of transaction {transaction}")

    def collections(self, number: int, until: Until = None) -> tuple[dict[str, Collection], int]:
        """The collections at a commit that our identity opens, by name, and the number of those it does not.

        At an instant, those that the commit has no changes of are as the commit before left them: section 7.5.
        """
        end, found = number - bool(until), dict[str, Collection]()
        if self.is_gone(number) or self.is_gone(end):
            kept = [str(each) for each in range(1, len(self.line) + 1) if not self.is_gone(each)]
            raise Misused(f"commit {number} was pruned; those whose state is kept are {', '.join(kept) or 'none here'}")
        wholes = [at for at, commit in enumerate(self.line[:end]) if commit.payload["whole"]]
        if not wholes:
            raise Damaged("the history does not begin with a whole commit")
        standing = {name: each for commit in self.line[wholes[-1] : end] for name, each in self._parts(commit).items()}
        epochs = {part["epoch"] for commit in self.line[wholes[-1] : end] for part in commit.payload["parts"]}
        cut = {name: each for name, each in self._changes(number).items() if until and each[1]["segments"]}
        for name, (epoch, part) in sorted((standing | cut).items()):
            segments = () if part["dropped"] else self._segments(part, number if name in cut else end)
            epochs -= {epoch} if segments is not None else set()
            if segments is not None and not part["dropped"]:
                found[name] = Collection(part, schema_of(part), segments, until if name in cut else None)
        if epochs and str(self._identity.to_public()) in self.trust["roles"]["custodian"]["recipients"]:
            self.wrong.append(f"{len(epochs)} collections can't be opened, though this is a custodian's key")
        return found, len(epochs)

    def records(self, collection: Collection) -> Iterator[Row]:
        """Every record, ascending by key; Damaged, after the last one at the latest, if they are not what is signed."""
        part, schema = collection.part, collection.schema
        found, last = Fingerprint(schema), b""
        for key, row in self._merged(collection):
            digest = found.digest(row)
            if key <= last or (key != key_of(row, schema) if schema.key else key[:32] != digest):
                raise Damaged(f"{part['collection']}: a record lies under a wrong key, or out of order")
            found.add(key, digest)
            last = key
            yield row
        if not collection.until and (found.rows, found.hex()) != (part["rows"], part["fingerprint"]):
            raise Damaged(f"{part['collection']}: its {found.rows} records have not the fingerprint that was signed")

    def _before(self, wanted: datetime) -> int:
        """The number of the last commit before the first that goes up to later than a time: section 7.5."""
        at = f"{wanted.isoformat(timespec='microseconds')[:26]}Z"
        near = (place for place, commit in enumerate(self.line) if commit.clock + timedelta(days=1) >= wanted)
        number = next((place for place in near if self._up_to(self.line[place]) > at), len(self.line))
        if not any(self._parts(commit) for commit in reversed(self.line[:number])):
            return next((place for place in range(number) if self.line[place].clock > wanted), number)
        return number

    def _up_to(self, commit: Commit) -> str:
        """The latest time at which what a commit says was taken from the source; "" if all its parts are closed."""
        return max((part["taken"] for _, part in self._parts(commit).values()), default="")

    def _changes(self, number: int) -> dict[str, tuple[str, Json]]:
        parts = self._parts(self.line[number - 1]).items()
        return {name: each for name, each in parts if each[1]["kind"] == "changes" and not each[1]["dropped"]}

    def _merged(self, collection: Collection) -> Iterator[tuple[bytes, Row]]:
        """The base overlaid by deltas and changes, the latest row of a key wins: section 5.3."""
        overlay: dict[bytes, Row | None] = {}
        transactions: dict[tuple[int, int], tuple[int, str]] = {}
        last = (0, b"", 0)
        for segment in (each for each in collection.segments if each.ref["kind"] != "base"):
            cut = collection.until if segment.number == collection.segments[-1].number else None
            for key, row, (at, name, order) in self._rows(segment, collection.schema):
                told = transactions.setdefault((segment.number, order), (at, name))
                if (segment.number, key, order) <= last or told != (at, name):
                    raise Damaged(f"{segment.ref['name']}: its keys do not ascend, or its transactions are mixed up")
                last = (segment.number, key, order)
                if not cut or {"at": at, "order": order}[cut[0]] <= cut[1]:
                    overlay[key] = row
        times = [(number, at) for (number, _), (at, _) in sorted(transactions.items())]
        if times != sorted(times):
            raise Damaged(f"{collection.part['collection']}: the times of its transactions fall")
        waiting = sorted(overlay, reverse=True)
        for segment in (each for each in collection.segments if each.ref["kind"] == "base"):
            for key, row, _ in self._rows(segment, collection.schema):
                while waiting and waiting[-1] <= key:
                    if (changed := overlay[found := waiting.pop()]) is not None:
                        yield found, changed
                if key not in overlay and row is not None:
                    yield key, row
        yield from ((key, changed) for key in reversed(waiting) if (changed := overlay[key]) is not None)

    def _table(self, segment: Segment) -> pa.Table:
        """A segment with all the columns that it must have, and its number of rows: section 5.1."""
        ref, name = segment.ref, segment.ref["name"]
        plain = self._decrypt(segment.epoch, self.sites.read(name), name)
        try:
            table = pa.parquet.ParquetFile(pa.BufferReader(plain)).read(use_threads=False)
            table.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise Damaged(f"{name}: not a Parquet file: {error}") from error
        beside = BESIDE[: {"base": int(not segment.schema.key), "delta": 2}.get(ref["kind"])]
        expected = [(column, storage_of(kind)) for column, kind in segment.schema.columns] + beside
        if any(table.column_names.count(each) != 1 or table.column(each).type != kind for each, kind in expected):
            raise Damaged(f"{name}: a column is missing, or of a wrong type")
        if table.num_rows != ref["rows"] or any(table.column(each).null_count for each, _ in beside):
            raise Damaged(f"{name}: its rows, keys or operations are not as they must be")
        return table

    def _rows(self, segment: Segment, wanted: Schema) -> Iterator[tuple[bytes, Row | None, tuple[int, str, int]]]:
        """The rows of a segment by key, in the wanted schema (None: deleted), with transactions: sections 5.1, 5.4."""
        ref, name, table = segment.ref, segment.ref["name"], self._table(segment)
        held, cells = dict(segment.schema.columns), list[list[Value]]()
        for column, kind in wanted.columns:
            if column not in segment.told:
                cells.append([None] * table.num_rows)
            elif kind in (held[column], "mixed"):
                cells.append(values_of(table.column(column), held[column]))
            else:
                raise Damaged(f"{name}: column {column} is {held[column]}, which can't become {kind}")
        rows = list(zip(*cells, strict=True))
        ops = [1] * len(rows) if ref["kind"] == "base" else table.column("holdfast:op").to_pylist()
        has_key = ref["kind"] == "base" and wanted.key
        keys = [key_of(row, wanted) for row in rows] if has_key else table.column("holdfast:key").to_pylist()
        stamps = [(0, "", 0)] * len(rows)
        if ref["kind"] == "changes":
            at, *others = (table.column(name) for name, _ in BESIDE[2:])
            stamps = list(zip(at.cast(pa.int64()).to_pylist(), *(each.to_pylist() for each in others), strict=True))
        if len(rows) != ref["rows"] or not {*ops} <= {1, 2, 3}:
            raise Damaged(f"{name}: its rows, keys or operations are not as they must be")
        if rows and ref["last"] and not (ref["first"] <= keys[0].hex() and keys[-1].hex() <= ref["last"]):
            raise Damaged(f"{name}: its first or last key is not what its part says")
        yield from zip(keys, [None if op == 3 else row for op, row in zip(ops, rows, strict=True)], stamps, strict=True)

    def _segments(self, wanted: Json, number: int) -> tuple[Segment, ...] | None:
        """The segments of a generation up to a commit (section 5.3); None if a part on the way is closed to us."""
        places = {commit.place: at for at, commit in enumerate(self.line[:number])}
        start = places.get((wanted["base"]["stream"], wanted["base"]["sequence"]))
        if start is None:
            raise Damaged(f"{wanted['collection']}: the commit that began its generation is not in the history")
        found: list[Segment] = []
        told = frozenset(schema_of(wanted).names)
        for at in range(number - 1, start - 1, -1):
            parts = self._parts(self.line[at])
            epoch, part = parts.get(wanted["collection"], ("", Json(kind="", generation=0)))
            if not epoch and not self.line[at].payload["whole"]:
                continue  # it did not change there
            if not epoch and len(parts) < len(self.line[at].payload["parts"]):
                return None
            is_same = part["generation"] == wanted["generation"] and part["base"] == wanted["base"]
            if not is_same or (part["kind"] == "base") != (at == start):
                raise Damaged(f"{wanted['collection']}: commit {at + 1} breaks its generation")
            told &= frozenset(schema_of(part).names)
            found[:0] = [Segment(ref, epoch, schema_of(part), at, told) for ref in part["segments"]]
        return tuple(found)

    def _parts(self, commit: Commit) -> dict[str, tuple[str, Json]]:
        """The parts of a commit that our identity opens, by collection, each with its epoch: section 7.4."""
        if commit.name in self._read:
            return self._read[commit.name]
        found: dict[str, tuple[str, Json]] = {}
        objects = dict(commit.payload["objects"])
        for sealed in commit.payload["parts"]:
            epoch, name = sealed["epoch"], f"{commit.name}, part {sealed['epoch']}"
            if self._open(epoch, commit.payload["epochs"][epoch]):
                part = parsed(self._decrypt(epoch, b64decode(sealed["sealed"]), name), PART, name)
                schema = schema_of(part)
                refs = part["segments"]
                if any(objects.get(ref["name"]) != ref["size"] or ref["kind"] != part["kind"] for ref in refs):
                    raise Damaged(f"{name}: a segment is not among the objects of the commit, or of another kind")
                is_misfit = (refs and part["kind"] == "same") or (not schema.key and part["kind"] == "changes")
                if is_misfit or len({*schema.names}) != len(schema.names) or not {*schema.key} <= {*schema.names}:
                    raise Damaged(f"{name}: it contradicts itself")
                if part["collection"] in found:
                    raise Damaged(f"{name}: a second part for {part['collection']}")
                found[part["collection"]] = (epoch, part)
        self._read[commit.name] = found
        return found

    def _open(self, epoch: str, recipient: str) -> bool:
        """Whether our identity opens this epoch, by one of its key objects: section 4."""
        if epoch not in self._epochs:
            self._epochs[epoch] = None
            for name in self.sites.under(f"keys/{epoch}/"):
                try:
                    key = parsed(pyrage.decrypt(self.sites.read(name), self._identities), KEY_OBJECT, name)
                    identity = pyrage.x25519.Identity.from_str(key["identity"])
                    told = (str(identity.to_public()), key["recipient"], key["epoch"])
                    if told != (recipient, recipient, epoch) or epoch_of(recipient) != epoch:
                        raise Damaged(f"{name}: forged: not the key that a signed commit names")
                    self._epochs[epoch] = identity
                except pyrage.DecryptError:
                    continue  # it is for others
                except (Damaged, pyrage.IdentityError) as error:
                    self.wrong.append(f"{name}: {error}")
        return self._epochs[epoch] is not None

    def _decrypt(self, epoch: str, data: bytes, name: str) -> bytes:
        try:
            return bytes(pyrage.decrypt(data, [self._epochs[epoch]]))
        except pyrage.DecryptError as error:
            raise Damaged(f"{name}: can't be decrypted: {error}") from error


def epoch_of(recipient: str) -> str:
    return hashlib.sha256(recipient.encode()).hexdigest()[:32]


def schema_of(part: Json) -> Schema:
    columns = tuple((name, kind) for name, kind, _ in part["schema"]["columns"])
    return Schema(columns, tuple(part["schema"]["key"]))


# ---- Export


def export(vault: Vault, moment: tuple[int, Until], out: Path, form: str, chosen: Sequence[str]) -> None:
    """Write records to OUT: it appears when all of it is proven, or not at all."""
    found, closed = vault.collections(*moment)
    if unknown := sorted(set(chosen) - set(found)):
        raise Misused(f"there is no collection {unknown[0]} at commit {moment[0]}, but: {', '.join(found)}")
    if os.path.lexists(out) or not out.parent.is_dir():
        raise Misused(f"{out} exists and is not overwritten, or has no folder to be in")
    if closed:
        note(f"{closed} collections are left out: they are closed to this key")
    wanted = {name: collection for name, collection in found.items() if name in (chosen or found)}
    partial = out.with_name(out.name + ".partial")
    try:
        if form == "sqlite":
            export_sqlite(vault, found, wanted, partial)
        elif len(chosen) == 1:
            export_file(vault, wanted[chosen[0]], partial, form)
        else:
            partial.mkdir()
            for name, collection in wanted.items():
                export_file(vault, collection, partial / f"{quote(name, safe=' ')}.{form}", form)
        partial.rename(out)
    except (sqlite3.Error, pa.ArrowException, OSError) as error:
        raise Misused(f"{out} can't be written as {form}: {error}") from error
    finally:
        shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)


def export_file(vault: Vault, collection: Collection, path: Path, form: str) -> None:
    """Parquet: columns in their Arrow storage, mixed ones with tags. CSV: text, with bytes in hexadecimal."""
    columns, rows, is_csv = collection.schema.columns, vault.records(collection), form == "csv"
    as_text = [is_csv and storage_of(kind) in (pa.binary(), pa.binary(16)) for _, kind in columns]
    kinds = [pa.string() if texts else storage_of(kind) for texts, (_, kind) in zip(as_text, columns, strict=True)]
    arrow = pa.schema([pa.field(name, kind) for (name, _), kind in zip(columns, kinds, strict=True)])
    with pa.csv.CSVWriter(path, arrow) if is_csv else pa.parquet.ParquetWriter(path, arrow) as writer:
        while batch := list(islice(rows, 8192)):
            arrays = []
            for cells, (_, kind), texts in zip(zip(*batch, strict=True), columns, as_text, strict=True):
                if kind == "mixed" and not texts:
                    arrays.append(pa.array(cells, pa.binary()))
                    continue
                plain = [None if cell is None else python_of(cell)[1] for cell in cells]
                if texts:
                    plain = [each.hex() if isinstance(each, bytes) else each for each in plain]
                    plain = [None if each is None else str(each) for each in plain]
                arrays.append(pa.array(plain, COUNTS.get(kind)).cast(pa.string() if texts else storage_of(kind)))
            writer.write_table(pa.Table.from_arrays(arrays, schema=arrow))


def export_sqlite(vault: Vault, found: Mapping[str, Collection], wanted: Mapping[str, Collection], path: Path) -> None:
    """The database built again from its definitions: appendix A."""
    if "sqlite:schema" not in found or "sqlite:pragma" not in found:
        raise Misused("these collections are not those of a SQLite database: export parquet or csv")
    schema, pragma = (plain_records(vault, found[f"sqlite:{name}"]) for name in ("schema", "pragma"))
    made: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for kind, name, table, sql, _ in sorted(schema, key=lambda row: (row[2].lower(), row[4])):
        if len(wanted) == len(found) or (table in wanted and kind in ("table", "index")):
            made["virtual" if re.match(r"(?i)\s*create\s+virtual", sql) else kind].append((quoted(name), sql))
    if len(wanted) < len(found):
        note("only the tables named, with their indexes")
    left = {name: collection for name, collection in wanted.items() if not name.startswith("sqlite:")}
    settings: dict[str, str] = dict(pragma)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        for name in {"page_size", "encoding", "auto_vacuum"}.intersection(settings):
            database.execute(f"PRAGMA {name} = {quoted(settings[name])}")
        database.execute("PRAGMA ignore_check_constraints = ON")
        database.execute("BEGIN")
        for _, sql in made["table"]:
            database.execute(sql)
        fill(vault, database, left)
        for name, sql in made["virtual"]:
            attempt(database, sql, f"the virtual table {name} can't be made here")
        fill(vault, database, left)  # the content tables of full-text tables
        for _, sql in made["index"] + made["view"]:
            database.execute(sql)
        for name, _ in made["virtual"]:
            attempt(database, f"INSERT INTO {name} ({name}) VALUES ('rebuild')", f"the contents of {name} are not kept")
        for _, sql in made["trigger"]:
            database.execute(sql)
        if "sqlite:sequence" in wanted:
            # SQLite makes its table of counters with the first such table, and keeps it for ever.
            database.execute('CREATE TABLE "holdfast counted" (id INTEGER PRIMARY KEY AUTOINCREMENT)')
            database.execute('DROP TABLE "holdfast counted"')
            fill(vault, database, {"sqlite_sequence": wanted["sqlite:sequence"]})
        for name in ("application_id", "user_version"):
            database.execute(f"PRAGMA {name} = {int(settings.get(name, 0))}")
        database.execute("ANALYZE" if settings.get("statistics") == "yes" else "SELECT 1")
        database.execute("COMMIT")
        database.execute(f"PRAGMA journal_mode = {quoted(settings.get('journal_mode', 'delete'))}")
    if left:
        raise Damaged(f"no table could be made for the records of {', '.join(left)}")


def plain_records(vault: Vault, collection: Collection) -> list[list[Any]]:
    """All records of a small collection as Python values."""
    return [[None if cell is None else python_of(cell)[1] for cell in row] for row in vault.records(collection)]


def fill(vault: Vault, database: sqlite3.Connection, left: dict[str, Collection]) -> None:
    """Write the records of each collection whose table is there by now, and take it off the list."""
    tables = {name for (name,) in database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for name in tables.intersection(left):
        collection = left.pop(name)
        columns = ", ".join(map(quoted, collection.schema.names))
        # Text that is not valid goes in as bytes; what a new full-text table put there itself goes out.
        cells = ", ".join("iif(?, CAST(? AS TEXT), ?)" for _ in collection.schema.columns)
        rows = ([part for cell in row for part in bound(name, cell)] for row in vault.records(collection))
        database.execute(f"DELETE FROM {quoted(name)}")
        database.executemany(f"INSERT INTO {quoted(name)} ({columns}) VALUES ({cells})", rows)


def bound(collection: str, value: Value) -> tuple[bool, Any, Any]:
    kind, plain = ("bytes", None) if value is None else python_of(value)
    if kind not in ("int", "float", "text", "rawtext", "bytes"):
        raise Misused(f"{collection} holds a value of type {kind}, which SQLite has not: export parquet or csv")
    return kind == "rawtext", plain, plain


def attempt(database: sqlite3.Connection, sql: str, otherwise: str) -> None:
    try:
        database.execute(sql)
    except sqlite3.Error as error:
        note(f"{otherwise}: {error}")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# ---- The command line


def read_card(card: Path) -> tuple[str, set[str], set[str]]:
    """The identity on a card, and the vaults and trust documents that it names: sections 6.2 and 6.3."""
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Misused(f"the card {card} can't be read: {error}") from error
    keys = {each.upper() for each in re.findall(r"(?i)AGE-SECRET-KEY-1[0-9A-Z]+", text)}
    vaults, trusts = (
        {each.lower() for each in re.findall(rf"(?i)\b{word}:\s*({shape})\b", text)}
        for word, shape in (("vault", HASH), ("trust", f"[0-9]{{8}}-{HASH}"))
    )
    if len(keys) != 1:
        raise Misused(f"{card} holds {len(keys)} keys; it must be one")
    try:
        return str(pyrage.x25519.Identity.from_str(keys.pop())), vaults, trusts
    except pyrage.IdentityError as error:
        raise Misused(f"the key on {card} is not complete: {error}") from error


def open_vault(cards: Sequence[Path], folders: Sequence[Path], pin: str = "") -> Vault:
    """The vault of a recovery card, of a bare identity or of the cards of enough holders, at these sites."""
    read = [read_card(card) for card in cards]
    vaults = {vault for _, named, _ in read for vault in named}
    sites = Sites([*{folder.resolve(): None for folder in folders}])
    held = {name[-64:] for name in sites.under("trust/00000001-")}
    if len(vaults or held) != 1:
        raise Misused(f"{len(vaults or held)} vaults are named; it must be one")
    (wanted,) = vaults or held
    if held and wanted not in held:
        raise Misused(f"the card is for vault {wanted[:16]}…, the sites hold {', '.join(each[:16] for each in held)}…")
    if not held:
        raise Damaged(f"no site that was named holds the trust document of vault {wanted[:16]}…")
    known = {f"trust/{each}" for _, _, named in read for each in named}
    trust, called, _ = load_trust(sites, wanted, known)
    if hidden := known - {*called}:
        raise Damaged(f"{max(hidden)}: a card names it, and no site has it: a newer trust document is hidden")
    vault = Vault(sites, recovered(sites, trust, [identity for identity, _, _ in read]), wanted, pin, known)
    if vault.line and vault.line[-1].payload["parts"] and not vault.collections(len(vault.line))[0]:
        raise Misused(f"the key on {cards[0]} opens nothing in this vault")
    return vault


def recovered(sites: Sites, trust: Json, identities: Sequence[str]) -> str:
    """The one identity, if it is no holder's; else the recovery identity that the holders' shares make: section 6.3."""
    custodian = trust["roles"]["custodian"]
    holders = {each["recipient"]: each for each in custodian["holders"]}
    own = {str(pyrage.x25519.Identity.from_str(each).to_public()): each for each in identities}
    if len(own) == 1 and not {*own} & {*holders}:
        return identities[0]
    if strangers := {*own} - {*holders}:
        raise Misused(f"the key of {min(strangers)} is no holder's; give the cards of holders only, or one key alone")
    if len(own) < custodian["threshold"]:
        given = ", ".join(sorted(holders[each]["name"] for each in own))
        raise Misused(f"{len(own)} of {custodian['threshold']} holders are here: {given}")
    group = sorted((holders[each]["name"], each) for each in own)[: custodian["threshold"]]
    names = [name for name, _ in group]
    whole = b""
    for name, recipient in group:
        piece = piece_of(sites, holders[recipient], own[recipient], names)
        if whole and len(piece) != len(whole):
            raise Damaged(f"the share of {name} is of another length than the others")
        whole = bytes(a ^ b for a, b in zip(whole, piece, strict=True)) if whole else piece
    try:
        identity = pyrage.x25519.Identity.from_str(whole.decode("ascii"))
    except (UnicodeDecodeError, pyrage.IdentityError) as error:
        raise Damaged(f"the shares of {', '.join(names)} make no identity") from error
    if [str(identity.to_public())] != custodian["recipients"]:
        raise Damaged(f"the shares of {', '.join(names)} make another identity than the vault's")
    return str(identity)


def piece_of(sites: Sites, holder: Json, identity: str, names: Sequence[str]) -> bytes:
    """What a holder keeps for just these holders, out of the share that the trust document names."""
    name = holder["shares"][0]
    try:
        plain = bytes(pyrage.decrypt(sites.read(name), [pyrage.x25519.Identity.from_str(identity)]))
    except pyrage.DecryptError as error:
        raise Damaged(f"{name}: the share of {holder['name']} does not open: {error}") from error
    if hashlib.sha256(plain).hexdigest() != holder["digest"]:
        raise Damaged(f"{name}: not the share of {holder['name']} that the trust document names")
    found = [each["piece"] for each in parsed(plain, SHARE, name)["pieces"] if each["holders"] == [*names]]
    if len(found) != 1:
        raise Damaged(f"{name}: the share of {holder['name']} has no piece for {', '.join(names)}")
    return b64decode(found[0])


def show(vault: Vault, moment: tuple[int, Until]) -> None:
    """Print the history, and the collections at one commit or instant."""
    print(f"vault {vault.called[0][-64:]} {vault.trust['name']!r}, begun {vault.trust['created']}")
    for number, commit in enumerate(vault.line, 1):
        holding = sum(commit.name in names for names in vault.sites.names.values())
        place = f"{'tail' if commit.payload['in_tail'] else 'stream'} {commit.place[0]} {commit.place[1]}"
        print(
            f"commit {number}  {commit.payload['clock']}  {place}  at {holding} of {len(vault.sites.names)} sites"
            f"{'  pruned' * vault.is_gone(number)}"
        )
        print(f"  {commit.name[-64:]}")
    found, closed = vault.collections(*moment)
    print(f"at {'an instant of ' * bool(moment[1])}commit {moment[0]}, with {closed} collections closed to this key:")
    for name, collection in found.items():
        part, key = collection.part, ", ".join(collection.schema.key) or "none"
        signed = f"{part['rows']} records  key {key}  fingerprint {part['fingerprint']}"
        print(f"{name}  {signed if not collection.until else f'key {key}  nothing signed'}")
        for gap in part["coverage"]["gaps"] if isinstance(part["coverage"], dict) else ():
            print(f"  not covered: {gap}")


def verify(vault: Vault, moment: tuple[int, Until]) -> None:
    """Read every byte at every site, hold it against what is signed, and prove every record at one commit."""
    custodian = vault.trust["roles"]["custodian"]
    keys = [each["shares"] for each in custodian["holders"]] + [each["key"] for each in custodian["earlier"]]
    called = {*vault.called, *(name for name, _ in vault.trust["journal"]["keys"] + keys)}
    commits = vault.history.commits.values()
    called |= {name for commit in commits for name in (commit.name, *dict(commit.payload["objects"]))}
    vault.sites.under("tails/")
    needed = {
        name for commit in commits if commit.sha256 not in vault.pruned for name in dict(commit.payload["objects"])
    }
    let_go = (commit for commit in commits if commit.sha256 in vault.pruned)
    gone = {
        name for commit in let_go for name in dict(commit.payload["objects"]) if name.startswith("objects/")
    } - needed
    for folder, names in vault.sites.names.items():
        closed = {each for each in names if each[:6] == "tails/" and each.split("/")[1] not in vault.history.open_tails}
        for name in sorted(names):
            try:
                if NAME.fullmatch(name):
                    vault.sites.read_at(folder, name)
                else:
                    note(f"{folder / name} is no name of the vault's")
            except Damaged as error:
                if name in closed:
                    note(f"{error}; it lies in a closed tail: nothing calls for it")
                else:
                    vault.wrong.append(str(error))
        vault.wrong += [
            f"{folder / name}: missing: a signed object calls for it" for name in sorted(called - names - gone)
        ]
        if absent := len(gone - names):
            note(f"{folder}: {absent} segments are not here, as a site let go of them; holdfast verify judges that")
        print(f"{folder}: {len(names)} objects read{f', {len(closed)} of them in closed tails' if closed else ''}")
    found, hidden = vault.collections(*moment)
    for name, collection in found.items():
        try:
            count = sum(1 for _ in vault.records(collection))
            print(f"{name}: {count} records {'read, nothing is signed of them' if collection.until else 'proven'}")
        except Damaged as error:
            vault.wrong.append(str(error))
    print(f"commit {moment[0]} of {len(vault.line)} read: {len(found)} collections, {hidden} closed to this key")


def note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description="Read a Holdfast vault without Holdfast.")
    card = "the recovery card, or a file with a reader's key; or repeat it for the cards of enough holders"
    parser.add_argument("--card", type=Path, action="append", help=card)
    parser.add_argument("--site", type=Path, action="append", help="the folder of a site; repeat it")
    parser.add_argument("--pin", default="", help="SHA-256 (or its beginning) of the commit to end the history with")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("list", "verify", "export"):
        command = commands.add_parser(name)
        when = command.add_mutually_exclusive_group()
        when.add_argument("--at", help="a number that list shows, a time, or latest (default: the last good state)")
        when.add_argument("--before-tx", metavar="TRANSACTION", help="just before this transaction of the source")
    command.add_argument("out", type=Path)
    command.add_argument("--collection", action="append", default=[], help="only this one; repeat it")
    command.add_argument("--format", choices=("parquet", "csv", "sqlite"), default="parquet")
    command = commands.add_parser("audit")
    command.add_argument("file", type=Path, help="what holdfast audit --export wrote, or the folder of a site")
    command.add_argument("--older", type=Path, help="the same of earlier: nothing in it may be gone")
    command.add_argument("--vault", default="", help="the vault's id, as the recovery card has it")
    options = parser.parse_args()
    if options.command != "audit" and not (options.card and options.site):
        parser.error("--card and --site are needed")
    return act(options)


def act(options: argparse.Namespace) -> int:
    """Do what was asked for; the exit code."""
    vault, wrong, code = None, list[str](), 0
    try:
        if options.command == "audit":
            wrong = audit(options.file, options.older, options.vault.lower())
            return told_wrong(wrong)
        if Ed25519PublicKey is None:
            note("signatures not checked: install cryptography")
        vault = open_vault(options.card, options.site, options.pin)
        if sum(vault.line[-1].name in names for names in vault.sites.names.values() if vault.line) < 2:
            note("freshness unproven: no second site holds the newest commit; there may be newer ones elsewhere")
        good = vault.last_good() if not (options.at or options.before_tx) else None
        moment = vault.moment_before(options.before_tx) if options.before_tx else good or vault.moment_at(options.at)
        for incident in dict.fromkeys(incident for incident, *_ in vault.incidents):
            shown = "the state before it is taken; --at latest for the newest" if good else "mind which state this is"
            note(f"incident {incident} is open: {shown}")
        if moment[1]:
            note(
                f"nothing is signed for an instant: verify --at {moment[0] - 1} and --at {moment[0]} prove what is near"
            )
        if options.command == "list":
            show(vault, moment)
        elif options.command == "verify":
            verify(vault, moment)
        else:
            export(vault, moment, options.out, options.format, options.collection)
    except Misused as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except Damaged as error:
        wrong = [str(error)]
    for fault in vault.sites.faults if vault else ():
        note(f"{fault}; another site may hold it")
    return told_wrong([*(vault.wrong if vault else ()), *wrong]) or code


def told_wrong(wrong: Iterable[str]) -> int:
    """Name what is damaged; the exit code."""
    code = 0
    for each in dict.fromkeys(wrong):
        print(f"damaged: {each}", file=sys.stderr)
        code = 7
    return code


if __name__ == "__main__":
    sys.exit(main())
