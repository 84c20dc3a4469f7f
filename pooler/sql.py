"""Quoting for PostgreSQL, so that no name and no secret can end what encloses it.

All results are right with standard_conforming_strings on and off, and hold the text as it is: send them as UTF-8 with
client_encoding UTF8 (psql in a pipe takes the database's encoding, asyncpg and psycopg send UTF8).
Source: PostgreSQL manual, 4.1 "Lexical Structure".
"""

from __future__ import annotations

import re

from .errors import PoolerError

NAME_BYTES = 63
"""NAMEDATALEN - 1: PostgreSQL cuts longer names without an error, so that two of them could become one."""

_VERIFIER = re.compile(r"SCRAM-SHA-256\$[0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+")
_SEED = re.compile(r"(?<='seed:)[0-9a-f]{32}(?=')")


def identifier(name: str) -> str:
    """`name` as a quoted identifier. Raises PoolerError when PostgreSQL could not hold just this name."""
    if not name:
        raise PoolerError("a name in the database cannot be empty: give it at least one character")
    size = len(_checked(name, "a name in the database"))
    if size > NAME_BYTES:
        raise PoolerError(f"the name {name!r} has {size} bytes; PostgreSQL keeps {NAME_BYTES}: shorten it")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """`text` as a string constant. Raises PoolerError for what PostgreSQL cannot store; the text is not told."""
    _checked(text, "a text for the database")
    quoted = text.replace("'", "''")
    if "\\" in text:
        # An escape string means the same under both values of standard_conforming_strings; the leading space keeps
        # the E from joining a word that stands before it.
        return " E'" + quoted.replace("\\", "\\\\") + "'"
    return f"'{quoted}'"


def dollar(text: str, tag: str = "body") -> str:
    """`text` as a dollar-quoted constant, readable whatever it quotes; `tag` is lengthened until `text` lacks it."""
    _checked(text, "a text for the database")
    # The end of the text could join the closing tag ("…$body" before "$body$"), so both are looked at as one.
    while f"{text}${tag}$".index(f"${tag}$") != len(text):
        tag += "_"
    return f"${tag}${text}${tag}$"


def masked(statements: str) -> str:
    """`statements` for the eyes of people: every SCRAM verifier in them is replaced, and the seed of decoys."""
    return _SEED.sub("********", _VERIFIER.sub("SCRAM-SHA-256$********", statements))


def _checked(text: str, what: str) -> bytes:
    if "\0" in text:
        raise PoolerError(f"{what} holds a NUL character, which PostgreSQL cannot store: take it out")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise PoolerError(f"{what} holds a lone surrogate, which UTF-8 cannot write: take it out") from None
