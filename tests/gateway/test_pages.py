"""What the gateway says itself, in the reader's language: short, true, and complete in each of them."""

from __future__ import annotations

import ast
import io
import json
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.extract import extract
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

import holdfast.gateway
from holdfast.core.exchange import Answer, Asked
from holdfast.core.outbox import Accepted, Fate, Item, Verdict
from holdfast.core.uncaptured import WAITS
from holdfast.errors import Usage
from holdfast.gateway.notices import FATES, REASONS, Reason
from holdfast.gateway.pages import Pages, wants_page
from holdfast.gateway.wording import Wordings, languages_known, preferred

FOLDER = Path(holdfast.gateway.__file__).parent
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
LANGUAGES = ("en", "ar", "de", "es", "fr", "he", "it", "ja", "pt", "ru", "tr", "zh")


def asked(accept: str = BROWSER, language: str = "", method: str = "GET") -> Asked:
    headers = (("accept", accept), ("accept-language", language), ("host", "shop"))
    return Asked(method, "/orders", headers=tuple(each for each in headers if each[1]))


class Page(HTMLParser):
    """A page as a browser takes it: its tags with their attributes, and its text."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.lines: list[str] = []
        self.feed(body.decode("utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.tags and self.tags[-1][0] in ("h1", "p") and data.strip():
            self.lines.append(data)


@pytest.fixture(scope="module")
def pages() -> Pages:
    return Pages()


def texts() -> set[str]:
    """Every text in the code that a catalogue must have."""
    found = set()
    for path in FOLDER.glob("*.py"):
        with path.open("rb") as file:
            found |= {str(text) for _, text, _, _ in extract("python", file, {"marked": None})}
    return found


@pytest.mark.parametrize("tag", sorted({*LANGUAGES, *languages_known()} - {"en"}))
def test_each_catalogue_has_every_text_and_no_other(tag: str) -> None:
    """No page is half in another language: all texts are there, with their places, and none that nobody says."""
    catalogue = read_po(io.BytesIO((FOLDER / "texts" / f"{tag}.po").read_bytes()), locale=tag)
    found = {str(each.id): str(each.string) for each in catalogue if each.id}
    assert set(found) == texts()
    places = re.compile(r"\{\w*\}")
    assert all(text and places.findall(text) == places.findall(english) for english, text in found.items())
    assert [each for each in catalogue if each.id and each.fuzzy] == []


def test_every_text_is_marked_for_the_catalogues() -> None:
    """What `REASONS` and `FATES` say, and all words around them, is what the catalogues are checked for."""
    said = {text for words in (*REASONS.values(), *FATES.values()) for text in (words.title, words.text)}
    assert said <= texts()
    assert set(REASONS) == set(Reason)
    assert set(FATES) == set(Fate)
    for path in FOLDER.glob("*.py"):
        calls = [each for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(each, ast.Call)]
        marks = [each for each in calls if ast.unparse(each.func) == "marked"]
        assert all(isinstance(each.args[0], ast.Constant) for each in marks), path


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("xx, fr;q=0.3, ru;q=0.7", "ru"),
        ("ru;q=0, fr;q=0.3", "fr"),
        ("zh-Hans-CN", "zh"),
        ("*", "en"),
        ("de;q=oops", "en"),
        (";;;,,,q=1", "en"),
        ("AR", "ar"),
        ("x" * 100_000, "en"),
    ],
)
def test_the_readers_language_is_found(header: str, tag: str) -> None:
    """By his weights, his region's language where there is no other, and English where there is none of his."""
    assert Wordings().best(header).tag == tag


def test_only_the_languages_that_are_named_are_offered() -> None:
    """The first named is for all others; one that there are no texts in is named at start."""
    assert [Wordings(("fr", "de")).best(each).tag for each in ("de", "ru", "")] == ["de", "fr", "fr"]
    with pytest.raises(Usage, match=r"gateway\.languages: there are no texts in tlh"):
        Wordings(("en", "tlh"))


@given(st.text(max_size=200))
def test_no_header_breaks_a_page(header: str) -> None:
    """Whatever a client says that it reads, it gets an answer."""
    assert set(preferred(header)) <= {each.partition(";")[0].strip().lower() for each in header.split(",")}
    assert Wordings().best(header).tag in languages_known()


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (BROWSER, True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/json, text/html;q=0.9", False),
        ("text/html;q=0.5, application/json;q=0.4", True),
        ("image/png", False),
    ],
)
def test_people_get_pages_and_programs_json(accept: str, is_page: bool) -> None:
    """A page only where it is wanted more than JSON."""
    assert wants_page(asked(accept)) is is_page


@pytest.mark.parametrize("tag", LANGUAGES)
def test_a_refusal_says_the_same_as_page_and_as_json(pages: Pages, tag: str) -> None:
    """In every language, with the status and Retry-After of its reason; read from the right where one does."""
    for reason in Reason:
        page = pages.refusal(asked(language=tag), reason, 120)
        plain = pages.refusal(asked("application/json", tag), reason, 120)
        facts, seen = json.loads(plain.body), Page(page.body)
        assert page.status == plain.status == facts["status"] == REASONS[reason].status
        assert (page.header("retry-after"), plain.header("retry-after")) == ("120", "120")
        assert (page.header("content-language"), plain.header("content-language")) == (tag, tag)
        assert ("html", {"lang": tag, "dir": "rtl" if tag in ("ar", "he") else "ltr"}) in seen.tags
        assert seen.lines == [facts["title"], *facts["detail"].split("\n")]
        assert plain.header("content-type") == "application/problem+json"
        assert facts["type"] == f"urn:holdfast:{reason}"


def test_a_refused_write_says_that_nothing_was_done_only_where_that_is_certain(pages: Pages) -> None:
    """What never went out was not done; what went out and was not answered may have been."""
    undone = "Nothing of it was done."
    said = {
        reason: json.loads(pages.refusal(asked("*/*", method="POST"), reason).body)["detail"] for reason in list(Reason)
    }
    assert undone in said[Reason.LIVE_ONLY]
    assert undone in said[Reason.REFUSED]
    assert undone not in said[Reason.OUTCOME_UNKNOWN]
    assert "not known" in said[Reason.OUTCOME_UNKNOWN]
    assert undone not in json.loads(pages.refusal(asked("*/*"), Reason.LIVE_ONLY).body)["detail"]


def test_pages_need_nothing_from_anywhere(pages: Pages) -> None:
    """No script, picture, font or style from elsewhere; no cache keeps them; only their own style is allowed."""
    item = Item(1, "7F3K", "r", Fate.QUEUED, "", 0, 0, NOON, NOON, None, was_promised=True, is_free=False)
    answers = [pages.refusal(asked(), Reason.LIVE_ONLY, 60), pages.receipt(asked(), item), pages.sign_in(asked())]
    for answer in answers:
        seen = Page(answer.body)
        assert not {tag for tag, _ in seen.tags} & {"script", "img", "link", "iframe", "object", "svg", "video"}
        targets = [value for _, each in seen.tags for name, value in each.items() if name in ("href", "src", "action")]
        assert all(value and value.startswith("/.holdfast/") for value in targets)
        assert not any(name.startswith("on") or name == "style" for _, each in seen.tags for name in each)
        assert answer.header("cache-control") == "no-store"
        assert "default-src 'none'; style-src 'sha256-" in answer.header("content-security-policy")


@pytest.mark.parametrize("fate", list(Fate))
def test_a_receipt_tells_what_became_of_a_write(pages: Pages, fate: Fate) -> None:
    """The number, the fate, when it came, and where to ask again, as page and as JSON; a wrong number is unknown."""
    item = Item(1, "7F3K-Q2M9", "r", fate, "", 0, 0, NOON, NOON, None, was_promised=True, is_free=False)
    answer = pages.receipt(asked("application/json"), item)
    facts = json.loads(answer.body)
    assert (answer.status, facts["receipt"], facts["fate"]) == (200, "7F3K-Q2M9", fate)
    assert (facts["received"], facts["see"]) == ("2026-11-22T12:00:00+00:00", "/.holdfast/receipts/7F3K-Q2M9")
    page = Page(pages.receipt(asked(language="he"), item).body)
    assert "7F3K-Q2M9" in page.text
    assert pages.receipt(asked(), None).status == 404


def test_what_waits_for_a_capture_is_told_why(pages: Pages) -> None:
    """Also to who delivers it again: the service answers, and nothing is done all the same."""
    item = Item(1, "7F3K", "r", Fate.QUEUED, WAITS, 0, 0, NOON, NOON, None, was_promised=True, is_free=False)
    again = Accepted(Verdict.AGAIN, "7F3K", Fate.QUEUED, "k", reason=WAITS)
    for answer in (pages.receipt(asked("application/json"), item), pages.accepted(asked("application/json"), again)):
        assert "once it is seen whether somebody else changed the same" in json.loads(answer.body)["detail"]
    assert pages.accepted(asked("application/json"), again).status == 202


def test_an_accepted_write_is_answered_by_its_fate(pages: Pages) -> None:
    """202 as long as it is not done, the receipt's number in a header too, and no word of success too early."""
    given = {fate: pages.accepted(asked("*/*"), Accepted(Verdict.KEPT, "7F3K", fate, "k")) for fate in list(Fate)}
    assert {fate: answer.status for fate, answer in given.items()} == {
        Fate.SENDING: 202,
        Fate.QUEUED: 202,
        Fate.UNKNOWN: 202,
        Fate.CONFLICT: 202,
        Fate.REFUSED: 202,
        Fate.APPLIED: 200,
        Fate.DROPPED: 409,
    }
    assert {answer.header("holdfast-receipt") for answer in given.values()} == {"7F3K"}
    waiting = given[Fate.QUEUED].body.decode()
    assert "not done yet" in waiting
    assert "Do not send it again" in waiting


def test_what_comes_from_elsewhere_is_text_in_a_page(pages: Pages) -> None:
    """Nothing that a write or its receipt holds becomes markup."""
    evil = "<script>alert(1)</script>"
    answer = pages.accepted(asked(), Accepted(Verdict.KEPT, evil, Fate.QUEUED, "k"))
    assert evil.encode() not in answer.body
    assert evil in Page(answer.body).text


def test_an_answer_from_the_copy_says_what_it_is_of(pages: Pages) -> None:
    """In its headers always, and on a page in a banner that any charset shows; JSON stays as it was, byte for byte."""
    now = NOON + timedelta(minutes=3)
    shop = Answer(200, (("content-type", "text/html; charset=iso-8859-1"), ("age", "9")), b"<BODY class='x'><p>caf\xe9")
    shown = pages.with_banner(asked(language="ru"), shop, NOON, now)
    assert (shown.header("holdfast-copy"), shown.header("age")) == ("2026-11-22T12:00:00+00:00", "180")
    assert shown.body.startswith(b'<BODY class=\'x\'><div role="status" lang="ru"')
    assert shown.body.endswith(b"<p>caf\xe9")
    assert shown.body[: -len(b"<p>caf\xe9")].isascii()
    assert "3 минуты назад" in Page(shown.body.replace(b"\xe9", b"e")).text
    plain = Answer(200, (("content-type", "application/json"), ("content-length", "2")), b"{}")
    told = pages.with_banner(asked(), plain, NOON, now)
    assert (told.body, told.header("age"), told.header("content-length")) == (b"{}", "180", "")


def test_a_clock_that_was_set_back_gives_no_age_below_nothing(pages: Pages) -> None:
    """A copy that seems to be of the future is of now."""
    assert pages.with_banner(asked(), Answer(200), NOON, NOON - timedelta(hours=1)).header("age") == "0"
