"""Attacks on a pooler by clients: console, certificates, names, and what those learn who are not let in.

Beside our PgBouncer each is tried on one as guides set it up, where it must gain something: else it proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from pooler import scram
from pooler.auth_query import STRANGER
from tests.engine.chain import GUIDE, OPEN, PORT, ROLES, Chain, chain
from tests.engine.probe import Heard, Login, probe


@pytest.fixture(scope="module")
def tier() -> Iterator[Chain]:
    with chain() as made:
        yield made


# Who is a user?

USERS = ("alice", "bob")
NO_USERS = ("nobody", "root", "copier", "expired", "gone", "pgbouncer", STRANGER, "alice ", "ALICE", "x' OR true --")


def heard(tier: Chain, user: str, database: str = "app", port: int = PORT) -> Heard:
    return probe(tier.dial(port), user, database)


def test_who_is_not_let_in_does_not_learn_who_is_a_user(tier: Chain) -> None:
    first = {user: heard(tier, user) for user in (*USERS, *NO_USERS)}

    assert len({told.look for told in first.values()}) == 1, first
    assert dict(first["nobody"].error)["M"] == "SASL authentication failed"
    # Each name has a salt of its own, as users have, and the same one again.
    assert len({told.salt for told in first.values()}) == len(first)
    assert {user: heard(tier, user) for user in reversed(first)} == first


def test_guides_tell_everybody_who_is_a_user(tier: Chain) -> None:
    looks = {user: heard(tier, user, port=GUIDE).look for user in (*USERS, "nobody")}
    assert looks["alice"] == looks["bob"] != looks["nobody"]


def test_console_tells_everybody_who_has_a_seat_and_nothing_of_others(tier: Chain) -> None:
    """The engine looks at its lists of seats before anything that we could set, and asks for what each goes with."""
    looks = {user: heard(tier, user, "pgbouncer").look for user in ("watcher", "chief", *USERS, *NO_USERS)}
    stranger = (None, None, (("S", "FATAL"), ("C", "08P01"), ("M", "not allowed")))
    assert {looks[user] for user in (*USERS, *NO_USERS)} == {stranger}
    assert len({looks["watcher"], looks["chief"], stranger}) == 3


def test_login_that_is_held_open_while_another_comes_tells_a_stranger(tier: Chain) -> None:
    """All decoys of an instance have one place in its memory: what cannot be had without it growing for ever."""

    def while_another_comes(user: str) -> Heard:
        held = Login(tier.dial(), user, "app")
        assert held.invited()
        heard(tier, "another stranger")
        return held.finish()

    assert while_another_comes("alice") == heard(tier, "alice")
    assert while_another_comes("nobody") == heard(tier, "another stranger")


def test_who_is_not_let_in_does_not_learn_of_databases(tier: Chain) -> None:
    assert heard(tier, "nobody", "app").look == heard(tier, "nobody", "certainly not there").look


def test_unknown_name_is_turned_away_where_nobody_is_asked_for_anything(tier: Chain) -> None:
    assert tier.lets_in("alice", "trusting", as_user="svc")
    for user in NO_USERS:
        assert not tier.lets_in(user, "trusting", as_user="svc")


# Names

ODD = ('say "hi"', "o'clock", "back\\slash", "a b;c--d/*e", "$1", "%s", "Grüße 東京", "admin", "ä" * 31 + "x")
LOOK_ALIKES = ("ADMIN", "admin ", "аdmin", "admın", "ａdmin", "ä" * 31 + "xx", '"admin"', "admin'--")


def test_odd_names_are_let_in_by_their_own_passwords_and_look_alikes_by_none(tier: Chain) -> None:
    for name in ODD:
        tier.create(name)
    for name in ODD:
        assert tier.lets_in(name)
        assert not tier.lets_in(name, password=tier.passwords["alice"])
    for name in LOOK_ALIKES:
        for password in (tier.passwords["admin"], tier.passwords["ä" * 31 + "x"]):
            assert not tier.lets_in(name, password=password)


# Superusers, and the way to the function

OPTIONS = ("-c role=root", "-c session_authorization=root", "-c search_path=guide", "-c is_superuser=on")


def test_superusers_are_let_in_by_guides_alone(tier: Chain) -> None:
    assert tier.lets_in("root", port=GUIDE)
    assert not tier.lets_in("root")
    assert not tier.lets_in("copier")


def test_client_reads_verifiers_through_the_function_of_guides_alone(tier: Chain) -> None:
    with tier.enter("alice") as session:
        (verifier,) = session.execute("SELECT phash FROM guide.user_lookup('root')").fetchone() or ("",)
        assert scram.verifies(str(verifier), tier.passwords["root"])
        with pytest.raises(InsufficientPrivilege):
            session.execute("SELECT * FROM pgbouncer.get_auth('root')")


@pytest.mark.parametrize("options", OPTIONS)
def test_options_in_the_startup_packet_change_nothing_for_the_pooler_and_its_function(
    tier: Chain, options: str
) -> None:
    with tier.enter("bob", options=options) as session:
        row = session.execute("SELECT current_user, session_user, current_setting('search_path')").fetchone()
    assert row == ("bob", "bob", '"$user", public')
    if "search_path" not in options:
        # Past the pooler, PostgreSQL itself says no.
        with pytest.raises(psycopg.OperationalError, match=r"permission denied|cannot be changed"):
            tier.enter_postgresql("bob", options=options)


@pytest.mark.parametrize("database", ["pgbouncer_auth", "pgbouncer_agent", "pgbouncer_agent_replica"])
@pytest.mark.parametrize("user", ["alice", "chief"])
def test_pooler_s_own_databases_are_closed_to_clients(tier: Chain, database: str, user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="login rejected"):
        tier.enter(user, database)


# Certificates


@pytest.mark.parametrize(
    ("user", "leaf", "told"),
    [
        ("alice", "bob", "certificate authentication failed"),
        ("bob", "alice", "certificate authentication failed"),
        ("nobody", "alice", "certificate authentication failed"),
        ("alice", "pgbouncer", "certificate authentication failed"),
        ("alice", "", "certificate authentication failed"),
        ("alice", "alice of theirs", "unknown ca"),
        ("alice", "alice of old", "certificate expired"),
    ],
)
def test_only_a_valid_leaf_of_the_role_itself_lets_in(tier: Chain, user: str, leaf: str, told: str) -> None:
    assert tier.lets_in("alice", "certified", leaf="alice", as_user="svc")

    with pytest.raises(psycopg.OperationalError, match=told):
        tier.enter(user, "certified", leaf=leaf)


@pytest.mark.parametrize("leaf", ["bob", "pgbouncer", "", "alice of theirs"])
def test_leaves_of_anybody_let_in_where_tls_is_taken_for_proof_enough(tier: Chain, leaf: str) -> None:
    assert tier.lets_in("alice", "certified", leaf=leaf, port=OPEN, as_user="svc")


@pytest.mark.parametrize(
    ("leaf", "more", "told"),
    [
        ("", {}, "valid client certificate"),
        ("alice", {}, "certificate authentication failed"),
        ("pgbouncer of theirs", {}, "unknown ca"),
        ("pgbouncer of old", {}, "certificate expired"),
        ("", {"sslmode": "disable", "password": "pgbouncer"}, "rejects connection"),
    ],
)
def test_only_the_pooler_s_leaf_logs_in_to_postgresql_as_its_role(
    tier: Chain, leaf: str, more: dict[str, str], told: str
) -> None:
    with tier.enter_postgresql("pgbouncer", leaf="pgbouncer") as session:
        assert session.execute("SELECT current_user").fetchone() == ("pgbouncer",)

    with pytest.raises(psycopg.OperationalError, match=told):
        tier.enter_postgresql("pgbouncer", leaf=leaf, **more)


def test_what_lies_on_the_host_logs_in_to_postgresql_with_guides_alone(tier: Chain) -> None:
    (password,) = re.findall('"asker" "(.*)"', (tier.place / "guide/userlist.txt").read_text())
    with tier.enter_postgresql("asker", password=password) as session:
        assert session.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'root'").fetchone()

    ours = tier.userlist()
    assert ours.keys() == {"watcher", "chief"}
    assert ours["watcher"] == ""
    assert scram.is_verifier(ours["chief"])


# Seats at the console

HARMLESS = (
    "RELOAD",
    "SET query_timeout = 0",
    "PAUSE app",
    "RESUME app",
    "DISABLE app",
    "ENABLE app",
    "RECONNECT app",
    "WAIT_CLOSE app",
)
HARMFUL = ("SUSPEND", "KILL app", "KILL_CLIENT 1", "SHUTDOWN", "SHUTDOWN WAIT_FOR_SERVERS", "SHUTDOWN WAIT_FOR_CLIENTS")
SHOWN = (
    *("CONFIG", "DATABASES", "POOLS", "CLIENTS", "SERVERS", "USERS", "VERSION", "PEERS", "PEER_POOLS", "SOCKETS"),
    *("ACTIVE_SOCKETS", "LISTS", "MEM", "STATE", "DNS_HOSTS", "DNS_ZONES", "STATS", "STATS_TOTALS", "STATS_AVERAGES"),
    "TOTALS",
)
ADMINS_ONLY = ("SHOW FDS",)


def test_all_commands_of_the_console_are_tried(tier: Chain) -> None:
    """What the engine lists itself, so that a command of a newer one is not forgotten here."""
    notices: list[str] = []
    with tier.enter("watcher", "pgbouncer", leaf="watcher") as session:
        session.add_notice_handler(lambda notice: notices.append(f"{notice.message_detail}"))
        session.execute("SHOW HELP")
    (listed,) = notices
    words = {line.split()[0] for line in listed.splitlines() if line.strip()} - {"SHOW"}
    assert words == {command.split()[0] for command in (*HARMLESS, *HARMFUL)}
    shown = {word for line in re.findall(r"SHOW (\S+)", listed) for word in line.split("|")}
    assert shown == {"HELP", *SHOWN, *(command.split()[1] for command in ADMINS_ONLY)}


@pytest.mark.parametrize("command", [*HARMLESS, *HARMFUL, *ADMINS_ONLY])
def test_stats_user_commands_nothing(tier: Chain, command: str) -> None:
    with tier.enter("watcher", "pgbouncer", leaf="watcher") as session:
        for spelled in (
            command,
            command.lower(),
            f"  {command};",
            f"SHOW VERSION; {command}",
            f"{command}; SHOW STATE",
        ):
            with pytest.raises(psycopg.Error, match=r"admin access needed|invalid command"):
                session.execute(spelled.encode())
    with tier.enter("alice") as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_admin_and_the_stats_user_of_guides_command_all_that(tier: Chain) -> None:
    for user, port in (("chief", PORT), ("watcher", GUIDE)):
        with tier.enter(user, "pgbouncer", port=port) as session:
            for command in HARMLESS:
                session.execute(command.encode())


def test_nothing_that_the_stats_user_is_shown_is_secret(tier: Chain) -> None:
    assert tier.lets_in("alice")
    shown = ""
    with tier.enter("watcher", "pgbouncer", leaf="watcher") as session:
        for what in SHOWN:
            result = session.execute(f"SHOW {what}".encode()).pgresult
            assert result is not None
            shown += str([result.get_value(row, at) for row in range(result.ntuples) for at in range(result.nfields)])
    secrets = [*tier.passwords.values(), *filter(None, tier.userlist().values())]
    secrets += [str(row[0]) for row in tier.owner.execute("SELECT rolpassword FROM pg_authid WHERE rolpassword <> ''")]
    assert "alice" in shown
    assert not [secret for secret in secrets if secret in shown or secret.rpartition("$")[2] in shown]


@pytest.mark.parametrize("user", ["alice", "root", "pgbouncer", "nobody", *ROLES])
def test_nobody_else_sits_at_the_console(tier: Chain, user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"SASL authentication failed|not allowed"):
        tier.enter(user, "pgbouncer")
