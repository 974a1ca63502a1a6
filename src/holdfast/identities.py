"""What is at hand to decrypt with: a key file, a recovery card, or the cards and answers of several holders.

held = held_in(["ana.card", "bela.card"])
project = project_for(held, "holdfast.toml")
vault = project.vault(identity=held.opens(project))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.assemble import Project, card_from, load_project, project_of
from holdfast.core.config import CONFIG_NAME
from holdfast.errors import Refused, Usage
from holdfast.vault.keys import Card
from holdfast.vault.vault import Vault

__all__ = ["Held", "Keys", "held_in", "project_for"]

Keys = str | Path | Sequence[str | Path] | None


@dataclass(frozen=True, slots=True)
class Held:
    """The identities and answers at hand; the vault that cards name, if one does, and the newest trust object."""

    identities: tuple[str, ...]
    answers: tuple[bytes, ...] = ()
    vault: str | None = None
    trust: str | None = None

    def opens(self, project: Project) -> str | None:
        """The identity to open this vault with; without any the reader key of this host, if it has one.

        Of several cards and answers it is the recovery identity that they make together. Raises Refused if there are
        too few, or if no site has the trust document that a card names; Damaged if a share was altered.
        """
        # Every site has the first document of the vault, or is none of it.
        is_first = self.trust is None or self.trust.startswith("00000001-")
        if len(self.identities) < 2 and not self.answers and is_first:
            return self.identities[0] if self.identities else project.reader_identity()
        vault = project.vault()
        self.require_trust(vault)
        if len(self.identities) == 1 and not self.answers:
            return self.identities[0]
        from holdfast.operations.custody import recovered

        return recovered(vault, self.identities, self.answers)

    def require_trust(self, vault: Vault) -> None:
        """Raise Refused if the vault's trust document is older than one of the cards: then a site hides the newer."""
        if self.trust is not None and f"trust/{self.trust}" not in vault.trusted.names:
            raise Refused(
                f"a card knows version {int(self.trust[:8])} of the trust document, and no site that answers has it",
                hint="connect the other sites: these are set back, or hide what was changed since",
            )


def held_in(files: Keys) -> Held:
    """What these files hold (`-`: standard input). Raises Usage, naming the file, if one is no key, card or answer."""
    several = (files,) if isinstance(files, str | Path) else files or ()
    found = [card_from(str(each)) for each in several]
    cards = [each for each in found if isinstance(each, Card)]
    vaults = {each.vault for each in cards if each.vault is not None}
    if len(vaults) > 1:
        raise Usage("the cards are of different vaults", hint="use the cards of one vault")
    return Held(
        tuple(dict.fromkeys(each.identity for each in cards)),
        tuple(each for each in found if isinstance(each, bytes)),
        vaults.pop() if vaults else None,
        max((each.trust for each in cards if each.trust is not None), default=None),
    )


def project_for(held: Held, config: str | Path | None = None, sites: Sequence[str] = ()) -> Project:
    """The project of a configuration, or of sites and a card. Raises Refused if the card is another vault's."""
    project = project_of(sites, held.vault) if sites else load_project(Path(config or CONFIG_NAME))
    if held.vault is not None and held.vault != project.config.vault.id:
        raise Refused(
            f"the card is for vault {held.vault[:16]}…, the sites are of {project.config.vault.id[:16]}…",
            hint="use the card of this vault, or the sites of that one",
        )
    return replace(project, trust=held.trust)
