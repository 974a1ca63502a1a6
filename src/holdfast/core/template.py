"""JSON in a platform's own shape, with places for the values of a record.

* A template is JSON. A text that is one place, `"{total}"`, becomes the value itself, of its own type; places within
  other text, `"/orders/{id}"`, become text. `{{` and `}}` are braces.
* A place may have formats, one after the other: `{created|%d.%m.%Y}`, `{cents|/100|.2}`, `{paid|bool}`.
* NULL becomes null. Where a value can't be told exactly (a NULL within a text, digits that a format would drop, bytes
  that no format was named for) nothing is told at all: `Untellable`.

>>> template = Template('{"id": "{id}", "url": "/orders/{id}", "paid": "{paid|bool}"}')
>>> template.names
('id', 'paid')
>>> template.bind({"id": "int", "paid": "int"})((7, 1))
'{"id":7,"url":"/orders/7","paid":true}'
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any

from holdfast.core.formats import Format, Mistake, Untellable, encoder, format_of, texter

__all__ = ["Mistake", "Render", "Template", "Untellable"]

Render = Callable[[Sequence[Any]], str]
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NULL = "null"


class Template:
    """A template that was read. Raises Mistake where it is none."""

    def __init__(self, text: str) -> None:
        try:
            value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        except ValueError as err:
            raise Mistake(f"is not JSON: {err}") from err
        self._pieces: list[str | _Place] = [""]
        self._walk(value)
        self.names: tuple[str, ...] = tuple(dict.fromkeys(each.name for each in self._pieces if type(each) is _Place))

    def bind(self, kinds: Mapping[str, str]) -> Render:
        """What renders values that are given in the order of these names, whose types they are. Raises Mistake for a
        name that is not among them, a format that does not fit its type, or a value that needs one.
        """
        form = "".join("%s" if type(each) is _Place else str(each).replace("%", "%%") for each in self._pieces)
        places = [each for each in self._pieces if type(each) is _Place]
        at = {name: number for number, name in enumerate(kinds)}
        slots = [(at.get(each.name, -1), each.render(kinds)) for each in places]
        if not slots:
            whole = form % ()
            return lambda _: whole
        return lambda values: form % tuple([show(values[place]) for place, show in slots])

    def _walk(self, value: Any) -> None:
        if isinstance(value, str):
            self._text(value)
        elif isinstance(value, dict):
            for number, (key, each) in enumerate(value.items()):
                if _PLACE.search(key):
                    raise Mistake(f"the name {key!r} has braces: only values have places")
                self._say(("," if number else "{") + encode_basestring(key) + ":")
                self._walk(each)
            self._say("}" if value else "{}")
        elif isinstance(value, list):
            for number, each in enumerate(value):
                self._say("," if number else "[")
                self._walk(each)
            self._say("]" if value else "[]")
        else:
            self._say(json.dumps(value))

    def _text(self, text: str) -> None:
        whole = re.fullmatch(r"\{([^{}]*)\}", text)
        if whole is not None:
            self._pieces += [_Place(whole[1], is_whole=True), ""]
            return
        self._say('"')
        at = 0
        for match in _PLACE.finditer(text):
            self._say(encode_basestring(text[at : match.start()])[1:-1])
            if match[0] in ("{{", "}}"):
                self._say(match[0][0])
            elif match[1] is None:
                raise Mistake(f"{text!r} has a brace that is not closed; a brace itself is written twice")
            else:
                self._pieces += [_Place(match[1], is_whole=False), ""]
            at = match.end()
        self._say(encode_basestring(text[at:])[1:-1] + '"')

    def _say(self, text: str) -> None:
        self._pieces[-1] = f"{self._pieces[-1]}{text}"


class _Place:
    """Where a value goes: its name, its formats, and whether it stands alone."""

    def __init__(self, text: str, *, is_whole: bool) -> None:
        self.name, *formats = (each.strip() for each in text.split("|"))
        if not self.name:
            raise Mistake(f"{{{text}}} names no column")
        self._formats = formats
        self._is_whole = is_whole

    def render(self, kinds: Mapping[str, str]) -> Callable[[Any], str]:
        if self.name not in kinds:
            raise Mistake(f"there is no {self.name!r}; known here: {', '.join(sorted(kinds))}")
        kind = kinds[self.name]
        steps: list[Format] = []
        for each in self._formats:
            step = format_of(each, kind)
            steps.append(step)
            kind = step.kind
        last = encoder(kind, self.name) if self._is_whole else texter(kind, self.name)
        if not steps:
            return last
        takes = [each.take for each in steps]

        def shown(value: Any) -> str:
            for take in takes:
                value = take(value)
            return last(value)

        return shown


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"a name stands twice among {', '.join(name for name, _ in pairs)}")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no value of JSON")
