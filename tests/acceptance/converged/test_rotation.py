"""Two logins that act as one role take turns; nobody is withdrawn who is used, and no password stays behind."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.acceptance import clients
from tests.acceptance.playbook import Run, run, site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import DATABASE, POOLER, Scenario
from tests.secret_search import search

Play = Callable[..., Run]


@pytest.fixture
def play(lab: Scenario, tmp_path: Path) -> Iterator[Play]:
    """The playbook, with logins and their passwords, and the names of those that go."""

    def rotate(logins: dict[str, str], *goes: str) -> Run:
        given = tmp_path / "variables.yml"
        given.touch(mode=0o600)
        listed = [{"name": name, "password": password} for name, password in logins.items()]
        variables = {
            "postgresql_users": [
                *(entry | {"acts_as": "app"} for entry in listed),
                *({"name": name, "login": False} for name in goes),
            ],
            "pgbouncer_users": [*lab.variables["pgbouncer_users"], *listed],
        }
        given.write_text(yaml.safe_dump(variables, allow_unicode=True))
        return run(lab, "pgfleet.pooler.rotate_passwords", "--diff", f"--extra-vars=@{given}")

    yield rotate
    assert site(lab).status == 0


def test_logins_take_turns_and_nobody_is_withdrawn_who_is_used(lab: Scenario, play: Play) -> None:
    one, two = secrets.token_hex(12), secrets.token_hex(12)

    came = play({"turn 1": one, "turn 2": two})

    assert came.status == 0, came.tail()
    with (
        clients.connect(lab, "turn 1", password=one) as old,
        clients.connect(lab, "turn 2", password=two) as new,
    ):
        for session in (old, new):
            assert session.execute("SELECT current_user").fetchone() == ("app",)
        refused = play({"turn 2": two}, "turn 1")
        assert refused.status != 0
        assert "turn 1 is still used, so nobody is withdrawn" in refused.output
        assert old.execute("SELECT 1").fetchone() == (1,)
        old.close()

        went = play({"turn 2": two}, "turn 1")

        assert went.status == 0, went.tail()
        assert new.execute("SELECT 1").fetchone() == (1,)
    for role, password in (("turn 1", one), ("turn 1", two)):
        with pytest.raises(psycopg.OperationalError):
            clients.connect(lab, role, password=password)
    clients.connect(lab, "turn 2", password=two).close()
    words = {one, two}
    for host in (DATABASE, POOLER):
        assert search(Remote(lab, host).sh, words) == set()
    assert not any(word in each.output for word in words for each in (came, refused, went))
