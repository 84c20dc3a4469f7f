"""userlist.txt: what is rendered reads back the same; nothing that would lock users out is written or taken."""

from __future__ import annotations

import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import scram, userlist
from pooler.errors import InvalidError

LINE = st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])
NAMES = st.text(LINE, min_size=1, max_size=40).filter(
    lambda name: len(name.replace('"', '""').encode()) <= userlist.NAME_BYTES
)
SECRETS = st.text(LINE, max_size=60)


def refused(text: str) -> str:
    with pytest.raises(InvalidError) as caught:
        userlist.parse(text, name="u")
    return str(caught.value)


@given(st.dictionaries(NAMES, SECRETS, max_size=6))
def test_rendered_file_reads_back_the_same(entries: dict[str, str]) -> None:
    assert userlist.parse(userlist.render(entries)) == entries


@given(st.dictionaries(NAMES, SECRETS, max_size=6))
def test_rendering_does_not_depend_on_order(entries: dict[str, str]) -> None:
    assert userlist.render(entries) == userlist.render(dict(reversed(entries.items())))


@given(st.text(st.sampled_from('"" ab;#\n\t\r\\é'), max_size=40))
def test_what_is_read_can_be_written_and_means_the_same(text: str) -> None:
    try:
        entries = userlist.parse(text)
    except InvalidError:
        return
    assert userlist.parse(userlist.render(entries)) == entries


def test_file_is_the_engines() -> None:
    verifier = scram.verifier(secrets.token_urlsafe(), iterations=1)

    assert userlist.render({"b": verifier, 'a"\\;': ""}) == f'"a""\\;" ""\n"b" "{verifier}"\n'


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ('"a" "b"', {"a": "b"}),
        ('\n  "a"\t"b" "ignored" rest\r\n', {"a": "b"}),
        ('; "x" "y"\n"a" "b"\n', {"a": "b"}),
        ('"a" "b"\n"a" "c"\n', {"a": "c"}),
        ('"a""x" "b\\""n"', {'a"x': 'b\\"n'}),
        ('"a" md5 "b"', {"a": "b"}),
        ('"a" ""', {"a": ""}),
        ("", {}),
    ],
)
def test_text_means_what_the_engine_means(text: str, meant: dict[str, str]) -> None:
    assert userlist.parse(text) == meant


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"a" "b"\n# more\n"c" "d"\n', "u:2: the engine reads no further"),
        ("a b\n", "u:1: no name in double quotes"),
        ('"a\n', "u:1: no name"),
        ('"a"\n"b" "c"\n', "u:1: no secret"),
        ('"a" "b\nc"\n', "u:1: no secret"),
        ('"a""b"\n', "u:1: no secret"),
        ('"a" "b""', "u:1: no secret"),
        ('"" "b"\n', "u:1: the name is empty"),
        ('"a" "b\0"\n', "NUL"),
        ('"' + "n" * 128 + '" "s"', "u:1: the name has 128 bytes (at most 127"),
        ('"' + '""' * 64 + '" "s"', "128 bytes"),
        ('"a" "' + "s" * 2048 + '"', "u:1: the secret has 2048 bytes (at most 2047"),
    ],
)
def test_what_would_lock_users_out_is_refused_with_its_line(text: str, said: str) -> None:
    assert said in refused(text)


@pytest.mark.parametrize(
    ("name", "secret", "said"),
    [
        ("", "s", "name is empty"),
        ("a\nb", "s", "line break"),
        ("a", "s\r", "line break"),
        ("a", "s\0", "NUL"),
        ("n" * 128, "s", "128 bytes"),
        ("é" * 64, "s", "128 bytes"),
        ('"' * 64, "s", "128 bytes"),
        ("a", "é" * 1024, "2048 bytes"),
    ],
)
def test_what_the_file_cannot_say_is_refused(name: str, secret: str, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        userlist.render({name: secret})
    assert said in str(caught.value)


def test_longest_name_and_secret_are_written() -> None:
    entries = {"n" * 127: "s" * 2047, "q": '"' * 1000}

    assert userlist.parse(userlist.render(entries)) == entries


def test_secret_is_not_told() -> None:
    secret = secrets.token_urlsafe()

    with pytest.raises(InvalidError) as caught:
        userlist.render({"a": f"{secret}\n"})
    assert secret not in str(caught.value)
    assert secret not in refused(f'"a" "{secret}\n')
    assert secret not in refused(f'"{"n" * 128}" "{secret}"')
