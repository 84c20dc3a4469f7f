"""Adoption against PgBouncer itself: over the corpus, what it shows is as it was but for what the report tells."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pooler import bundle, scram, settings, values
from pooler.adoption import compare, installation, translate
from pooler.adoption.compare import Difference
from pooler.adoption.installation import Installation, Text
from pooler.adoption.translate import Translation
from tests.engine import foreign, trial

CORPUS = Path(__file__).parents[1] / "corpus"
CASES = sorted(path.name for path in CORPUS.iterdir())

_COLUMNS = {
    "database": "dbname",
    "force_user": "user",
    "host": "host",
    "load_balance_hosts": "load_balance_hosts",
    "max_client_connections": "max_db_client_connections",
    "max_connections": "max_db_connections",
    "max_user_client_connections": "max_user_client_connections",
    "max_user_connections": "max_user_connections",
    "min_pool_size": "min_pool_size",
    "pool_mode": "pool_mode",
    "pool_size": "pool_size",
    "port": "port",
    "reserve_pool_size": "reserve_pool_size",
    "server_lifetime": "server_lifetime",
}
"""What SHOW DATABASES and SHOW USERS call what the file calls otherwise."""


LOST = {
    "any-user": {"auth_type"},
    "auth-query-in-one-database": {"server_tls_sslmode"},
    "auth-query-over-a-unix-socket": {"databases.app.host"},
    "debian-default": {"users.app"},
    "django": {"databases.django.user"},
    "out-of-range": {"min_pool_size", "sbuf_loopcnt"},
    "peers-on-other-hosts": {"peers.1", "peers.2"},
    "rails": {"users.rails"},
    "server-by-unix-socket": {"databases.app.host", "databases.local.host"},
    "tls-old": {"users.app"},
    "unix-socket-only": {"databases.app.host"},
    "users-with-settings": {"users.batch"},
}
"""What of the corpus is not adopted without a hand."""


@pytest.fixture(scope="module")
def tls() -> Mapping[str, bytes]:
    return foreign.leaf()


def test_corpus_is_large_and_of_differing_files() -> None:
    assert len({(CORPUS / name / "pgbouncer.ini").read_text() for name in CASES}) >= 40


@pytest.mark.parametrize("name", CASES)
def test_adopted_installation_is_what_it_was_but_for_what_is_told(name: str, tls: Mapping[str, bytes]) -> None:
    files = _with_secrets(CORPUS / name)
    old = _read(files)
    new = translate.translate(old)
    told = compare.differences(old, new)

    before = foreign.shown(files, "pgbouncer.ini", tls)
    after = foreign.shown(*_rendered(new), tls)

    seen = [each for each in told if (each.before, each.after) != (None, None)]
    general = {each.place for each in seen if "." not in each.place}
    assert _config(before, after) == general
    for section in ("databases", "users"):
        of_entries = {place for place in _entries(section, before, after) if place.rpartition(".")[2] not in general}
        assert of_entries == _told(section, seen)
    assert {each.place for each in told if each.reason.fate == "lost"} == LOST.get(name, set())


def _with_secrets(case: Path) -> dict[str, str]:
    """The files of a case, with secrets of this run."""
    made: Mapping[str, Callable[[], str]] = {
        "@password@": lambda: secrets.token_hex(12),
        "@md5@": lambda: "md5" + hashlib.md5(secrets.token_bytes(8)).hexdigest(),
        "@verifier@": lambda: scram.verifier(secrets.token_hex(12), iterations=4096),
    }
    files = {}
    for path in case.iterdir():
        text = path.read_text()
        for mark, make in made.items():
            while mark in text:
                text = text.replace(mark, make(), 1)
        files[path.name] = text
    return files


def _read(files: Mapping[str, str]) -> Installation:
    users, rules = (Text(name, files[name]) if name in files else None for name in ("userlist.txt", "pg_hba.conf"))
    return installation.read(
        Text("pgbouncer.ini", files["pgbouncer.ini"]),
        users,
        rules,
        trial.version(),
        lambda path: files[Path(path).name],
    )


def _rendered(new: Translation) -> tuple[dict[str, str], str]:
    """The files of a host below /etc/pgbouncer, and which one is the instance's."""
    leaves = [f"{new.pooler.tls_directory}/{side}/current" for side in ("server", "client")]
    made = bundle.build(new.pooler, bundle.Facts(new.pooler.server, leaves[0], leaves[1]))
    files = {
        file.path.removeprefix(f"{bundle.CONFIGURATION}/"): file.content.decode()
        for file in (*made.release_files, made.databases)
    }
    return files, f"releases/{made.release}/{new.pooler.consoles[new.instance]}.ini"


def _config(before: Mapping[str, foreign.Rows], after: Mapping[str, foreign.Rows]) -> set[str]:
    """The settings that the engine shows otherwise; blanks in a list are no difference, nor is where the file lies."""
    old, new = ({str(row["key"]): row["value"] or "" for row in each["CONFIG"]} for each in (before, after))
    return {name for name in old if name != "conffile" and not _same(name, old[name], new[name])}


def _same(name: str, old: str, new: str) -> bool:
    kind = settings.get("pgbouncer", name).kind
    if kind in {"list", "hosts"}:
        return values.items(old) == values.items(new)
    return bool(int(old)) == bool(int(new)) if kind == "boolean" else old == new


def _entries(section: str, before: Mapping[str, foreign.Rows], after: Mapping[str, foreign.Rows]) -> set[str]:
    """`section.name` of those that only one engine shows, `section.name.key` of what it shows otherwise."""
    old, new = ({str(row["name"]): row for row in each[section.upper()]} for each in (before, after))
    return {f"{section}.{name}" for name in old.keys() ^ new.keys()} | {
        f"{section}.{name}.{key}"
        for name in old.keys() & new.keys()
        for column, key in _COLUMNS.items()
        if column in old[name] and old[name][column] != new[name][column]
    }


def _told(section: str, seen: list[Difference]) -> set[str]:
    """What the engine shows of it: neither secrets nor the entry for all databases, and a user pgbouncer always."""
    hidden = ("password", "auth_user", "auth_query", "auth_dbname")
    return {
        each.place
        for each in seen
        if each.place.startswith(f"{section}.")
        and not each.place.startswith("databases.*")
        and each.place != "users.pgbouncer"
        and each.place.rpartition(".")[2] not in hidden
    }
