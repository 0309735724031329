"""Passwords: argon2id with the parameters of RFC 9106 for machines with little memory (64 MiB, three passes)."""

import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from catalog.errors import InvalidInputError

SHORTEST = 12  # characters; NIST SP 800-63B asks for 8 beside a limit of attempts
LONGEST = 128  # characters; more would only cost time

_hasher = PasswordHasher()
# Each check takes 64 MiB: strangers must not be able to use up the memory with many at once.
_turn = threading.BoundedSemaphore(2)


def hashed(password: str) -> str:
    """Return the hash of a new password, with its parameters and a random salt.

    Raises:
        InvalidInputError: the password is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise InvalidInputError(f"the password has {len(password)} characters, expected {SHORTEST} to {LONGEST}")
    with _turn:
        return _hasher.hash(password)


def matches(password: str, stored: str | None) -> bool:
    """Return whether the password is the stored one; without one the answer takes as long, and is no."""
    with _turn:
        try:
            _hasher.verify(stored or _hash_of_nobody(), password[: LONGEST + 1])
        except VerifyMismatchError:
            return False
    return stored is not None


@cache
def _hash_of_nobody() -> str:
    return _hasher.hash("the password of a user who does not exist")
