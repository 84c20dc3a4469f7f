"""Verifiers of many passwords: each is derived once if that is enough, on all cores, with word of how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from . import scram

Tell = Callable[[str], None]
"""Hears how far a long work is, in words."""

CHUNK = 1000
"""So many derivations are a second or two of work, after which somebody who waits wants to hear something."""


def silent(_words: str) -> None:
    """For those who want no word."""


def verifiers(
    passwords: Mapping[str, str], known: Sequence[Mapping[str, str]] = (), tell: Tell = silent
) -> dict[str, str]:
    """By name: the first known verifier that verifies the password, or a new one.

    A known verifier costs one derivation when it still fits, and so does a new one when none is known. Raises
    InvalidError for what cannot be a password.
    """
    names, found = list(passwords), dict[str, str]()
    with ThreadPoolExecutor() as threads:  # hashlib derives without holding the interpreter
        for start in range(0, len(names), CHUNK):
            some = names[start : start + CHUNK]
            made = threads.map(lambda name: _verifier(passwords[name], _known(name, known)), some)
            found |= zip(some, made, strict=True)
            if len(names) > CHUNK:
                tell(f"{len(found)} of {len(names)} passwords have their verifiers")
    return found


def _known(name: str, known: Iterable[Mapping[str, str]]) -> list[str]:
    """Each text once: PostgreSQL and the userlist mostly have the very same."""
    texts = dict.fromkeys(each[name] for each in known if name in each)
    return [text for text in texts if scram.is_verifier(text)]


def _verifier(password: str, known: Iterable[str]) -> str:
    return next((each for each in known if scram.verifies(each, password)), None) or scram.verifier(password)
