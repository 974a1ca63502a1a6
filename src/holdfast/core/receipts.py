"""Receipt numbers: nobody guesses one, anybody can read one out over the telephone.

75 bits of chance and a check sign, in the 32 letters and digits that are not mistaken for one another. Small letters,
missing or other dashes, an O for a 0 and an I or L for a 1 are read as meant; one wrong sign is noticed.

>>> receipt_of(bytes(range(10)))
'000G-40R4-0M30-E20V'
>>> read_receipt("ooog-4or4 om3o e2ov")
'000G-40R4-0M30-E20V'
>>> read_receipt("000G-40R4-0M30-E20W") is None
True
"""

from __future__ import annotations

__all__ = ["CHANCE_BYTES", "read_receipt", "receipt_of"]

CHANCE_BYTES = 10
_SIGNS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {sign: number for number, sign in enumerate(_SIGNS)} | {"O": 0, "I": 1, "L": 1}
_LENGTH = 16
_APART = str.maketrans("", "", " -\t\u2010\u2011\u2012\u2013\u2014")


def receipt_of(chance: bytes) -> str:
    """The receipt number made of so much chance."""
    assert len(chance) == CHANCE_BYTES
    number = int.from_bytes(chance, "big") >> (8 * CHANCE_BYTES - 5 * (_LENGTH - 1))
    values = [number >> (5 * place) & 31 for place in reversed(range(_LENGTH - 1))]
    return _written([*values, _check(values)])


def read_receipt(text: str) -> str | None:
    """The receipt number as it is written here; None if it can't be one."""
    signs = text.upper().translate(_APART)
    if len(signs) != _LENGTH or any(sign not in _VALUES for sign in signs):
        return None
    values = [_VALUES[sign] for sign in signs]
    return _written(values) if _check(values[:-1]) == values[-1] else None


def _check(values: list[int]) -> int:
    """Luhn's check sign, with 32 signs: it notices one wrong sign, and nearly all that changed places."""
    total = 0
    for place, value in enumerate(reversed(values)):
        doubled = value * (2 - place % 2)
        total += doubled // 32 + doubled % 32
    return -total % 32


def _written(values: list[int]) -> str:
    signs = "".join(_SIGNS[value] for value in values)
    return "-".join(signs[place : place + 4] for place in range(0, _LENGTH, 4))
