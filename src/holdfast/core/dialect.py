"""The two parts that meet in a mapping: what a target can hold (`Dialect`), and what a source's definitions say.

* An engine that is to take other engines' records gives a `Dialect` and a `MappedWriter` that builds what the mapping
  says; one whose records are to go elsewhere gives a function from its definitions' records to `Definitions`.
* Neither knows of any other engine: canonical types are all that they share.

    >>> whole = Kept(FORMS["itself"], "bigint")
    >>> Dialect("here", lambda column, _: whole, lambda name, ending: name + ending, str.lower).key_bytes_max
    0
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from holdfast.core.forms import FORMS, Form, readable
from holdfast.core.records import Column, Reference

__all__ = ["FORMS", "Definitions", "Dialect", "Index", "Kept", "LeftOut"]


@dataclass(frozen=True, slots=True)
class Kept:
    """How a target keeps a column: the form of its values, and the type it declares for them.

    `key_bytes` are the most bytes that a value takes in a key or an index, None where the type can stand in neither;
    `otherwise` is how the column is kept if its records turn out to hold a value that the form can't take. Without it
    such a value is refused by name.
    """

    form: Form
    declared: str
    key_bytes: int | None = 0
    otherwise: Kept | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """A target's part of a mapping. `shown` is what people call the engine, where that is another name.

    * `kept` tells how a column is kept, by its canonical type (`mixed` is one) and, where that helps, by what its
      source declared; None leaves it out. It is also told whether the column belongs to a key, an index or a reference,
      for such a one may need a type of its own (a text of bounded length). A type's equality must be that of values: a
      collation that calls different texts equal, trailing spaces among them, breaks keys. A mixed column is kept in the
      form `text` or `tagged`.
    * `usable` makes of any name, with an ending that tells it apart from others, one that the target takes, its longest
      length in bytes or characters included. Names that are equal under `folded` are one name to it.
    * `called` gives the collection as which the target's own reader shows a table of that name.
    * `key_bytes_max` and `key_columns_max` are what a key or an index may have, `columns_max` what a table may; 0 is no
      limit.
    * `are_indexes_apart` says that an index's name need only be free among those of its own table; otherwise it must be
      free among all tables and indexes.
    """

    engine: str
    kept: Callable[[Column, bool], Kept | None]
    usable: Callable[[str, str], str]
    folded: Callable[[str], str]
    called: Callable[[str], str] = str
    key_bytes_max: int = 0
    key_columns_max: int = 0
    columns_max: int = 0
    are_indexes_apart: bool = False
    shown: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One thing that the target will not have, and why, where that is not plain from what it is."""

    kind: str
    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """A plain index over columns of a collection."""

    name: str
    columns: tuple[str, ...]
    is_unique: bool


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a source's own definitions say beyond the schemas of its collections, by collection.

    * `not_null` are columns, `computed` those that the source computes and the vault holds no values of.
    * `indexes` are those over whole columns of all rows whose equality is that of values; unique constraints are among
      them, and the key may be.
    * `unfit` are references of the schemas that no other engine could hold to, with why: a collation or padding under
      which different texts lead to one record, or columns led to that are not unique.
    * `readable` tells which values of a mixed column people expect in it, the last a type that is stored as a string:
      those are written as they are, all others in hexadecimal.
    * `left_out` names all else that the definitions define.
    """

    engine: str
    not_null: Mapping[str, frozenset[str]] = field(default_factory=dict)
    computed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    indexes: Mapping[str, tuple[Index, ...]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    unfit: Mapping[str, Mapping[Reference, str]] = field(default_factory=dict)
    readable: Callable[[Column], tuple[str, ...]] = readable
