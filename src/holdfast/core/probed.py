"""What a probe of each kind must say in its table, and what makes no sense there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from holdfast.core.causes import cycle_in
from holdfast.core.outage import ProbeConfig, ProbeKind

__all__ = ["probe_mistakes"]

# The keys without which a kind can't ask, and what they are.
_URL = {"url": "says what is asked"}
_NEEDED: Mapping[ProbeKind, Mapping[str, str]] = {
    **dict.fromkeys(ProbeKind, _URL),
    ProbeKind.QUEUE: {**_URL, "query": "says what is counted", "max": "is the most that may wait"},
    ProbeKind.COMMAND: {"command": "is the program and its arguments"},
    ProbeKind.LAG: {"max": "is the most seconds that the copy may be behind"},
}
_COMMON = {"kind", "needs", "every_seconds", "timeout_seconds", "bad", "good"}
_KNOWN: Mapping[ProbeKind, set[str]] = {
    ProbeKind.HTTP: {"expect", "status", "headers", "ca"},
    ProbeKind.TCP: {"expect"},
    ProbeKind.TLS: {"days", "ca"},
    ProbeKind.DNS: {"expect", "query", "server"},
    ProbeKind.SQL: {"expect", "query"},
    ProbeKind.REDIS: {"expect", "query"},
    ProbeKind.QUEUE: {"headers", "ca"},
    ProbeKind.COMMAND: {"expect"},
    ProbeKind.LAG: {"source"},
    ProbeKind.HOLDFAST: {"expect", "headers", "ca"},
}


def probe_mistakes(probes: Mapping[str, ProbeConfig]) -> Iterator[tuple[str, str]]:
    """The key path of each mistake, and what is wrong there."""
    defaults = ProbeConfig(ProbeKind.HTTP)
    for name, probe in probes.items():
        path = f"probe.{name}"
        for key, what in _NEEDED[probe.kind].items():
            if not getattr(probe, key):
                yield f"{path}.{key}", f"is missing: it {what}"
        for key in ProbeConfig.__dataclass_fields__:
            if key not in _COMMON | _KNOWN[probe.kind] | _NEEDED[probe.kind].keys() and getattr(probe, key) != getattr(
                defaults, key
            ):
                yield f"{path}.{key}", f"means nothing to a probe of kind {probe.kind}"
        for key in ("every_seconds", "timeout_seconds", "bad", "good"):
            if not getattr(probe, key):
                yield f"{path}.{key}", "must be more than 0"
        for need in probe.needs:
            if need not in probes:
                yield f"{path}.needs", f"there is no probe {need!r}"
    circle = cycle_in({name: probe.needs for name, probe in probes.items()})
    if circle:
        yield f"probe.{circle[0]}.needs", f"a circle has no cause: {' needs '.join(circle)}"
