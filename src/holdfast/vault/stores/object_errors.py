"""What object stores answer when they don't do as asked, as errors of ours: each with its cause and the way out.

What a store says is told by the code in its answer (`AccessDenied`, `SlowDown` …) and the HTTP status, as the S3, GCS
and Azure protocols define them; only those are looked at, never the words around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError
from botocore.parsers import ResponseParserError
from obstore.exceptions import BaseError

from holdfast.errors import HoldfastError, Refused, Unreachable

__all__ = ["NO_BUCKET", "Answer", "answer_of", "is_refusal", "no_credentials", "translated"]

_CODE = re.compile(r"<Code>([A-Za-z0-9.]{1,100})</Code>|\"code\": ?\"([A-Za-z0-9]{1,100})\"")
_STATUS = re.compile(r"status code: ([1-5][0-9]{2})\b")
_LATER = (408, 425, 429)
_KEYS = {
    *("AuthenticationFailed", "ExpiredToken", "ExpiredTokenException", "InvalidAccessKeyId", "InvalidSecurity"),
    *("InvalidToken", "NotSignedUp", "SignatureDoesNotMatch", "TokenRefreshRequired", "UnrecognizedClientException"),
}
_CLOCK = {"RequestExpired", "RequestTimeTooSkewed"}
NO_BUCKET = {"ContainerNotFound", "NoSuchBucket"}
_REGION = {"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect", "301", "307"}
_NO_LOCK = {"InvalidRequest", "ObjectLockConfigurationNotFoundError", "InvalidBucketState"}
_FULL = {"EntityTooLarge", "QuotaExceeded", "AccountStorageLimitExceeded", "InsufficientStorage"}
_PASSING = {"OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "InternalError"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store said: its code ("" if none), its HTTP status (0 if it did not answer), and one line for people."""

    code: str
    status: int
    text: str


def answer_of(err: Exception) -> Answer:
    """What lies behind an error of a client library."""
    if isinstance(err, ClientError):
        code = str(err.response.get("Error", {}).get("Code") or "")
        status = int(err.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        return Answer(code, status, str(err))
    text = str(err)
    found, status_found = _CODE.search(text), _STATUS.search(text)
    code = (found[1] or found[2]) if found else ""
    # Below its first lines the error repeats itself in the library's own terms.
    line = " ".join(text.split("\n\nDebug source", 1)[0].split("<?xml", 1)[0].split())
    return Answer(code, int(status_found[1]) if status_found else 0, line.rstrip(": ")[:300])


@contextmanager
def translated(place: str, *, locks: bool = False, why: Callable[[], Answer | None] | None = None) -> Iterator[None]:
    """Errors of the client libraries as errors of ours. `locks`: what was asked for holds a lock.

    *why* may ask again where an answer without a body (to HEAD) told no cause.
    """
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError) as err:
        raise no_credentials(place) from err
    except (BaseError, ClientError, BotoCoreError, ResponseParserError, FileNotFoundError) as err:
        answer = answer_of(err)
        if answer.status in (400, 403) and answer.code == "" and why is not None:
            answer = why() or answer
        raise _error(place, answer, locks=locks) from err


def is_refusal(answer: Answer) -> bool:
    """Whether a store said no to what was asked, and not to the key, nor for want of time or of a bucket."""
    known = _KEYS | _CLOCK | NO_BUCKET | _PASSING
    return 400 <= answer.status < 500 and answer.status not in (401, *_LATER) and answer.code not in known


def no_credentials(place: str) -> Refused:
    """There is no key to show."""
    return Refused(
        f"{place}: no credentials were found",
        hint='name them in holdfast.toml: credentials = "file:PATH" or "env:NAME" with ACCESS:SECRET in it',
    )


def _error(place: str, answer: Answer, *, locks: bool) -> HoldfastError:
    code = answer.code or (str(answer.status) if answer.status else "")
    if code in _KEYS or answer.status == 401:
        return Refused(
            f"{place}: the key is not accepted ({code})",
            hint="it is wrong, expired or revoked: check what credentials of this site in holdfast.toml refers to",
        )
    if code in _CLOCK:
        return Refused(
            f"{place}: the clock of this host is wrong, by the clock of the store ({code})",
            hint="set the clock (timedatectl shows it), then run the same command again",
        )
    if code in NO_BUCKET:
        return Refused(f"{place}: there is no such bucket ({code})", hint="make the bucket, or correct the site's url")
    if code in _REGION:
        return Refused(
            f"{place}: the bucket lies in another region ({code})", hint="name its region in the site's url: region=…"
        )
    if locks and code in _NO_LOCK:
        return Refused(
            f"{place}: the bucket takes no locks ({code})",
            hint="lock_days needs a bucket made with object lock; docs/guide/9-sites.md shows how to make one",
        )
    if code in _FULL or answer.status == 507:
        return Unreachable(f"{place} is full ({code})", hint="make space or raise the quota, then try again")
    if not answer.status or answer.status >= 500 or answer.status in _LATER or code in _PASSING:
        return Unreachable(f"{place} does not answer as it should: {answer.text}", hint="try again later")
    if answer.status == 403:
        return Refused(
            f"{place}: access denied ({code})", hint="docs/guide/9-sites.md lists the rights that the key needs"
        )
    return Refused(f"{place} refuses: {answer.text} ({code})", hint="check the site's url and the bucket's settings")
