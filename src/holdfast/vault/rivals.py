"""Commits that can't both be: at one place, or after one commit, as an open vault goes on from commit to commit."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.vault.chain import Signed

__all__ = ["Rivals"]


class Rivals:
    """What of the commits that are known would be a fork with another. `known` is the vault's own, by SHA-256."""

    def __init__(self, known: Mapping[str, Signed]) -> None:
        self._known = known
        self._places: dict[tuple[str, int] | str | None, set[str]] = {}
        for each in known.values():
            self.note(each)

    def note(self, signed: Signed) -> None:
        """Know of one commit more, which is among those known by now."""
        places = [(signed.commit.stream, signed.commit.sequence), signed.predecessor]
        rolls = signed.commit.rolls
        for place in (*places, *([rolls.sha256] if rolls else [])):
            self._places.setdefault(place, set()).add(signed.sha256)

    def of(self, signed: Signed) -> Signed | None:
        """The commit that can't be beside this one, if there is one."""
        commit = signed.commit
        found = {*self._places.get((commit.stream, commit.sequence), ())}
        found |= {
            each for each in self._places.get(signed.predecessor, ()) if self._excludes(signed, self._known[each])
        }
        if commit.rolls is not None:
            found |= self._places.get(commit.rolls.sha256, set())
        found.discard(signed.sha256)
        return self._known[min(found)] if found else None

    def _excludes(self, signed: Signed, other: Signed) -> bool:
        """Whether one of two commits that both go after the first one's predecessor makes the other a fork."""
        before = self._known.get(signed.predecessor or "")
        if other.predecessor != signed.predecessor or before is None:
            return True
        tails = before.commit.tails
        own, its = (tails.index(each) if each in tails else -1 for each in (signed.commit.stream, other.commit.stream))
        if own < its:
            return signed.commit.rolls is None
        return own == its or other.commit.rolls is None or signed.sha256 not in self._known
