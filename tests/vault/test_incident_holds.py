"""While an incident is open nothing goes at any site, and only those end it who may: judged by what lies there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdfast.core.incident import Decision, IncidentOpened
from holdfast.core.statements import Decided
from holdfast.errors import Refused
from holdfast.operations.hosting import SiteHost
from holdfast.operations.incident import decide, incidents_in, open_incident, standing
from holdfast.operations.journal import commit_ref
from holdfast.operations.sitefiles import SiteFile, begin_site, read_site
from holdfast.vault.coding import encode, time_text
from holdfast.vault.control import Control
from holdfast.vault.format import EventsObject
from holdfast.vault.hosting import Hosted, Writer
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.pruning import Step
from holdfast.vault.roles import Retired
from holdfast.vault.signing import SigningKey, sign_envelope
from holdfast.vault.trust import seal_trust
from tests.site.test_letting_go import fill
from tests.vault.aged import Aged, aged
from tests.vault.world import memory

HELD = "under a hold: mass-delete"


def opened(vault: Aged, key: SigningKey | None = None) -> IncidentOpened:
    """An incident whose last good commit is the second last: of the newest era, which stays anyway."""
    good, bad = (commit_ref(each.link) for each in vault.commits[-2:])
    now = vault.world.now
    found = IncidentOpened(now, "1a2b3c4d", "shop", bad, good, now, (), ())
    open_incident(vault.world.vault(), key or vault.world.writer, found, "mass-delete")
    return found


def reasons(vault: Aged) -> set[str]:
    shown = vault.prune(Step.SHOW)
    return {each.reason for each in shown.outlook.kept}


@pytest.mark.parametrize("opener", ["writer", "observer"])
def test_nothing_goes_anywhere_while_an_incident_is_open(opener: str) -> None:
    """Whatever commit it names: of the whole vault, marked long ago or not. A decision lets all go on as before."""
    vault = aged()
    assert vault.prune(Step.MARK).record
    vault.days(4)
    opened(vault, getattr(vault.world, opener))
    assert reasons(vault) == {HELD, "the newest"}
    assert vault.prune(Step.DELETE).deleted.objects == 0
    decide(vault.world.vault(), vault.world.writer, "1a2b3c4d", Decision.ACCEPT, ("a thief", "nothing to see"))
    assert reasons(vault) == {HELD, "the newest"}
    decide(vault.world.vault(), vault.world.root, "1a2b3c4d", Decision.ACCEPT, ("owner", "the yearly clean-up"))
    assert vault.prune(Step.DELETE).deleted.objects == 6
    assert vault.world.verify().is_sound


def test_one_listing_tells_that_there_is_none_and_the_rest_is_in_the_journal() -> None:
    """What is sealed tells who, what and when; decisions of those who may not decide are not among them."""
    vault = aged(1)
    assert standing(vault.world.vault()) == ()
    found = opened(vault)
    reader = vault.world.vault(identity=vault.world.reader)
    hold = standing(reader)[0]
    assert (hold.incident, hold.commit, hold.reason) == ("1a2b3c4d", found.good, "mass-delete")
    for key in (vault.world.writer, vault.world.root):
        decide(vault.world.vault(), key, "1a2b3c4d", Decision.REJECT, ("somebody", "why"))
    reader.refresh()
    incident = incidents_in(reader, Control(reader.trusted, reader.said(), reader.now()))[0]
    assert (incident.opened, len(incident.decided), incident.is_open) == (found, 1, True)


def test_a_site_server_judges_decisions_by_what_the_trust_document_says(tmp_path: Path) -> None:
    """That of the writer lies there and counts for nothing, that of a stranger is not even taken."""
    begin_site(tmp_path, SiteFile("a", "anna"))
    vault = aged(site_keys={"a": read_site(tmp_path)[1]})
    with SiteHost.opened(tmp_path, lambda: vault.world.now, prune=Hosted.prune) as host:
        hosted = host.hosted(vault.world.id)
        fill(hosted, vault)
        vault.days(61)
        opened(vault)
        decide(vault.world.vault(), vault.world.writer, "1a2b3c4d", Decision.MENDED, ("a thief", "all is well"))
        vault.days(0)
        fill(hosted, vault)
        shown = hosted.prune("mark")["done"][0]
        assert {each["reason"] for each in shown["kept"]} == {HELD, "the newest"}
        stranger = SigningKey.generate()
        data = sign_envelope(_events_of(vault, stranger), "events", stranger)
        name = name_for(Kind.EVENTS, sha256_hex(data), group="0" * 16, number=1)
        with pytest.raises(Refused, match="unknown key"):
            hosted.put(Writer("capture"), name, data)
        decide(vault.world.vault(), vault.world.root, "1a2b3c4d", Decision.MENDED, ("owner", "undone"))
        fill(hosted, vault)
        assert hosted.prune("mark")["done"][0]["commits"] == [[1, 6]]


def test_a_site_server_takes_no_decision_of_a_revoked_key(tmp_path: Path) -> None:
    """Whoever was trusted with the records once and is no more ends nothing, whatever time he gives."""
    begin_site(tmp_path, SiteFile("a", "anna"))
    vault = aged(1, site_keys={"a": read_site(tmp_path)[1]})
    world = vault.world
    with SiteHost.opened(tmp_path, lambda: world.now, prune=Hosted.prune) as host:
        hosted = host.hosted(world.id)
        opened(vault)
        fill(hosted, vault)
        before = {*memory(world, "b")}
        decide(world.vault(), world.observer, "1a2b3c4d", Decision.ACCEPT, ("reader", "dated back, signed today"))
        (decision,) = {*memory(world, "b")} - before
        assert not standing(world.vault()), "where there are no approvers a reader may"
        document = world.document()
        retired = Retired("reader", "", world.observer.public_hex, ())
        roles = msgspec.structs.replace(document.roles, reader=(), retired=(retired,))
        name, data = seal_trust(msgspec.structs.replace(document, version=2, roles=roles), world.root)
        hosted.put(Writer("capture"), name, data)
        with pytest.raises(Refused, match="after it was revoked"):
            hosted.put(Writer("capture"), decision, memory(world, "b")[decision])
        for store in world.stores.values():
            store.put(name, data)
        assert [each.incident for each in standing(world.vault())] == ["1a2b3c4d"], "nor does it count at a folder"


def _events_of(vault: Aged, key: SigningKey) -> bytes:
    said = Decided(vault.world.now, "1a2b3c4d", "accept").to_json()
    return encode(
        EventsObject(
            vault=vault.world.id, chain="0" * 16, signer=key.keyid, sequence=1, parent=None,
            clock=time_text(vault.world.now), public=(said,), sealed=None,
        )
    )  # fmt: skip
