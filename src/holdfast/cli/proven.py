"""What a restore and a drill were proven to be, in words. Says no more than was compared, and against what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from holdfast.cli.output import amount, plural

if TYPE_CHECKING:
    from holdfast.operations.proof import Proof

__all__ = ["drilled", "drilled_lines", "restored_lines"]


def restored_lines(proofs: Sequence[Proof]) -> Iterator[str]:
    """After a restore: how many came out equal, to what, and what became of the others."""
    yield _proven(proofs)
    for proof in proofs:
        if proof.tally is not None and not proof.is_equal:
            tally = proof.tally
            verdict = "all records are back" if proof.is_back else "NOT AS IT WAS"
            verdict = "as far as it can be made" if proof.is_as_can_be else verdict
            yield (
                f"  {proof.name}: {verdict}: {amount(tally.added)} newer kept, {amount(tally.missing)} missing, "
                f"{amount(tally.changed)} changed"
            )


def drilled(proofs: Sequence[Proof]) -> str:
    """Whether all is equal; where only definitions are not, that every record is."""
    from holdfast.core.records import is_definition

    differing = [proof.name for proof in proofs if not proof.is_as_wanted]
    if not differing:
        but = ", but for what can't be made" if any(proof.is_as_can_be for proof in proofs) else ""
        return f"proven equal by fingerprint{but}"
    if all(map(is_definition, differing)):
        return "NOT EQUAL in definitions; every record proven equal by fingerprint"
    return "NOT EQUAL"


def drilled_lines(proofs: Sequence[Proof]) -> Iterator[str]:
    """After a drill: how each that is not equal differs."""
    for proof in proofs:
        if proof.tally is not None and not proof.is_equal:
            tally = proof.tally
            if proof.has_gone_on:
                counters = plural(tally.changed, "counter")
                yield f"  {proof.name}: {counters} moved on past the records followed since the last snapshot"
                continue
            counts = f"{amount(tally.missing)} missing, {amount(tally.changed)} changed, {amount(tally.added)} added"
            yield f"  {proof.name}: fingerprints differ: {counts}"


def _proven(proofs: Sequence[Proof]) -> str:
    """How many of them came out equal, and to what: nothing is signed of an instant, nor of some records alone."""
    from holdfast.operations.proof import Basis

    equal, total = sum(proof.is_equal for proof in proofs), len(proofs)
    all_of_them = f"all {plural(total, 'collection')}" if total != 1 else "the collection"
    who = f"proven: {all_of_them}" if equal == total else f"{equal} of {plural(total, 'collection')}"
    has, s = ("has", "") if equal == total == 1 else ("have", "s")
    if any(proof.basis is Basis.RECORDS for proof in proofs):
        return f"{who} {has} the chosen records as the vault holds them, compared one by one"
    unsigned = sum(proof.basis is Basis.INSTANT for proof in proofs)
    if not unsigned:
        return f"{who} {has} the fingerprint{s} that the commit signed"
    of_them = f"for {amount(unsigned)} of them" if unsigned < total else "for an instant"
    return f"{who} {has} the fingerprint{s} of the vault's records; {of_them} nothing is signed"
