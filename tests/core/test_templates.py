"""Templates make the platform's own JSON, exactly, or nothing."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.formats import Mistake, Untellable
from holdfast.core.stored import asked, decimal_order, stored_whole
from holdfast.core.template import Template

DAY = 86_400_000_000


def shown(text: str, kind: str, value: Any) -> Any:
    return Template(json.dumps(text)).bind({"x": kind})((value,))


@pytest.mark.parametrize(
    ("text", "kind", "value", "wanted"),
    [
        ("{x}", "int", -7, "-7"),
        ("{x}", "int", None, "null"),
        ("{x|text}", "int", 7, '"7"'),
        ("{x|bool}", "int", 1, "true"),
        ("{x|bool}", "int", None, "null"),
        ("{x|zero}", "int", None, "0"),
        ("{x}", "uint", f"{2**64 - 1:020d}", "18446744073709551615"),
        ("{x}", "uint", stored_whole(2**63), "9223372036854775808"),
        ("{x}", "bool", 0, "false"),
        ("{x}", "float", 1e300, "1e+300"),
        ("{x}", "float", -0.0, "-0.0"),
        ("{x|.2}", "float", 1.5, "1.50"),
        ("{x|.1}", "float32", 0.10000000149011612, "0.1"),
        ("{x}", "float32", 0.10000000149011612, "0.1"),
        ("{x|number}", "decimal", "1.50", "1.50"),
        ("{x|number}", "decimal", "0007.10", "7.10"),
        ("{x|text}", "decimal", "1.50", '"1.50"'),
        ("{x|.1}", "decimal", "1.50", "1.5"),
        ("{x|.3}", "decimal", "-1.5", "-1.500"),
        ("{x|.2}", "decimal", "1E+30", "1" + "0" * 30 + ".00"),
        ("{x|/100|.2}", "int", 5, "0.05"),
        ("{x|/100|.2|text}", "int", -12345, '"-123.45"'),
        ("{x|/100|number}", "int", 100, "1.00"),
        ("{x|/10|number}", "decimal", "1" * 60, "1" * 59 + ".1"),
        ("{x}", "text", 'a"b\\c\n\x00\u2028é', json.dumps('a"b\\c\n\x00\u2028é', ensure_ascii=False)),
        ("{x|empty}", "text", None, '""'),
        ("{x|null}", "text", "", "null"),
        ("{x|after https://shop}", "text", "/a", '"https://shop/a"'),
        ("{x|json}", "text", '{"a": [1]}', '{"a": [1]}'),
        ("{x}", "json", "[1, 2]", "[1, 2]"),
        ("{x}", "date", 19_000, '"2022-01-08"'),
        ("{x|%d/%m/%Y}", "date", 0, '"01/01/1970"'),
        ("{x}", "time", 3_661_000_001, '"01:01:01.000001"'),
        ("{x|iso}", "timestamp", 1_500_000, '"1970-01-01T00:00:01.500000"'),
        ("{x|iso}", "timestamptz", DAY, '"1970-01-02T00:00:00Z"'),
        ("{x|seconds}", "timestamptz", -1, "-1"),
        ("{x|millis}", "timestamptz", 1_234_567, "1234"),
        ("{x|%Y-%m-%dT%H:%M:%S.000Z}", "timestamptz", DAY, '"1970-01-02T00:00:00.000Z"'),
        ("{x|%Y}", "text", "2026-03-01 09:00:00", '"2026"'),
        ("{x}", "uuid", bytes(16), '"00000000-0000-0000-0000-000000000000"'),
        ("{x|base64}", "bytes", b"\xff\x00", '"/wA="'),
        ("{x|hex}", "rawtext", b"\xff", '"ff"'),
        ("{x}", "mixed", 2, "2"),
        ("{x}", "mixed", "2", '"2"'),
        ("/orders/{x}?a={{b}}&100%", "int", 7, '"/orders/7?a={b}&100%"'),
        ('say "{x}"', "text", 'a"b', '"say \\"a\\"b\\""'),
        ("{x} of", "decimal|number", "1.50", '"1.50 of"'),
    ],
)
def test_a_value_is_shown_as_the_platform_shows_it(text: str, kind: str, value: Any, wanted: str) -> None:
    """Each type, each format, alone and within a text."""
    kind, _, format_ = kind.partition("|")
    assert shown(text.replace("{x}", f"{{x|{format_}}}") if format_ else text, kind, value) == wanted


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("{x}", "float", "NaN"),
        ("{x}", "float", float("inf")),
        ("{x}", "mixed", b"\x00"),
        ("{x|bool}", "int", 2),
        ("{x|.1}", "decimal", "1.55"),
        ("{x|.2}", "float", 0.125),
        ("{x|.2}", "float", 1.005),
        ("{x|.0}", "float", 0.5),
        ("{x|number}", "decimal", "NaN"),
        ("{x|.2}", "decimal", "1E+4000"),
        ("{x|/100|text}", "decimal", "1,5"),
        ("{x}", "time", 86_400_000_000),
        ("{x|number}", "text", "12a"),
        ("{x|json}", "text", "{"),
        ("{x|iso}", "timestamptz", 1 << 62),
        ("{x}", "date", 1 << 30),
        ("{x|%Y}", "text", "yesterday"),
        ("no. {x}", "int", None),
        ("no. {x|json}", "text", "[1]"),
    ],
)
def test_what_cannot_be_shown_exactly_is_not_shown(text: str, kind: str, value: Any) -> None:
    """Nothing is rounded, cut off or made up."""
    with pytest.raises(Untellable):
        shown(text, kind, value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ('{"a": NaN}', "is not JSON"),
        ('{"a": 1, "a": 2}', "a name stands twice"),
        ('{"{x}": 1}', "has braces"),
        ('"{x"', "brace that is not closed"),
        ('"{}"', "names no column"),
        ('"{y}"', "there is no 'y'; known here: x"),
        ('"{x|round}"', "no format 'round'"),
        ('"{x|bool}"', "none for values of type decimal"),
        ('"{x}"', "say how it is shown, such as {x|number}"),
    ],
)
def test_a_mistake_in_a_template_is_named(text: str, said: str) -> None:
    """Before anything is answered with it."""
    with pytest.raises(Mistake, match=said.replace("{", r"\{").replace("|", r"\|")):
        Template(text).bind({"x": "decimal"})


VALUES = st.one_of(st.none(), st.text(), st.integers(-(2**63), 2**64 - 1))


WORDS = st.text().filter(lambda each: "{" not in each and "}" not in each)
PLAIN = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text())
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(WORDS, inner), max_leaves=8)


@given(JSON, VALUES)
def test_a_template_without_places_is_itself_and_a_place_is_its_value(around: Any, value: Any) -> None:
    """Whatever stands around it; what any text holds can't become anything else in JSON."""
    template = Template(json.dumps({"around": escaped(around), "x": "{x}"}))
    kind = "text" if isinstance(value, str) else "int"
    assert json.loads(template.bind({"x": kind})((value,))) == {"around": around, "x": value}


def escaped(value: Any) -> Any:
    """The same with every brace of a text written twice."""
    match value:
        case str():
            return value.replace("{", "{{").replace("}", "}}")
        case list():
            return [escaped(each) for each in value]
        case dict():
            return {name: escaped(each) for name, each in value.items()}
    return value


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda each: abs(each.adjusted()) < 900)


@given(DECIMALS, DECIMALS)
def test_decimals_are_ordered_as_their_values(first: Decimal, second: Decimal) -> None:
    """Equal where they are equal, whatever their digits; NaN and the infinities at their ends."""
    one, other = decimal_order(str(first)) or b"", decimal_order(str(second)) or b""
    assert (one < other, one == other) == (first < second, first == second)
    ends = [decimal_order(text) or b"" for text in ("-inf", "Infinity", "nan")]
    assert ends[0] < one < ends[1] < ends[2]
    assert decimal_order("1,5") is None


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("int", ["", "+1", "01", "1.0", "1e2", " 1", "１", "9223372036854775808", "x"]),
        ("uint", ["-1", "18446744073709551616"]),
        ("bool", ["yes", "True", "2", ""]),
        ("float", ["nan", "inf", "1.", ".5", "0x1", "1e400"]),
        ("decimal", ["nan", "1,5", ""]),
        ("uuid", ["0" * 32, "{00000000-0000-0000-0000-000000000000}"]),
        ("date", ["2026-02-30", "1.3.2026", "today", "20260101", "2026-W01-1", "2026W011"]),
        ("timestamp", ["2026-01-01T00:00:00Z", "2026-01-01T10:00:00.1234567", "20260101T100000"]),
        ("timestamptz", ["2026-01-01T00:00:00"]),
        ("time", ["25:00", "09:00+01:00"]),
        ("json", ["{}"]),
        ("bytes", ["00"]),
    ],
)
def test_a_value_that_may_mean_something_else_is_none(kind: str, texts: list[str]) -> None:
    """What the platform makes of it nobody knows, so nobody is answered by it."""
    for text in texts:
        with pytest.raises(ValueError):  # noqa: PT011
            asked(kind, text)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_whole_numbers_stay_in_order_beyond_what_sqlite_holds(first: int, second: int) -> None:
    """Numbers come before texts there, and texts of one length are ordered as their numbers."""
    one, other = (asked("uint", str(each)) for each in (first, second))
    key = (isinstance(one, str), one), (isinstance(other, str), other)
    assert (key[0] < key[1]) == (first < second)  # type: ignore[operator]
