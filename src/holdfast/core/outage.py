"""What an owner declares for an outage: what is watched, what stands before the platform, and what each endpoint does
while the platform does not answer. All of it is tables of holdfast.toml: `[probe.NAME]`, `[gateway]`, `[[route]]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = [
    "BreakerLimits",
    "Canary",
    "EndpointClass",
    "GatewayConfig",
    "Include",
    "OnConflict",
    "Paging",
    "ProbeConfig",
    "ProbeKind",
    "Route",
    "Sessions",
    "Settle",
]


class ProbeKind(StrEnum):
    """How something is asked whether it works."""

    HTTP = "http"
    TCP = "tcp"
    TLS = "tls"
    DNS = "dns"
    SQL = "sql"
    REDIS = "redis"
    QUEUE = "queue"
    COMMAND = "command"
    LAG = "lag"
    HOLDFAST = "holdfast"


@dataclass(frozen=True, slots=True)
class ProbeConfig:
    """One thing that is watched. `needs` names the probes of what it depends on. What the other keys mean, the kind
    decides (docs/guide, Watch); `bad` results in a row make it down, `good` ones up again.
    """

    kind: ProbeKind
    url: str = ""
    needs: tuple[str, ...] = ()
    every_seconds: float = 5.0
    timeout_seconds: float = 2.0
    bad: int = 3
    good: int = 2
    expect: str = ""  # text, address or value that a good answer has
    status: int = 0  # of HTTP; 0: any below 400
    headers: Mapping[str, str] = field(default_factory=dict)  # values may be `file:PATH` or `env:NAME`
    query: str = ""  # of SQL, or the key of a queue in Redis
    max: float = 0.0  # of a queue's depth, or of seconds of lag
    days: int = 14  # that a certificate must still be good for
    server: str = ""  # that is asked for a name
    ca: str = ""  # PEM file of a private authority
    command: tuple[str, ...] = ()
    source: str = ""  # whose capture lag is meant


class EndpointClass(StrEnum):
    """What becomes of a request while the platform does not answer."""

    LIVE_ONLY = "live-only"
    READ_FROM_COPY = "read-from-copy"
    QUEUE_WRITE = "queue-write"
    REFUSE = "refuse"


class OnConflict(StrEnum):
    """What becomes of a queued write whose record was changed meanwhile."""

    CONFIRM = "confirm"  # a person decides
    RETRY = "retry"  # it is sent all the same
    DROP = "drop"  # it is not sent, and says so


@dataclass(frozen=True, slots=True)
class Paging:
    """How a list is asked for in pieces: by `page` (from 1), by `offset`, or by `cursor`, the key of the last record
    seen. Each names the parameter of the query; "" where the platform has none.
    """

    page: str = ""
    offset: str = ""
    cursor: str = ""
    size: str = ""  # the parameter for how many
    size_default: int = 50
    size_max: int = 200
    empty_beyond: bool = False  # what the platform gives beyond the end is an empty list; else that is not known


@dataclass(frozen=True, slots=True)
class Include:
    """Records of another collection that belong to each record of an answer: `on` maps their columns to its own.
    `template` is the JSON of one of them.
    """

    collection: str
    on: Mapping[str, str]
    template: str
    order: tuple[str, ...] = ()
    size_max: int = 1000


@dataclass(frozen=True, slots=True)
class Settle:
    """How it is found out whether a write reached the platform: GET `path` there (`{key}` is the write's idempotency
    key, `{record}` its record); `found` is a JSON pointer that leads to something if it was applied. That it was not, a
    404 says (with `absent`, only one whose body has something there: a proxy before the platform says 404 too), or a
    list around `found` that is there and empty. Asked again until `after_seconds` after it was sent: a platform that
    was slow may still apply it. `resend`: the platform itself knows the key in the Idempotency-Key header, so that it
    may be sent again.
    """

    path: str = ""
    found: str = ""
    absent: str = ""
    after_seconds: float = 30.0
    resend: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """Requests with these methods to paths of this form (`/api/orders/{id}`: a name in braces is one segment), and what
    is done with them. What a route does not declare is refused while the platform is away, never guessed.
    """

    name: str
    path: str
    kind: EndpointClass = field(metadata={"key": "class"})
    methods: tuple[str, ...] = ("GET",)
    # read-from-copy
    collection: str = ""
    key: Mapping[str, str] = field(default_factory=dict)  # column: "{id}", or a fixed text; then one record is meant
    where: str = ""  # a condition that always holds
    filters: Mapping[str, str] = field(default_factory=dict)  # parameter of the query: "column op"
    ignores: tuple[str, ...] = ()  # parameters that change nothing in the answer
    order: tuple[str, ...] = ()  # "column", "column desc", and where NULL stands: "column nulls last"
    orders: Mapping[str, str] = field(default_factory=dict)  # "parameter=value" of the query: "column desc, other"
    paging: Paging = field(default_factory=Paging)
    template: str = ""  # JSON of one record, or of the list: docs/guide, Gateway
    item: str = ""  # JSON of one record of a list, where `template` is that of the list
    include: Mapping[str, str] = field(default_factory=dict)  # name in the template: name of an `[include.NAME]`
    media: str = "application/json"
    absent: str = ""  # JSON of the platform's answer for a record that is not there; "": 503, for it may be new
    # who may read it while the platform's login is away: "" nobody, "anybody", "session", "staff", or "session staff";
    # of queue-write: whose writes are kept for the platform, "" whoever's, as long as nothing is sent in our name
    access: str = ""
    owner: str = ""  # column that must hold who is signed in, for "session"
    # queue-write
    record: str = ""  # writes with the same text are sent in order: "orders/{id}"; "": those of one client
    copy: Mapping[str, str] = field(default_factory=dict)  # `collection` and its key columns: whose version is checked
    conflict: OnConflict = OnConflict.CONFIRM
    repeat_seconds: float = 60.0  # so long the same content without a key is a repetition while the first waits
    keep: tuple[str, ...] = ()  # headers kept with the write beyond content-type and accept: credentials, if it must be
    settle: Settle = field(default_factory=Settle)
    accepted: str = ""  # JSON of the answer 202; "": Holdfast's own
    # all
    expect: str = (
        ""  # JSON pointer that every good answer of the platform has: without it a 200 is an error in disguise
    )
    deadline_seconds: float = 0.0  # 0: the gateway's
    retry_after_seconds: int = 60


@dataclass(frozen=True, slots=True)
class BreakerLimits:
    """When the breaker opens and closes. It opens by `consecutive` failures in a row, by a share of failures surely
    above `ratio` within `window_seconds`, by a stall (at least `in_flight` requests wait, and nothing succeeded for
    longer than `stall_seconds` and `stall_times` the usual p99), or by `canaries_bad` canaries. It closes by
    `canaries_good` canaries in a row, then lets `ramp` percent through, a step every `ramp_seconds`.
    """

    consecutive: int = 5
    ratio: float = 0.5
    window_seconds: float = 10.0
    in_flight: int = 3
    stall_seconds: float = 1.0
    stall_times: float = 4.0
    canaries_bad: int = 3
    canaries_good: int = 3
    ramp: tuple[str, ...] = ("10", "50")
    ramp_seconds: float = 5.0
    open_seconds: float = 2.0  # the least time it stays open; twice as long each time it opened again soon
    open_seconds_max: float = 60.0


@dataclass(frozen=True, slots=True)
class Canary:
    """The request by which the platform is tried: read-only, with text or a JSON pointer that a right answer has."""

    path: str = ""
    expect: str = ""  # text that the body has
    pointer: str = ""  # JSON pointer that leads to something in it
    every_seconds: float = 0.5
    idle_seconds: float = 5.0  # while the breaker is closed and requests are answered
    timeout_seconds: float = 1.0
    headers: Mapping[str, str] = field(default_factory=dict)  # values may be `file:PATH` or `env:NAME`


@dataclass(frozen=True, slots=True)
class Sessions:
    """How a visitor's session is known while the platform's login is away: while it answers, a request to `path` that
    it answers with 200 proves that the credential in `header` (or in the cookie `cookie`) belongs to the text at the
    JSON pointer `subject`. Only a keyed hash of the credential is kept, for `hours`, or until its bearer asks for one
    of the paths `ends`, by which he is signed out. `tells` is a header in which the platform is told of a kept write
    who wrote it: `session 42`, `staff ada`.
    """

    path: str = ""
    subject: str = ""
    header: str = ""
    cookie: str = ""
    hours: float = 24.0
    ends: tuple[str, ...] = ()
    tells: str = ""


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """What stands before a platform. `upstream` is where it answers; `default` is the class of what no route names."""

    upstream: str
    listen: str = "127.0.0.1:8080"
    host: str = ""  # the Host by which the platform is asked; "": the one by which the client asked
    public_url: str = ""  # where visitors reach the site; the canary is sent as if it came from there
    workers: int = 1
    default: EndpointClass = EndpointClass.LIVE_ONLY
    deadline_seconds: float = 10.0
    body_bytes_max: int = 1 << 20  # of a request that may be queued; others pass in a stream
    answer_bytes_max: int = 4 << 20  # of an answer that is held until it is whole, so that half of one is never sent on
    connections_max: int = 0  # of each worker; 0: 1000, or as many as so many workers have memory for
    fronts: tuple[str, ...] = ()  # addresses and networks of proxies before it, whose X-Forwarded-For is believed
    ca: str = ""  # PEM file of a private authority, by which alone the platform's certificate is known
    origins: tuple[str, ...] = ()  # of pages elsewhere that may read what the gateway answers itself
    front_folder: str = ""  # where an nginx of another user finds the breaker and leaves its log; "": the state folder
    languages: tuple[
        str, ...
    ] = ()  # of its pages, the first for who reads none of them; none: all there are, "en" first
    service: Mapping[str, str] = field(
        default_factory=dict
    )  # headers with which queued writes are sent: `file:`, `env:`
    replay: str = "auto"  # or "plan": queued writes are sent when a person approved the plan
    replay_per_second_max: float = 20.0
    copy_every_seconds: float = 10.0  # how often the stand-in's copy is brought up to the newest commit
    breaker: BreakerLimits = field(default_factory=BreakerLimits)
    canary: Canary = field(default_factory=Canary)
    sessions: Sessions = field(default_factory=Sessions)
