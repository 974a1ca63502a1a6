"""What the gateway says, in the reader's language: a gettext catalogue for each; plurals and times as CLDR has them.

>>> Wordings(("en", "de")).best("fr;q=0.9, de-AT;q=0.8, *;q=0.1").moment(-180)
'vor 3 Minuten'
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import resources

from babel import Locale, negotiate_locale
from babel.dates import format_datetime, format_timedelta
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations

from holdfast.errors import Usage

__all__ = ["SOURCE", "Wording", "Wordings", "languages_known", "preferred"]

SOURCE = "en"  # the language of the texts in the code
_HEADER_MAX = 500
_HEADERS_KEPT = 256
_FOLDER = resources.files("holdfast.gateway") / "texts"


class Wording:
    """One language."""

    def __init__(self, tag: str) -> None:
        self.tag = tag
        self._locale = Locale.parse(tag, sep="-")
        self._translations = _translations(tag)

    @property
    def direction(self) -> str:
        """`ltr`, or `rtl` where one reads from the right."""
        return self._locale.text_direction

    def text(self, english: str) -> str:
        """The text in this language."""
        return self._translations.gettext(english)

    def moment(self, seconds: int) -> str:
        """So long from now, or ago if it is less than 0: `in 2 minutes`, `2 minutes ago`."""
        return format_timedelta(seconds, threshold=1.5, add_direction=True, locale=self._locale)

    def time(self, moment: datetime) -> str:
        """A moment, with its day and zone."""
        return format_datetime(moment.astimezone(UTC), "long", tzinfo=UTC, locale=self._locale)


class Wordings:
    """The languages that are offered, the first for who reads none of them; where none are named, all that there are.
    Raises Usage for one that there is not.
    """

    def __init__(self, languages: Sequence[str] = ()) -> None:
        known = languages_known()
        if unknown := [each for each in languages if each not in known]:
            raise Usage(
                f"gateway.languages: there are no texts in {', '.join(unknown)}", hint=f"there are {', '.join(known)}"
            )
        self.tags = tuple(languages) or known
        self.best = lru_cache(_HEADERS_KEPT)(self._best)

    def _best(self, accept_language: str) -> Wording:
        return _wording(negotiate_locale(preferred(accept_language), self.tags, sep="-") or self.tags[0])


def preferred(header: str) -> list[str]:
    """What an Accept or Accept-Language header names, the most wanted first; what has the weight 0 is left out."""
    weighed = []
    for place, part in enumerate(header[:_HEADER_MAX].split(",")):
        value, *parameters = (each.strip() for each in part.split(";"))
        weights = [each[2:].strip() for each in parameters if each.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            weight = 0.0
        if value and weight > 0:
            weighed.append((-weight, place, value.lower()))
    return [value for _, _, value in sorted(weighed)]


@cache
def languages_known() -> tuple[str, ...]:
    """The languages that there are texts in, that of the code first."""
    found = sorted(each.name.removesuffix(".po") for each in _FOLDER.iterdir() if each.name.endswith(".po"))
    return (SOURCE, *found)


@cache
def _wording(tag: str) -> Wording:
    return Wording(tag)


def _translations(tag: str) -> NullTranslations:
    if tag == SOURCE:
        return NullTranslations()
    compiled = io.BytesIO()
    write_mo(compiled, read_po(io.BytesIO((_FOLDER / f"{tag}.po").read_bytes()), locale=tag.replace("-", "_")))
    compiled.seek(0)
    return Translations(compiled)
