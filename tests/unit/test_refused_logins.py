"""Logins that the engine has refused, as the journal's lines tell of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from pooler.agent.logins import REASONS, Logins, Reason, reason

_BEGIN = "2026-11-21 15:08:22.811 UTC [1] WARNING C-0x564c484abd10: "


def line(why: str, who: str = "app/alice@10.0.0.9:38958") -> str:
    return f"{_BEGIN}{who} pooler error: {why}"


def entry(message: str | list[int], unit: str = "pgbouncer@50001.service") -> bytes:
    """As journalctl prints it."""
    return json.dumps({"MESSAGE": message, "_SYSTEMD_UNIT": unit, "__CURSOR": "s=1"}).encode() + b"\n"


@pytest.mark.parametrize(
    ("why", "expected"),
    [
        ("SASL authentication failed", "password"),
        ("certificate authentication failed", "certificate"),
        ("login rejected", "rule"),
        ("SSL required", "plain"),
        ("no more connections allowed (max_client_conn)", "limit"),
        ("client_login_timeout (server down)", "timeout"),
        ('database "app" is disabled', "database"),
        ("query_wait_timeout", None),
        ('password authentication failed for user "chief"', None),
        ("server conn crashed?", None),
    ],
)
def test_the_engines_words_are_a_reason_or_none_where_a_client_was_in(why: str, expected: Reason | None) -> None:
    assert reason(line(why)) == expected


def test_a_stranger_and_a_database_that_is_none_are_told_from_a_wrong_password() -> None:
    assert reason(line("SASL authentication failed", "app/pg_no_such_user@10.0.0.9:1")) == "user"
    assert reason(line("SASL authentication failed", "(nodb)/alice@10.0.0.9:1")) == "database"


@pytest.mark.parametrize(
    "name", ["x pooler error: SSL required", f"x\n\t{line('SSL required')}", "x pooler error: login rejected@1:1"]
)
def test_whoever_names_himself_like_a_line_of_the_log_is_counted_once_and_rightly(name: str) -> None:
    """The journal cuts at the newline, and the engine writes a tab after it."""
    whole = line("SASL authentication failed", f"app/{name}@10.0.0.9:1")
    assert [reason(each) for each in whole.split("\n") if reason(each)] in (["password"], [])


def test_lines_are_counted_by_instance_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    lines = [
        entry(line("SASL authentication failed")),
        entry(line("login rejected"), "pgbouncer@50002.service"),
        entry(list(line("SASL authentication failed", "app/\xe9@1:1").encode("latin-1"))),
        entry(list(line("SSL required", "app/\xff@1:1").encode("latin-1"))),
        entry(line("SSL required"), "pgbouncer@50009.service"),
        entry(line("SSL required"), "sshd.service"),
        b"no JSON\n",
        b'["MESSAGE"]\n',
    ]
    found = asyncio.run(_told(tmp_path / "logins", lines))
    assert found == {(50001, "password"): 2, (50001, "plain"): 1, (50002, "rule"): 1}
    assert {why for _console, why in found} <= set(REASONS)


async def _told(path: Path, lines: Sequence[bytes]) -> Counter[tuple[int, Reason]]:
    """What an agent has counted when somebody has told it these lines."""
    done = asyncio.Event()

    async def tell(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(lines))
        writer.close()
        await writer.wait_closed()
        done.set()

    server = await asyncio.start_unix_server(tell, path)
    logins = Logins((50001, 50002), str(path))
    running = asyncio.create_task(logins.run())
    async with asyncio.timeout(30):
        await done.wait()
        while not logins.trouble:
            await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    server.close()
    assert logins.heard
    return logins.refused


def test_where_nobody_tells_of_them_nothing_is_missing(tmp_path: Path) -> None:
    async def once() -> Logins:
        logins = Logins((50001,), str(tmp_path / "none"))
        running = asyncio.create_task(logins.run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        return logins

    logins = asyncio.run(once())
    assert (logins.heard, logins.trouble) == (False, "")
