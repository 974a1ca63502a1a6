"""What the gateway tells people itself, in English: why something is not done, and what became of what they sent.

A sentence says only what is certain: that something was not done where nothing was sent, that nobody knows yet where it
was. Every text stands in `marked(...)`, and in every catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from holdfast.core.outbox import Fate

__all__ = ["FATES", "REASONS", "UNCAPTURED", "Reason", "Ui", "Words", "marked"]


def marked(text: str) -> str:
    """The same text: it is one of those that the catalogues translate."""
    return text


class Reason(StrEnum):
    """Why the gateway does not do what was asked."""

    LIVE_ONLY = "live-only"
    REFUSED = "refused"
    NOT_IN_COPY = "not-in-copy"
    NOT_ADMITTED = "not-admitted"
    OUTCOME_UNKNOWN = "outcome-unknown"
    NO_ROOM = "no-room"
    TOO_MANY = "too-many"
    BAD_REQUEST = "bad-request"
    TOO_LARGE = "too-large"
    KEY_IN_USE = "key-in-use"
    KEY_OF_ANOTHER = "key-of-another"
    NO_RECEIPT = "no-receipt"


@dataclass(frozen=True, slots=True)
class Words:
    """The status of an answer, its title, and what it says."""

    status: int
    title: str
    text: str


_AWAY = marked("Not available right now")
_NOT_DONE = marked("This was not done")

REASONS = {
    Reason.LIVE_ONLY: Words(503, _AWAY, marked("The service does not answer at the moment.")),
    Reason.REFUSED: Words(503, _AWAY, marked("This is switched off until the service answers again.")),
    Reason.NOT_IN_COPY: Words(
        503, _AWAY, marked("The service does not answer at the moment, and this is not in its copy.")
    ),
    Reason.NOT_ADMITTED: Words(
        503, _AWAY, marked("The service does not answer at the moment, so it can't be checked who you are.")
    ),
    Reason.OUTCOME_UNKNOWN: Words(
        504,
        marked("No answer came"),
        marked("It is not known whether what you sent was done. Look before you send it again."),
    ),
    Reason.NO_ROOM: Words(503, _NOT_DONE, marked("What you sent could not be kept.")),
    Reason.TOO_MANY: Words(429, _NOT_DONE, marked("There were too many requests.")),
    Reason.BAD_REQUEST: Words(400, _NOT_DONE, marked("What you sent is not understood.")),
    Reason.TOO_LARGE: Words(413, _NOT_DONE, marked("What you sent is too large.")),
    Reason.KEY_IN_USE: Words(409, marked("Still under way"), marked("You sent this before, and it is being done.")),
    Reason.KEY_OF_ANOTHER: Words(422, _NOT_DONE, marked("You sent something else before under the same key.")),
    Reason.NO_RECEIPT: Words(404, marked("Unknown number"), marked("There is no receipt with this number.")),
}


class Ui:
    """The words around them."""

    RETRY = marked("Please try again {when}.")
    UNDONE = marked("Nothing of it was done.")
    RECEIPT = marked("Receipt number")
    RECEIVED = marked("Received")
    SEE = marked("See what became of it")
    COPY = marked("The service does not answer at the moment. You see a copy as it was {when}:")
    SIGN_IN = marked("Sign in as staff")
    TOKEN = marked("Token")
    ENTER = marked("Sign in")
    LEAVE = marked("Sign out")
    WRONG_TOKEN = marked("This token does not open.")
    SIGNED_IN = marked("You are signed in")
    SIGNED_OUT = marked("You are signed out")


_SAFE = marked("What you sent is safe here and is passed on when the service answers again. Do not send it again.")
_ASKED = marked(
    "What you sent was passed on to the service, and no answer came. What became of it is being found out. Do not send "
    "it again."
)
_HELD = marked("What you sent is safe here and was not done so far. Somebody decides about it. Do not send it again.")
_COMPARED = marked(
    "What you sent is safe here and is passed on once it is seen whether somebody else changed the same meanwhile. Do "
    "not send it again."
)
_UNANSWERED = Words(202, marked("Saved here, no answer yet"), _ASKED)
_UNDECIDED = Words(202, marked("Saved here, not decided yet"), _HELD)

_NOT_YET = marked("Saved here, not done yet")
UNCAPTURED = Words(202, _NOT_YET, _COMPARED)  # in place of that of its fate, while it waits for a capture

# The status is that of the answer to what was sent; who asks for its receipt is answered with 200.
FATES = {
    Fate.SENDING: _UNANSWERED,
    Fate.QUEUED: Words(202, _NOT_YET, _SAFE),
    Fate.UNKNOWN: _UNANSWERED,
    Fate.CONFLICT: _UNDECIDED,
    Fate.REFUSED: _UNDECIDED,
    Fate.APPLIED: Words(200, marked("Done"), marked("The service has done what you sent.")),
    Fate.DROPPED: Words(409, marked("Not done"), marked("What you sent was not done and will not be.")),
}
