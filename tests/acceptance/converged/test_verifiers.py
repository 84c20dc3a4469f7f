from __future__ import annotations

import secrets

from pooler import scram, userlist
from tests.acceptance import clients
from tests.acceptance.playbook import site
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import POOLER, Scenario
from tests.acceptance.variables import OPERATOR, WATCHER

_USERLIST = "cat /etc/pgbouncer/current/userlist.txt"


def test_postgresql_takes_our_verifier_as_it_is_and_the_pool_logs_in_with_it(lab: Scenario, database: Remote) -> None:
    password = f"{secrets.token_hex(12)} ünïcödé \u2168"
    verifier = scram.verifier(password)
    database.sql(f"CREATE ROLE given LOGIN PASSWORD '{verifier}'")
    try:
        assert database.sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'given'") == verifier
        with clients.connect(lab, "given", password=password) as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("given",)
    finally:
        database.sql("DROP ROLE given")


def test_a_user_of_the_userlist_logs_in_to_the_server_with_the_verifier_alone(lab: Scenario, pooler: Remote) -> None:
    listed = userlist.parse(pooler.sh(_USERLIST))
    assert set(listed) == {"listed", OPERATOR, WATCHER, "pgbouncer"}
    # Whoever comes by certificate has an empty secret, by which nobody logs in.
    assert listed.pop(WATCHER) == ""
    assert all(scram.is_verifier(secret) for secret in listed.values())
    assert clients.by_psycopg(lab, "listed", "app") == ("listed", "app")


def test_rendering_again_keeps_the_verifiers_of_passwords(lab: Scenario, pooler: Remote) -> None:
    before = userlist.parse(pooler.sh(_USERLIST))
    changed = site(lab, "--limit", POOLER, variables={"pgbouncer_settings": {"stats_period": 61}})
    assert changed.recap(POOLER)["changed"] == 1, changed.tail()
    after = userlist.parse(pooler.sh(_USERLIST))
    site(lab, "--limit", POOLER)
    assert after == before
