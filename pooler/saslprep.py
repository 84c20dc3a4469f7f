"""Passwords made comparable, the way PostgreSQL does it.

PostgreSQL follows RFC 4013 with three habits of its own, and a verifier must follow PostgreSQL, not the RFC:
pure ASCII is never looked at; the checks for prohibited and right-to-left characters run on the characters before
normalization; and a password that fails a check is used as it is, byte for byte, instead of being refused.
"""

from __future__ import annotations

import stringprep
import unicodedata

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,  # code points that Unicode 3.2 had not assigned
)


def prepared(password: str) -> bytes:
    """The bytes that PostgreSQL and libpq hash for `password`: UTF-8, surrogate escapes for bytes that are not."""
    raw = password.encode("utf-8", "surrogateescape")
    if password.isascii():
        return raw
    mapped = "".join(_mapped(character) for character in password)
    if not mapped or any(prohibited(character) for character in mapped for prohibited in _PROHIBITED):
        return raw
    if not _directions_agree(mapped):
        return raw
    return unicodedata.normalize("NFKC", mapped).encode("utf-8")


def _mapped(character: str) -> str:
    """RFC 3454 step 1: odd spaces become a space (first, so that U+200B is one), invisible characters vanish."""
    if stringprep.in_table_c12(character):
        return " "
    return "" if stringprep.in_table_b1(character) else character


def _directions_agree(text: str) -> bool:
    """RFC 3454 section 6: right-to-left text holds no left-to-right character and starts and ends right-to-left."""
    right_to_left = stringprep.in_table_d1
    if not any(right_to_left(character) for character in text):
        return True
    if any(stringprep.in_table_d2(character) for character in text):
        return False
    return right_to_left(text[0]) and right_to_left(text[-1])
