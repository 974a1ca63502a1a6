"""The recovery identity in shares: any m of n holders make it whole, fewer learn nothing.

* For every m of the holders its text is split anew: m-1 pieces of random bytes, and one that makes their XOR the text.
  So m-1 holders hold random bytes only, and whatever secret one thinks of, a last piece would fit it.
* A holder's pieces are one age file to him, which `age -d` opens too. They count only if the SHA-256 of what is in it
  is the one that the trust document names for him: an altered share is named, wherever it comes from.
* What comes out counts only if its recipient is the published one: there is never a wrong identity.

    shares = split(identity, vault, 2, {"ana": recipient, "bela": recipient_b, "cleo": recipient_c})
    combine([open_share(shares["ana"].data, ana), open_share(shares["cleo"].data, cleo)], custody) == identity
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Annotated, Literal

import pyrage
from msgspec import Meta
from pyrage import x25519

from holdfast.errors import Damaged, Refused, Usage
from holdfast.vault.coding import decode, encode
from holdfast.vault.fields import Hash, Recipient, Strict, Title
from holdfast.vault.keys import encrypt, epoch_id, recipient_of
from holdfast.vault.names import Kind, name_for, sha256_hex

__all__ = [
    "HOLDERS_MAX",
    "Custody",
    "Piece",
    "SealedShare",
    "Share",
    "check_threshold",
    "combine",
    "is_of_this_split",
    "open_share",
    "parse_share",
    "split",
]

HOLDERS_MAX = 7


class Piece(Strict, frozen=True):
    """What one holder keeps of one split: XORed with the pieces of the others in `holders` it is the identity."""

    holders: Annotated[tuple[Title, ...], Meta(min_length=2, max_length=HOLDERS_MAX)]
    piece: bytes


class Share(Strict, frozen=True, kw_only=True, tag_field="type", tag="holdfast.share"):
    """All that one holder keeps: a piece for every set of m holders that he is in."""

    format: Literal[1] = 1
    vault: Hash
    recipient: Recipient
    holder: Title
    threshold: Annotated[int, Meta(ge=2, le=HOLDERS_MAX)]
    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        groups = [piece.holders for piece in self.pieces]
        if groups != sorted(set(groups)) or any(list(group) != sorted(set(group)) for group in groups):
            raise ValueError("its pieces are not in order")
        if any(self.holder not in group or len(group) != self.threshold for group in groups):
            raise ValueError("a piece is of a set of holders that is not as large as the threshold, or without its own")


@dataclass(frozen=True, slots=True)
class SealedShare:
    """A holder's share as it lies at the sites: an age file to him alone. `digest` is the SHA-256 of what is in it."""

    name: str
    data: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Custody:
    """What is published of a split: whose identity it is of, how many shares it takes, and each share's digest."""

    vault: str
    recipient: str
    threshold: int
    digests: Mapping[str, str]


def check_threshold(threshold: int, holders: int) -> None:
    """Raise Usage unless so many of so many can share custody: one may be lost, no one is enough alone."""
    if not 2 <= threshold < holders <= HOLDERS_MAX:
        raise Usage(
            f"{threshold} of {holders} holders can't share custody",
            hint=f"between 3 and {HOLDERS_MAX} holders, and a threshold from 2 to one less than there are: 2 of 3, "
            "3 of 5",
        )


def split(identity: str, vault: str, threshold: int, holders: Mapping[str, str]) -> dict[str, SealedShare]:
    """Each holder's share by his name; `holders` are age recipients by name. Raises Usage if they can't be so many."""
    check_threshold(threshold, len(holders))
    if len(set(holders.values())) != len(holders):
        raise Usage("two holders have the same recipient", hint="each holder makes a card of his own")
    recipient, secret = recipient_of(identity), identity.encode()
    pieces: dict[str, list[Piece]] = {name: [] for name in holders}
    for group in combinations(sorted(holders), threshold):
        made = [secrets.token_bytes(len(secret)) for _ in group[1:]]
        made.append(_xor([secret, *made]))
        for name, piece in zip(group, made, strict=True):
            pieces[name].append(Piece(group, piece))
    shares = [
        Share(vault=vault, recipient=recipient, holder=name, threshold=threshold, pieces=tuple(own))
        for name, own in pieces.items()
    ]
    custody = Custody(vault, recipient, threshold, {each.holder: sha256_hex(encode(each)) for each in shares})
    for chosen in combinations(shares, threshold):
        whole = combine(chosen, custody)
        assert whole == identity, "every threshold of shares makes the identity"
    return {each.holder: _sealed(each, holders[each.holder]) for each in shares}


def open_share(data: bytes, identity: str, *, name: str) -> Share | None:
    """The share in an age file, or None if it is not to this identity. Damaged, naming *name*, if it is none."""
    try:
        plain = bytes(pyrage.decrypt(data, [x25519.Identity.from_str(identity)]))
    except pyrage.DecryptError:
        return None
    return parse_share(plain, name=name)


def parse_share(plain: bytes, *, name: str) -> Share:
    """The share in these bytes, as `age -d` gives them. Damaged, naming *name*, if it is none."""
    return decode(Share, plain, name=name)


def is_of_this_split(share: Share, custody: Custody) -> bool:
    """Whether a share is byte for byte the one that the trust document names for its holder."""
    return custody.digests.get(share.holder) == sha256_hex(encode(share))


def combine(shares: Sequence[Share], custody: Custody) -> str:
    """The recovery identity, out of the shares of at least a threshold of holders; which of them does not matter.

    Raises Damaged, naming the holder, if a share is not the one that was published; Refused if there are too few.
    """
    for each in shares:
        if not is_of_this_split(each, custody):
            raise Damaged(
                f"the share of {each.holder} is not the one that the trust document names",
                hint="if custody was renewed since it was opened, open it again; otherwise it was altered: ask another "
                "holder",
            )
    own = {each.holder: each for each in shares}
    if len(own) < custody.threshold:
        given = ", ".join(sorted(own)) or "nobody"
        raise Refused(
            f"{len(own)} of {custody.threshold} holders are here: {given}",
            hint=f"ask more of {', '.join(sorted(set(custody.digests) - set(own)))}",
        )
    group = tuple(sorted(own)[: custody.threshold])
    found = [piece.piece for name in group for piece in own[name].pieces if piece.holders == group]
    identity = _joined(found, len(group))
    if identity is None or recipient_of(identity) != custody.recipient:
        raise Damaged(
            f"the shares of {', '.join(group)} do not make the vault's recovery identity",
            hint="who split it signed shares that do not fit; ask other holders",
        )
    return identity


def _joined(pieces: Sequence[bytes], count: int) -> str | None:
    """The identity that so many pieces make, if they make any."""
    if len(pieces) != count or len({len(each) for each in pieces}) != 1:
        return None
    try:
        return str(x25519.Identity.from_str(_xor(pieces).decode("ascii")))
    except (UnicodeDecodeError, pyrage.IdentityError):
        return None


def _xor(parts: Sequence[bytes]) -> bytes:
    return reduce(lambda one, other: bytes(a ^ b for a, b in zip(one, other, strict=True)), parts)


def _sealed(share: Share, recipient: str) -> SealedShare:
    plain = encode(share)
    data = encrypt(plain, recipient)
    return SealedShare(name_for(Kind.KEY, sha256_hex(data), group=epoch_id(share.recipient)), data, sha256_hex(plain))
