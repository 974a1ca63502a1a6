"""What people and hosts said about the vault, from verified objects, and how it is judged, at sites and on hosts alike.

* Only objects whose signature, vault and place were verified come in; names and roles come from the trust document.
* A request is an events object that holds it and nothing else: its id is the hash of that object.
* What is malformed is left out, for it proves nothing. Nothing that lies at a site stops a judge.

    control = Control(trusted, vault.signed_events(), now, arrivals)
    if control.allowing("prune", {…}) is None: …
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any

from holdfast.core.control import Action, Rules, Statement, Verdict, by_request, matured
from holdfast.core.events import Event, UnknownEvent
from holdfast.core.holds import decisions_on, open_holds
from holdfast.core.retention import Retention
from holdfast.core.statements import Requested
from holdfast.core.terms import InForce, Terms, Version, deciding, on_version, terms_in_force
from holdfast.errors import Damaged
from holdfast.vault.chain import SignedEvents
from holdfast.vault.coding import encode, parse_time
from holdfast.vault.names import parse_name
from holdfast.vault.publickeys import keyid_of
from holdfast.vault.trust import TrustDocument, Trusted

__all__ = ["Asked", "Control", "speakers", "statements_of", "terms_of"]

NO_TIMES: Mapping[str, datetime] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what became of it."""

    id: str
    asker: str
    event: Requested
    verdict: Verdict


class Control:
    """Everything that was said, judged at one moment. `arrivals` are the times, by hash, at which the judge first saw
    the objects of the trust document and of events; a judge who keeps none has only the signers' own times.
    """

    def __init__(
        self,
        trusted: Trusted,
        objects: Iterable[SignedEvents],
        now: datetime,
        arrivals: Mapping[str, datetime] = NO_TIMES,
    ) -> None:
        self.statements = statements_of(objects, trusted, arrivals)
        self._about = by_request(self.statements)
        self._deciders: dict[int, Rules] = {}
        self._trusted = trusted
        self._now = now
        names = [parse_name(text) for text in trusted.names]
        hashes = [name.sha256 for name in names if name is not None]
        self._versions = [
            Version(sha256, terms_of(document), arrivals.get(sha256) if arrivals else parse_time(document.created))
            for sha256, document in zip(hashes, trusted.documents, strict=True)
        ]

    @cached_property
    def force(self) -> InForce:
        """The terms that count for deletion now."""
        return terms_in_force(self._versions, self.statements, self._trusted.vault, self._now)

    @property
    def rules(self) -> Rules:
        """Who can allow now."""
        return self.force.terms.rules(self._trusted.vault)

    @property
    def retention(self) -> Retention:
        """How long is kept, by the strictest version until a looser one is allowed."""
        amounts = self.force.terms.amounts
        return Retention(**{each.name: amounts[f"retention.{each.name}"] for each in fields(Retention)})

    @cached_property
    def requests(self) -> tuple[Asked, ...]:
        """Every request, in the order of their own times."""
        asked = [
            Asked(each.sha256, each.person, each.event, self._verdict(each, each.event))
            for each in self.statements
            if isinstance(each.event, Requested)
        ]
        return tuple(sorted(asked, key=lambda each: (each.event.at, each.id)))

    @cached_property
    def holds(self) -> tuple[Statement, ...]:
        """The holds that stand."""
        return open_holds(self.statements, self.rules, self._now)

    @cached_property
    def decisions(self) -> tuple[Statement, ...]:
        """What was decided on incidents by those who may, in the order of their own times."""
        return decisions_on(self.statements, self.rules, self._now)

    def allowing(self, action: str, subject: Mapping[str, Any]) -> Asked | None:
        """A request for this that matured; None if there is none."""
        wanted = (each for each in self.requests if (each.event.action, each.event.subject) == (action, subject))
        return next((each for each in wanted if each.verdict.is_matured), None)

    def _verdict(self, request: Statement, event: Requested) -> Verdict:
        hashes = [each.sha256 for each in self._versions]
        named = event.subject.get("sha256")
        if event.action != Action.TRUST or named not in hashes[1:]:
            return matured(request, self._about.get(request.sha256, ()), self.rules, self._now)
        number = hashes.index(named)
        about = self._about.get(request.sha256, ())
        return on_version(request, about, self._deciding(number), self._now, self._versions[number])

    def _deciding(self, number: int) -> Rules:
        """Who decides on a version of the trust document."""
        if number not in self._deciders:
            vault = self._trusted.vault
            before = terms_in_force(self._versions[:number], self.statements, vault, self._now).terms
            self._deciders[number] = deciding(before, self._versions[number], vault)
        return self._deciders[number]


def statements_of(
    objects: Iterable[SignedEvents], trusted: Trusted, arrivals: Mapping[str, datetime] = NO_TIMES
) -> tuple[Statement, ...]:
    """What was said in verified events objects, each with who said it and in which roles."""
    known = speakers(trusted.document)
    found = []
    for signed in objects:
        events = signed.events
        is_alone = len(events.public) == 1
        person, roles = known.get(events.signer, ("", frozenset()))
        for value in events.public:
            try:
                event = Event.from_json(value)
            except Damaged:
                continue
            if isinstance(event, UnknownEvent) or (isinstance(event, Requested) and not is_alone):
                continue
            arrived = arrivals.get(signed.sha256)
            found.append(Statement(events.vault, signed.sha256, events.signer, person, roles, event, arrived))
    return tuple(found)


def terms_of(document: TrustDocument) -> Terms:
    """What a trust document says about deletion."""
    roles, retention = document.roles, document.retention
    amounts = {f"retention.{name}": getattr(retention, name) for name in retention.__struct_fields__}
    amounts |= {
        "approver.threshold": roles.approver.threshold,
        "approver.delay_hours": roles.approver.delay_hours,
        "approver.restore": int(roles.approver.restore),
        "root.threshold": roles.root.threshold,
        "custodian.threshold": roles.custodian.threshold,
        "safe.sites": document.safe.sites,
        "safe.owners": document.safe.owners,
    }
    return Terms(
        amounts,
        {keyid_of(each.key): each.name for each in roles.approver.people},
        frozenset(each.name for each in document.sites),
        frozenset((*roles.custodian.recipients, *(each.recipient for each in roles.custodian.holders))),
        custody=frozenset(
            (
                *(encode(each).decode() for each in (*roles.custodian.holders, *roles.custodian.earlier)),
                *(name for name, _ in document.journal.keys),
            )
        ),
        roots=frozenset(roles.root.keys),
        voices=frozenset((*document.observers, *document.attestors, *document.retired("reader", "site"))),
        settled={f"reader {keyid[:8]}": keyid for keyid in document.observers}
        | {f"site {each.name}": encode(each).decode() for each in document.sites},
        retired={
            f"{each.role} {keyid_of(each.key)[:8]}": " ".join(sorted(encode(link).decode() for link in each.last))
            for each in roles.retired
        },
    )


def speakers(document: TrustDocument) -> dict[str, tuple[str, frozenset[str]]]:
    """Whose every key is, and in which roles: keyid → name and roles. Of a person in two roles the own name counts."""
    roles = document.roles
    told = [
        *((keyid, "root", "root") for keyid in roles.root.keys),
        *((keyid, f"writer {keyid[:8]}", "writer") for keyid in roles.writer.keys),
        *((keyid, f"reader {keyid[:8]}", "reader") for keyid in document.observers),
        *((keyid, f"site {name}", "site") for keyid, name in document.attestors.items()),
        *((keyid, each.name or f"{each.role} {keyid[:8]}", each.role) for keyid, each in document.retired().items()),
        *((keyid_of(each.key), each.name, "holder") for each in roles.custodian.holders),
        *((keyid_of(each.key), each.name, "approver") for each in roles.approver.people),
    ]
    known: dict[str, tuple[str, frozenset[str]]] = {}
    for keyid, name, role in told:
        known[keyid] = (name, known.get(keyid, ("", frozenset[str]()))[1] | {role})
    return known
