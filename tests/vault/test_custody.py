"""Shares of the recovery identity: m of n make it whole, fewer learn nothing, and a wrong share is named."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping
from itertools import combinations, product
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import Damaged, Refused, Usage
from holdfast.vault.coding import encode
from holdfast.vault.custody import Custody, Piece, SealedShare, Share, combine, open_share, parse_share, split
from holdfast.vault.keys import encrypt, new_identity, recipient_of
from holdfast.vault.names import sha256_hex

VAULT = "ab" * 32
NAMES = ("ana", "bela", "cleo", "dana", "ede", "fanni", "gabor")
CARDS = {name: new_identity() for name in NAMES}
SECRET = new_identity()
CASES = [(m, n) for n in range(3, 8) for m in range(2, n)]


def shared(threshold: int, holders: int, identity: str = SECRET) -> dict[str, SealedShare]:
    return split(identity, VAULT, threshold, {name: recipient_of(CARDS[name]) for name in NAMES[:holders]})


def opened(shares: Mapping[str, SealedShare]) -> dict[str, Share]:
    """Each holder's share, opened with his own card."""
    found = {name: open_share(sealed.data, CARDS[name], name=name) for name, sealed in shares.items()}
    return {name: share for name, share in found.items() if share is not None}


def published(shares: Mapping[str, SealedShare], threshold: int, identity: str = SECRET) -> Custody:
    digests = {name: sealed.digest for name, sealed in shares.items()}
    return Custody(VAULT, recipient_of(identity), threshold, digests)


def with_piece(share: Share, group: tuple[str, ...], piece: bytes) -> Share:
    pieces = tuple(Piece(each.holders, piece) if each.holders == group else each for each in share.pieces)
    return msgspec.structs.replace(share, pieces=pieces)


def xor(*parts: bytes) -> bytes:
    whole = 0
    for part in parts:
        whole ^= int.from_bytes(part)
    return whole.to_bytes(len(parts[0]))


@pytest.mark.parametrize(("threshold", "holders"), CASES, ids=[f"{m}-of-{n}" for m, n in CASES])
def test_any_threshold_of_holders_recovers_the_identity_and_no_fewer_can(threshold: int, holders: int) -> None:
    """Claim C9, all subsets: each of size m gives the very identity, each of size m-1 is refused, and whatever it XORs
    is none.
    """
    shares = shared(threshold, holders)
    own, custody = opened(shares), published(shares, threshold)
    assert set(own) == set(NAMES[:holders]), "each opens his own"
    for group in combinations(own.values(), threshold):
        assert combine(group, custody) == SECRET
    for group in combinations(own.values(), threshold - 1):
        with pytest.raises(Refused, match=f"{threshold - 1} of {threshold} holders"):
            combine(group, custody)
        held = [[piece.piece for piece in share.pieces] for share in group]
        # With many holders all choices are too many: one piece of each for the same set is the best attempt.
        best = [
            [piece.piece for share in group for piece in share.pieces if piece.holders == whole]
            for whole in combinations(sorted(own), threshold)
        ]
        every = product(*held) if threshold < 4 else (each for each in best if each)
        assert all(xor(*chosen) != SECRET.encode() for chosen in every)


def test_a_share_opens_to_its_holder_only() -> None:
    """Nobody but the holder whose name it bears opens a share: not another holder, not the old card."""
    shares = shared(2, 3)
    for name, sealed in shares.items():
        openers = {who for who, card in [*CARDS.items(), ("card", SECRET)] if open_share(sealed.data, card, name=name)}
        assert openers == {name}
        share = open_share(sealed.data, CARDS[name], name=name)
        assert share is not None
        assert share.holder == name
        assert all(name in piece.holders for piece in share.pieces)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_fewer_shares_than_the_threshold_fit_every_identity(data: st.DataObject) -> None:
    """What m-1 holders have rules no identity out: for any other one there is a last share that makes it."""
    threshold, holders = data.draw(st.sampled_from(CASES))
    own = opened(shared(threshold, holders))
    group = tuple(sorted(data.draw(st.permutations(sorted(own)))[:threshold]))
    last = data.draw(st.sampled_from(group))
    other = new_identity()
    held = [piece.piece for name in group if name != last for piece in own[name].pieces if piece.holders == group]
    forged = with_piece(own[last], group, xor(other.encode(), *held))
    made = [
        msgspec.structs.replace(share, recipient=recipient_of(other))
        for share in (*(own[name] for name in group if name != last), forged)
    ]
    custody = Custody(VAULT, recipient_of(other), threshold, {each.holder: sha256_hex(encode(each)) for each in made})
    assert combine(made, custody) == other


def test_every_piece_alone_is_uniformly_random() -> None:
    """No byte of a piece says anything of the identity, the last piece of a split included, which is computed."""
    counts: dict[str, Counter[int]] = {name: Counter() for name in NAMES[:3]}
    rounds = 60
    for _ in range(rounds):
        for name, share in opened(shared(2, 3)).items():
            for piece in share.pieces:
                counts[name].update(piece.piece)
    for name, counted in counts.items():
        expected = rounds * 2 * len(SECRET) / 256
        # Seven standard deviations: once in 10^9 runs. Of the text itself no byte is above 127.
        assert all(abs(counted[byte] - expected) < 7 * expected**0.5 for byte in range(256)), name


def test_an_altered_share_is_named_and_gives_no_identity() -> None:
    """Every holder's share altered in turn, in any field: his name is told, and nothing comes out."""
    shares = shared(2, 3)
    own, custody = opened(shares), published(shares, 2)
    for name in own:
        first = own[name].pieces[0]
        for wrong in (
            with_piece(own[name], first.holders, bytes([first.piece[0] ^ 1]) + first.piece[1:]),
            msgspec.structs.replace(own[name], recipient=recipient_of(new_identity())),
            msgspec.structs.replace(own[name], pieces=own[name].pieces[:1]),
        ):
            with pytest.raises(Damaged, match=f"the share of {name} is not the one"):
                combine([wrong, *(own[each] for each in own if each != name)], custody)


def test_shares_of_another_split_of_the_same_identity_do_not_mix() -> None:
    """After custody was renewed an old share is named, never combined with a new one."""
    old, shares = shared(2, 3), shared(2, 3)
    with pytest.raises(Damaged, match="the share of bela is not the one"):
        combine([opened(shares)["ana"], opened(old)["bela"]], published(shares, 2))


def test_shares_that_were_published_wrong_give_no_wrong_identity() -> None:
    """Even if the trust document itself names shares that do not fit, what comes out is the vault's or nothing."""
    other = new_identity()
    shares = shared(2, 3, other)
    custody = Custody(VAULT, recipient_of(SECRET), 2, {name: each.digest for name, each in shares.items()})
    with pytest.raises(Damaged, match="do not make the vault's recovery identity"):
        combine(list(opened(shares).values())[:2], custody)


def test_one_holder_counts_once() -> None:
    """The same share given twice is one holder."""
    shares = shared(2, 3)
    ana = opened(shares)["ana"]
    with pytest.raises(Refused, match="1 of 2 holders are here: ana"):
        combine([ana, ana], published(shares, 2))


@pytest.mark.parametrize(("threshold", "holders"), [(1, 3), (0, 3), (3, 3), (2, 2), (4, 3), (2, 8)])
def test_a_threshold_that_protects_nothing_is_refused(threshold: int, holders: int) -> None:
    """One alone must not be enough, one must be free to be lost, and there are at most seven."""
    cards = {f"holder {number}": recipient_of(new_identity()) for number in range(holders)}
    with pytest.raises(Usage) as raised:
        split(SECRET, VAULT, threshold, cards)
    assert raised.value.hint


def test_one_person_under_two_names_is_refused() -> None:
    """Two names with one recipient would be one person with two votes."""
    cards = {"ana": recipient_of(CARDS["ana"]), "bela": recipient_of(CARDS["ana"]), "cleo": recipient_of(CARDS["cleo"])}
    with pytest.raises(Usage, match="same recipient"):
        split(SECRET, VAULT, 2, cards)


def test_no_changed_byte_of_a_sealed_share_gives_another_share() -> None:
    """age refuses every changed byte; a stanza that is not ours may change without harm."""
    sealed = shared(2, 3)["ana"]
    right = open_share(sealed.data, CARDS["ana"], name="ana")
    for at in range(len(sealed.data)):
        data = sealed.data[:at] + bytes([sealed.data[at] ^ 1]) + sealed.data[at + 1 :]
        assert open_share(data, CARDS["ana"], name="ana") in (None, right)


def test_what_is_no_share_is_damaged() -> None:
    """Anyone can encrypt to a holder; what opens and is no share is named."""
    with pytest.raises(Damaged, match="keys/x"):
        open_share(encrypt(b"{}", recipient_of(CARDS["ana"])), CARDS["ana"], name="keys/x")


def test_the_age_tool_opens_a_share(tmp_path: Path) -> None:
    """No code of ours is needed: `age -d` gives the same canonical JSON that this page reads."""
    shares = shared(3, 5)
    found = []
    for name in ("bela", "dana", "ede"):
        (tmp_path / "card").write_text(f"# a card\n{CARDS[name]}\n")
        (tmp_path / "share").write_bytes(shares[name].data)
        command = ["age", "-d", "-i", str(tmp_path / "card"), str(tmp_path / "share")]
        plain = subprocess.run(command, check=True, capture_output=True).stdout
        found.append(parse_share(plain, name=name))
    assert combine(found, published(shares, 3)) == SECRET
