"""Tokens that people type: made by chance, shown once, kept as a scrypt hash."""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from holdfast.errors import Damaged

__all__ = ["kept", "new_secret", "opens"]

_SALT_BYTES = 16
_HASH_BYTES = 32
_COST, _BLOCK, _PARALLEL = 2**15, 8, 1  # 32 MiB and some 80 ms for each try
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # no two look alike
_GROUPS, _GROUP = 5, 5  # 31^25: 123 bits


def new_secret() -> str:
    """A new secret, in groups that can be read out."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))


def kept(secret: str) -> str:
    """What is kept of a secret, with all that is needed to try another."""
    salt = secrets.token_bytes(_SALT_BYTES)
    hashed = Scrypt(salt=salt, length=_HASH_BYTES, n=_COST, r=_BLOCK, p=_PARALLEL).derive(secret.encode())
    return f"scrypt:{_COST}:{_BLOCK}:{_PARALLEL}:{salt.hex()}:{hashed.hex()}"


def opens(secret: str, hashed: str) -> bool:
    """Is it the secret of which that was kept? Raises Damaged if that is no such hash."""
    try:
        name, cost, block, parallel, salt, digest = hashed.split(":")
        if name != "scrypt":
            raise ValueError(name)
        kdf = Scrypt(salt=bytes.fromhex(salt), length=_HASH_BYTES, n=int(cost), r=int(block), p=int(parallel))
        kdf.verify(secret.encode(), bytes.fromhex(digest))
    except InvalidKey:
        return False
    except ValueError as err:
        raise Damaged("what is kept of a token is no hash of one", hint="holdfast gateway staff remove NAME") from err
    return True
