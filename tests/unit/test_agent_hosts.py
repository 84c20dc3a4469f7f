"""The hosts file: what the agent changes in it, and what it leaves."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.agent import hosts
from pooler.agent.hosts import HostsFile
from pooler.errors import PoolerError
from pooler.ini import render_databases
from pooler.server import Server

NAMES = st.sampled_from(["app", "shop", "*", "pgbouncer_auth", "a.b-c"])
ENTRIES = st.dictionaries(
    NAMES,
    st.fixed_dictionaries(
        {"dbname": st.sampled_from(["app", "o'clock"])},
        optional={
            "host": st.sampled_from(["a", "a,b", "10.0.0.1"]),
            "port": st.just("5433"),
            "pool_size": st.just("7"),
        },
    ),
)
POINTERS = st.dictionaries(NAMES, st.builds(Server, st.sampled_from(["a", "b", "c,d"]), st.sampled_from([5432, 5433])))


@given(ENTRIES, POINTERS)
def test_only_host_and_port_of_entries_that_it_points_change(
    entries: dict[str, dict[str, str]], pointers: dict[str, Server]
) -> None:
    before = hosts.parse(render_databases(entries))
    after = hosts.parse(hosts.repointed(before, pointers))
    assert after.databases.keys() == entries.keys()
    assert not after.astray(pointers)
    for name, entry in entries.items():
        kept = {key: value for key, value in after.databases[name].items() if key not in ("host", "port")}
        assert kept == {key: value for key, value in entry.items() if key not in ("host", "port")}
        assert after.where(name) == (pointers[name] if name in pointers else before.where(name))


def test_what_points_right_is_not_written(tmp_path: Path) -> None:
    path = write(tmp_path, {"app": {"host": "a", "port": "5432"}})
    before = path.stat().st_ino
    assert not HostsFile(str(tmp_path)).point({"app": Server("a"), "gone": Server("b")})
    assert path.stat().st_ino == before


def test_the_file_is_another_one_with_the_same_mode_and_no_leftovers(tmp_path: Path) -> None:
    path = write(tmp_path, {"app": {"host": "a"}, "fixed": {"host": "x"}})
    path.chmod(0o640)
    file = HostsFile(str(tmp_path))
    before = path.stat().st_ino
    assert file.point({"app": Server("b", 5433)})
    assert path.stat().st_ino != before
    assert path.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in tmp_path.iterdir()] == ["databases.ini"]
    assert file.read().where("app") == Server("b", 5433)
    assert file.read().where("fixed") == Server("x")


@pytest.mark.parametrize("text", ["[databases]\napp = host='a\n", "\ufeff[databases]\n"])
def test_a_file_that_cannot_be_read_is_named_and_stays(tmp_path: Path, text: str) -> None:
    path = tmp_path / "databases.ini"
    path.write_text(text)
    with pytest.raises(PoolerError, match=r"databases\.ini"):
        HostsFile(str(tmp_path)).point({"app": Server("b")})
    assert path.read_text() == text


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PoolerError, match=r"databases\.ini: No such file"):
        HostsFile(str(tmp_path)).read()


def test_who_owns_the_file_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path, {})
    order: list[str] = []

    async def mine(freed: asyncio.Event) -> None:
        async with HostsFile(str(tmp_path)).owned():
            order.append("mine" if freed.is_set() else "too early")

    async def main() -> None:
        freed = asyncio.Event()
        handle = os.open(tmp_path, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        task = asyncio.create_task(mine(freed))
        for _ in range(5):
            await asyncio.sleep(0)
        freed.set()
        os.close(handle)
        await task

    asyncio.run(main())
    assert order == ["mine"]


def test_nobody_else_owns_it_meanwhile(tmp_path: Path) -> None:
    write(tmp_path, {})

    async def main() -> None:
        async with HostsFile(str(tmp_path)).owned():
            handle = os.open(tmp_path, os.O_RDONLY)
            try:
                with pytest.raises(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            finally:
                os.close(handle)

    asyncio.run(main())


def write(directory: Path, entries: dict[str, dict[str, str]]) -> Path:
    path = directory / "databases.ini"
    path.write_text(render_databases(entries))
    return path
