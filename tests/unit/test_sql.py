"""Quoting: whatever a name or a text holds, it stays one token."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import scram
from pooler.errors import PoolerError
from pooler.sql import dollar, identifier, literal, masked

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def unquoted(quoted: str, mark: str) -> str:
    """What PostgreSQL's lexer makes of a quoted token; fails when the token ends before its last character."""
    assert quoted[0] == quoted[-1] == mark
    inside = quoted[1:-1].replace(mark * 2, "\0")
    assert mark not in inside
    return inside.replace("\0", mark)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15))
def test_an_identifier_is_one_token_that_means_the_name(name: str) -> None:
    assert unquoted(identifier(name), '"') == name


@given(TEXTS)
def test_a_literal_is_one_token_that_means_the_text(text: str) -> None:
    quoted = literal(text)
    if quoted.startswith(" E"):
        # Pairs of backslashes only: then no single one can take the closing quote with it.
        assert "\\" not in quoted.replace("\\\\", "")
        quoted = quoted[2:].replace("\\\\", "\\")
    else:
        assert "\\" not in text
    assert unquoted(quoted, "'") == text


@given(TEXTS | st.sampled_from(["$body$", "x$body", "$body_$ $body$", "$", "$body$body"]))
def test_a_dollar_quote_ends_where_the_text_ends(text: str) -> None:
    quoted = dollar(text)
    tag = quoted[: quoted.index("$", 1) + 1]
    assert quoted == f"{tag}{text}{tag}"
    assert quoted.index(tag, len(tag)) == len(tag) + len(text)


def test_a_name_of_63_bytes_is_taken_and_one_of_64_refused_as_postgresql_would_cut_it() -> None:
    assert identifier("é" * 31 + "x") == '"' + "é" * 31 + 'x"'
    with pytest.raises(PoolerError, match="has 64 bytes; PostgreSQL keeps 63"):
        identifier("é" * 32)


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_name_that_postgresql_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(PoolerError, match="a name in the database"):
        identifier(name)


@pytest.mark.parametrize("secret", ["s3cret\0", "s3cret\udfff"])
def test_a_refused_text_is_not_told(secret: str) -> None:
    for quote in (literal, dollar):
        with pytest.raises(PoolerError) as caught:
            quote(secret)
        assert "s3cret" not in str(caught.value)


def test_masked_statements_show_no_verifier_and_all_else() -> None:
    verifier = scram.verifier("correct horse")
    statement = f'ALTER ROLE "a" PASSWORD {literal(verifier)};'
    assert masked(statement) == "ALTER ROLE \"a\" PASSWORD 'SCRAM-SHA-256$********';"
