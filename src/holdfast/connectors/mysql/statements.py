"""What a statement in the binlog means for the tables that are followed: nothing, a look at the catalog, or a break.

* Rows tell what happened to records. A statement tells a definition, or a change that the server did not tell as rows.
* Judged are the first words, after comments. What the server runs out of a comment (`/*!40000 … */`) is read both as
  if it were there and as if it were not. Whatever is not known to be harmless is a break.
* It belongs to another database if it ran there and nowhere spells the name of ours. A definition then can't concern
  our tables; a change may, through a view, trigger or routine there that names ours: `Reach.is_entered`.

    >>> reach = Reach("shop", frozenset({"orders"}), frozenset({"orders"}))
    >>> judge("shop", "GRANT SELECT ON shop.* TO ana", reach).why
    ''
    >>> judge("shop", "/* nightly */ TRUNCATE `orders`", reach)
    Verdict(why='emptied by TRUNCATE', collections=('orders',), looks=False, enters=False)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["HARMLESS", "Reach", "Verdict", "judge"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`why` nothing can be told exactly from here on, of these collections (none: all); "" if it is harmless.

    After one that `looks` the catalog says whether it was; after one that `enters`, what is done elsewhere may change
    ours.
    """

    why: str = ""
    collections: tuple[str, ...] = ()
    looks: bool = False
    enters: bool = False


HARMLESS = Verdict()
_LOOK = Verdict(looks=True)
_ENTERS = Verdict(enters=True)


@dataclass(frozen=True, slots=True)
class Reach:
    """The database, its tables, which of them are followed, the indexes (table, index) that are their keys, and
    whether anything in other databases may change ours.
    """

    database: str
    tables: frozenset[str]
    followed: frozenset[str]
    keys: frozenset[tuple[str, str]] = frozenset()
    is_entered: bool = False

    def own(self, name: _Name, schema: str) -> str | None:
        """The table of ours that a name in a statement means, as it is written; None if it is another database's."""
        database = name.database or schema
        is_ours = database.casefold() == self.database.casefold()
        # In letters of another character set ours may look like any.
        return name.name if is_ours or not (database.isascii() or self.database.isascii()) else None


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in a statement, perhaps with its database."""

    database: str
    name: str


def judge(schema: str, text: str, reach: Reach) -> Verdict:
    """What a statement that ran in `schema` means."""
    readings = {tuple(_tokens(text, runs_comments=runs)) for runs in (False, True)}
    verdicts = [_Reading(tokens, schema, reach).verdict() for tokens in sorted(readings)]
    is_foreign = schema.casefold() != reach.database.casefold() and not _spells(text, reach.database)
    if is_foreign:
        changes = any(tokens and _word(tokens[0]) not in _DEFINING for tokens in readings)
        return Verdict(_WRITTEN) if changes and reach.is_entered else HARMLESS
    return max(verdicts, key=lambda each: (bool(each.why), each.enters, each.looks))


class _Reading:
    """One reading of a statement, token by token."""

    def __init__(self, tokens: Sequence[str], schema: str, reach: Reach) -> None:
        self._tokens = tokens
        self._at = 0
        self._schema = schema
        self._reach = reach

    def verdict(self) -> Verdict:
        """What this reading means."""
        if not self._tokens:
            return HARMLESS
        verb = self._next()
        following = _word(self._tokens[1]) if len(self._tokens) > 1 else ""
        if verb in _HARMLESS or (verb in _HARMLESS_WITH and following in _HARMLESS_WITH[verb]):
            return HARMLESS
        match verb:
            case "CREATE" | "ALTER" | "DROP" | "RENAME":
                return self._definition(verb)
            case "TRUNCATE":
                self._skip("TABLE")
                return self._emptied("emptied by TRUNCATE")
            case "DELETE" if self._skip("FROM") and (len(self._tokens) - self._at) in (1, 3):
                # As the server writes it of a table in memory when it has started anew.
                return self._emptied(_WRITTEN)
            case _ if verb in _WRITING:
                return Verdict(_WRITTEN)
        return Verdict(
            f"the binlog has a statement that is not known to be harmless: {' '.join(self._tokens[:2])[:60]}"
        )

    def _definition(self, verb: str) -> Verdict:
        """CREATE, ALTER, DROP or RENAME of something."""
        kind, passed = self._kind()
        if kind in _NO_RECORDS or "TEMPORARY" in passed:
            return _ENTERS if verb in ("CREATE", "ALTER") and kind in _ACTING and self._is_elsewhere() else HARMLESS
        if not kind and self._at >= len(self._tokens) and passed <= _BEFORE_KIND:
            return HARMLESS  # No server ran that: it is the other reading that counts.
        if kind in ("DATABASE", "SCHEMA"):
            self._skip("IF", "EXISTS")
            is_gone = verb == "DROP" or "REPLACE" in passed
            name = self._tokens[self._at] if self._at < len(self._tokens) else ""
            is_ours = not name or _unquoted(name).casefold() == self._reach.database.casefold()
            return Verdict("the database was dropped") if is_gone and is_ours else HARMLESS
        if kind == "INDEX":
            return _LOOK if verb == "CREATE" else self._index_dropped()
        if kind in ("TABLE", "TABLES"):
            return self._table(verb, passed)
        return Verdict(f"a definition of an unknown kind was made: {verb} {kind or ' '.join(sorted(passed))}"[:80])

    def _is_elsewhere(self) -> bool:
        """Whether what comes next names something of another database, or nothing that can be made out."""
        self._skip("IF", "NOT", "EXISTS")
        name = self._name()
        return name is None or self._reach.own(name, self._schema) is None

    def _table(self, verb: str, passed: set[str]) -> Verdict:
        why = f"the definitions of tables were altered: {verb} TABLE"
        if verb == "CREATE" and "REPLACE" not in passed and self._skip("IF", "NOT", "EXISTS"):
            name = self._name()
            return HARMLESS if name and self._reach.own(name, self._schema) in self._reach.tables else Verdict(why)
        self._skip("IF", "EXISTS")
        names = self._names()
        own = [each for name in names if (each := self._reach.own(name, self._schema)) is not None]
        known = tuple(sorted(each for each in own if each in self._reach.tables))
        if verb == "DROP" and names and not known:
            return HARMLESS
        if verb == "CREATE" and names and not own:
            return HARMLESS
        names_all = verb in ("ALTER", "DROP") and len(known) == len(names) and not _OTHERS & {*map(_word, self._tokens)}
        return Verdict(why, known if names_all else ())

    def _index_dropped(self) -> Verdict:
        """DROP INDEX i ON t: unless the index is a table's key, its records are as distinct as before."""
        self._skip("IF", "EXISTS")
        index = _unquoted(self._next_token())
        table = self._name() if self._skip("ON") else None
        if table is None:
            return Verdict("an index was dropped from a table that can't be made out")
        own = self._reach.own(table, self._schema)
        is_key = index.upper() == "PRIMARY" or any((own, index.casefold()) == (t, i) for t, i in self._reach.keys)
        return Verdict("its key was dropped", (own,)) if own is not None and is_key else _LOOK

    def _emptied(self, why: str) -> Verdict:
        name = self._name()
        if name is None:
            return Verdict(why)
        own = self._reach.own(name, self._schema)
        if own is None or (own in self._reach.tables and own not in self._reach.followed):
            return HARMLESS
        return Verdict(why, (own,) if own in self._reach.followed else ())

    def _kind(self) -> tuple[str, set[str]]:
        """What is defined, and the words that stood before it."""
        passed: set[str] = set()
        while self._at < len(self._tokens):
            word = self._next()
            if word in _KINDS:
                return word, passed
            if word not in _BEFORE_KIND:
                return "", passed
            passed.add(word)
            if word in ("DEFINER", "ALGORITHM"):
                # `= user@host`, `= MERGE`, `= CURRENT_USER()`
                self._skip("=")
                self._next()
                if self._skip("@"):
                    self._next()
                self._skip("(", ")")
            elif word == "SECURITY":
                self._next()
        return "", passed

    def _names(self) -> list[_Name]:
        found: list[_Name] = []
        while (name := self._name()) is not None:
            found.append(name)
            if not self._skip(","):
                break
        return found

    def _name(self) -> _Name | None:
        first = self._next_token()
        if not _is_name(first):
            return None
        if not self._skip("."):
            return _Name("", _unquoted(first))
        second = self._next_token()
        return _Name(_unquoted(first), _unquoted(second)) if _is_name(second) else None

    def _next(self) -> str:
        return _word(self._next_token())

    def _next_token(self) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        self._at += 1
        return token

    def _skip(self, *words: str) -> bool:
        """Pass these words if they come next, all of them or none."""
        found = tuple(_word(each) for each in self._tokens[self._at : self._at + len(words)])
        if found != words:
            return False
        self._at += len(words)
        return True


def _tokens(text: str, *, runs_comments: bool) -> list[str]:
    """The first words, names and signs of a statement, comments left out; enough of them to judge it by."""
    found: list[str] = []
    for each in (_TOKEN if runs_comments else _TOKEN_OUTSIDE).finditer(text):
        if each.lastgroup not in ("space", "mark"):
            found.append(each[0])
        if len(found) >= _TOKENS_MAX:
            break
    return found


def _spells(text: str, database: str) -> bool:
    """Whether a name may stand anywhere in a statement, however it is quoted."""
    if not database.isascii() and not text.isascii():
        return True  # it may be spelled in another character set
    return re.search(rf"(?<![\w$]){re.escape(_bare(database))}(?![\w$])", _bare(text)) is not None


def _bare(text: str) -> str:
    """Without what it is quoted by."""
    return text.casefold().translate(_QUOTES)


def _word(token: str) -> str:
    """A word as SQL takes it; a quoted name is no word."""
    return token.upper() if token[:1] not in _QUOTED else ""


def _is_name(token: str) -> bool:
    return bool(token) and (token[0] in '`"' or token[0].isalnum() or token[0] in "_$" or not token[0].isascii())


def _unquoted(token: str) -> str:
    if token[:1] in ('"', "`"):
        return token[1:-1].replace(token[0] * 2, token[0])
    return token


_TOKENS_MAX = 2000
_OTHERS = frozenset(("EXCHANGE", "RENAME", "CONVERT"))  # of an ALTER TABLE that may concern a second table
_QUOTED = ("'", '"', "`")
_QUOTES = dict.fromkeys(map(ord, "`\"'"), " ")
_SIGNS = r"""
    |(?P<name>`(?:[^`]|``)*`)
    |(?P<text>'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*")
    |(?P<word>[\w$\ufffd]+)
    |(?P<sign>.)
"""
_LINES = r"\s+|--(?=\s|$)[^\n]*|\#[^\n]*"
_TOKEN_OUTSIDE = re.compile(rf"(?P<space>{_LINES}|/\*.*?(?:\*/|$)){_SIGNS}", re.VERBOSE | re.DOTALL)
_TOKEN = re.compile(
    rf"(?P<space>{_LINES}|/\*(?!M?!).*?(?:\*/|$))|(?P<mark>/\*M?!\d*|\*/){_SIGNS}", re.VERBOSE | re.DOTALL
)
_WRITTEN = "a change was written as a statement, not as rows (binlog_format STATEMENT or MIXED)"
_WRITING = frozenset(
    ("INSERT", "REPLACE", "UPDATE", "DELETE", "LOAD", "CALL", "DO", "SELECT", "WITH", "VALUES", "EXECUTE", "ROLLBACK")
)
_HARMLESS = frozenset(("FLUSH", "GRANT", "REVOKE", "REPAIR", "INSTALL", "UNINSTALL", "SHUTDOWN", "PURGE", "KILL"))
# ANALYZE runs what follows it; so does SET STATEMENT.
_HARMLESS_WITH = {
    **dict.fromkeys(("ANALYZE", "OPTIMIZE", "CHECK"), frozenset(("TABLE", "TABLES", "LOCAL", "NO_WRITE_TO_BINLOG"))),
    "SET": frozenset(("PASSWORD", "DEFAULT", "ROLE", "GLOBAL")),
    "RENAME": frozenset(("USER",)),
}
# None of them alters a record, nor what its columns are. They are kept as of the last snapshot.
_NO_RECORDS = frozenset(
    ("VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE", "EVENT", "USER", "ROLE", "SERVER", "SEQUENCE", "RESOURCE")
)
_ACTING = frozenset(("VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE", "EVENT"))
_KINDS = _NO_RECORDS | {"TABLE", "TABLES", "INDEX", "DATABASE", "SCHEMA"}
_BEFORE_KIND = frozenset(
    (
        *("OR", "REPLACE", "TEMPORARY", "DEFINER", "ALGORITHM", "SQL", "SECURITY", "AGGREGATE"),
        *("UNIQUE", "FULLTEXT", "SPATIAL", "ONLINE", "OFFLINE", "IGNORE"),
    )
)
# What these do they do to what they name.
_DEFINING = _HARMLESS | {"CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE", "ANALYZE", "OPTIMIZE", "CHECK"}
