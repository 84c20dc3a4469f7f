"""Users against PgBouncer itself with a PostgreSQL behind it: who is out, who is in, and whom nobody disturbs.

Some tests show what an engine does after a RELOAD alone: the reasons for the further steps of a plan.
"""

from __future__ import annotations

import secrets
import select
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
import pytest
from psycopg import pq
from psycopg.conninfo import make_conninfo
from psycopg.pq.abc import PGconn

from pooler import bundle, plan, scram, shell_apply, tombstones, userlist, variables
from pooler.bundle import CURRENT, RUNTIME, Facts
from pooler.commands import quoted
from pooler.model import Pooler
from pooler.plan import Effect, Plan
from pooler.server import Server
from tests.engine import histories, trial
from tests.engine.histories import Variables
from tests.engine.miniature import TLS, UID, Instance, Miniature, certified, miniature, planned

Session = psycopg.Connection[tuple[object, ...]]

SOCKET = "/run/postgresql"
QUAINT = 'it\'s $HOME "*"'
ROLES = ("alice", "bob", "svc", "other", "pgbouncer", QUAINT)
DATABASE: Variables = {"name": "app", "dbname": "postgres"}
BY_PASSWORD = ["local all all scram-sha-256"]
TRUSTING = ["local all all trust"]
FACTS = Facts(Server(SOCKET), f"{TLS}/server/01", f"{TLS}/client/01")
CONSOLE = 50001
REMEMBERS = trial.version() >= tombstones.SINCE
"""Whether the engine goes on to let in whom it no longer reads of."""

LOCKS_OUT = plan.LOCKS_OUT[0] <= trial.version() < plan.LOCKS_OUT[1]
"""Whether a wrong password before the right one keeps a user out of PostgreSQL until the userlist is read anew."""


@dataclass
class Tier:
    """A host with one instance, the PostgreSQL behind it, and what PostgreSQL's roles log in with."""

    host: Miniature
    owner: Session
    passwords: dict[str, str] = field(default_factory=dict)
    verifiers: dict[str, str] = field(default_factory=dict)

    @property
    def instance(self) -> Instance:
        return self.host.instances[CONSOLE]

    def starts(self, *consoles: int, **variables: object) -> None:
        self.host.fresh(bundle.build(inventory(**variables), FACTS), *(consoles or (CONSOLE,)))

    def becomes(self, facts: Facts = FACTS, **variables: object) -> Plan:
        """A plan is made and carried out."""
        made, _, todo = planned(self.host, inventory(**variables), facts)
        self.host.apply(todo, made)
        return todo

    def reloads(self, **variables: object) -> None:
        """The engine reads the new files: less than a plan would do."""
        made = bundle.build(inventory(**variables), FACTS)
        self.host.write(made.files)
        self.host.switch(made.release)
        self.host.reload(CONSOLE)

    def users(self, *names: str) -> list[Variables]:
        """Entries of the userlist, with the verifiers of PostgreSQL."""
        return [{"name": name, "verifier": self.verifiers[name]} for name in names]

    def rotate(self, role: str) -> str:
        """The role gets a new password. Gives the old one."""
        old, self.passwords[role] = self.passwords.get(role, ""), secrets.token_hex(8)
        self.verifiers[role] = scram.verifier(self.passwords[role])
        self.owner.execute(f"ALTER ROLE {quoted(role)} LOGIN PASSWORD '{self.verifiers[role]}'".encode())
        return old

    def enter(self, user: str, database: str = "app", password: str | None = None, console: int = CONSOLE) -> Session:
        return psycopg.connect(
            self.address(user, database, self.passwords[user] if password is None else password, console),
            autocommit=True,
            prepare_threshold=None,
        )

    def lets_in(self, user: str, database: str = "app", password: str | None = None, console: int = CONSOLE) -> bool:
        """Whether a user can log in and do something."""
        try:
            with self.enter(user, database, password, console) as session:
                return alive(session)
        except psycopg.OperationalError:
            return False

    def listed(self) -> set[str]:
        """The names in the userlist in force."""
        return set(userlist.parse(self.host.path(f"{CURRENT}/userlist.txt").read_text()))

    def address(self, user: str, database: str, password: str, console: int = CONSOLE) -> str:
        place = self.host.path(f"{RUNTIME}/{console}")
        return make_conninfo(
            host=str(place), port=6432, user=user, dbname=database, password=password, connect_timeout=10
        )

    def states(self, user: str) -> list[str | None]:
        return [row["state"] for row in self.instance.show("SOCKETS") if row["user"] == user and row["type"] == "C"]

    def servers(self) -> list[str | None]:
        """The server connections that are kept, by id."""
        return [row["id"] for row in self.instance.show("SERVERS") if row["close_needed"] == "0"]


def inventory(**changed: object) -> Pooler:
    given = {"patroni": None, "server": SOCKET, "userlist_only": True, "databases": [DATABASE]}
    return variables.read(histories.PLAIN | given | changed)


def alive(session: Session) -> bool:
    try:
        return session.execute("SELECT 1").fetchone() == (1,)
    except psycopg.Error:
        return False


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tier]:
    place = tmp_path_factory.mktemp("postgresql")
    with trial.postgresql(place) as owner, miniature(place) as host:
        host.write(certified())
        for role in ROLES:
            owner.execute(f"CREATE ROLE {quoted(role)}".encode())
        owner.execute(b"CREATE DATABASE second")
        yield Tier(host, owner)


@pytest.fixture
def tier(running: Tier) -> Tier:
    for role in ROLES:
        running.rotate(role)
    return running


# Users of the userlist


def test_removed_user_is_out_at_once_and_nobody_else_notices(tier: Tier) -> None:
    tier.starts(users=tier.users("alice", "bob"))
    alice, bob = tier.enter("alice"), tier.enter("bob")
    assert alive(alice)
    assert alive(bob)
    server = tier.servers()

    tier.becomes(users=tier.users("bob"))

    assert not alive(alice)
    assert not tier.lets_in("alice")
    assert alive(bob)
    assert set(tier.servers()) <= set(server)


def test_session_of_removed_user_outlives_reload_and_reconnect(tier: Tier) -> None:
    tier.starts(users=tier.users("alice", "bob"))
    session = tier.enter("alice")
    assert alive(session)
    server = tier.servers()

    tier.reloads(users=tier.users("bob"))
    tier.instance.ask("RECONNECT")

    assert tier.lets_in("alice") == REMEMBERS
    assert alive(session)
    assert not set(server) & set(tier.servers())


def test_login_that_began_before_its_user_was_removed_is_finished(tier: Tier) -> None:
    """KILL_CLIENT does not find it meanwhile, and a rule against the user comes too late as well."""
    tier.starts(users=tier.users("alice", "bob"))
    login = begun(tier.address("alice", "app", tier.passwords["alice"]))
    assert tier.states("alice") == ["cl_login"]

    tier.reloads(users=tier.users("bob"), hba=["local all alice reject", "local all all scram-sha-256"])

    (number,) = [row["id"] for row in tier.instance.show("SOCKETS") if row["user"] == "alice"]
    with pytest.raises(psycopg.errors.ProtocolViolation, match="client not found"):
        tier.instance.ask(f"KILL_CLIENT {number}")
    session = finished(login)
    assert alive(session)
    assert [row["id"] for row in tier.instance.show("CLIENTS") if row["user"] == "alice"] == [number]
    tier.instance.ask(f"KILL_CLIENT {number}")
    assert not alive(session)


def test_removed_user_is_in_again_when_listed_again(tier: Tier) -> None:
    tier.starts(users=tier.users("alice", "bob"))
    tier.becomes(users=tier.users("bob"))

    tier.becomes(users=tier.users("alice", "bob"))

    assert tier.lets_in("alice")


def test_run_that_came_to_an_end_anywhere_is_finished_by_the_next_one(tier: Tier) -> None:
    wanted: Variables = {"users": tier.users("bob"), "databases": [DATABASE | {"timezone": "Asia/Tokyo"}]}
    number, done = 0, False
    while not done:
        tier.starts(users=tier.users("alice", "bob"))
        alice, bob = tier.enter("alice"), tier.enter("bob")
        assert alive(alice)
        assert alive(bob)
        made, _, todo = planned(tier.host, inventory(**wanted), FACTS)
        done = number == len(tier.host.steps(todo, made))
        tier.host.apply(todo, made, upto=number)

        tier.becomes(**wanted)

        assert not alive(alice), number
        assert not tier.lets_in("alice"), number
        assert alive(bob), number
        assert tier.enter("bob").execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",), number
        assert tier.becomes(**wanted) == Plan(), number
        number += 1
    assert number > 4


def test_removed_user_stays_out_through_restarts_and_leaves_nothing_behind(tier: Tier) -> None:
    """An engine from 1.25 on is told so by a line that stays as long as a process runs that knew the user."""
    tier.starts(users=tier.users("alice", "bob"))
    assert tier.lets_in("alice")

    todo = tier.becomes(users=tier.users("bob"))

    assert any("stands for him" in change.why for change in todo.changes) == REMEMBERS
    assert tier.becomes(users=tier.users("bob")) == Plan()
    assert ("alice" in tier.listed()) == REMEMBERS
    assert not tier.lets_in("alice")

    tier.becomes(users=tier.users("bob"), settings={"default_pool_size": 7})

    assert ("alice" in tier.listed()) == REMEMBERS
    assert not tier.lets_in("alice")

    tier.becomes(users=tier.users("bob"), settings={"pkt_buf": 16384})

    assert tier.becomes(users=tier.users("bob"), settings={"pkt_buf": 16384}) == Plan()
    assert not tier.lets_in("alice")

    tier.becomes(users=tier.users("bob"))

    assert tier.listed() == {"bob"}
    assert not tier.lets_in("alice")
    assert tier.lets_in("bob")


def test_every_process_that_knew_a_user_is_waited_for(tier: Tier) -> None:
    two = CONSOLE, CONSOLE + 1
    tier.starts(*two, users=tier.users("alice", "bob"), instances=2)
    for console in two:
        assert tier.lets_in("alice", console=console)
    tier.becomes(users=tier.users("bob"), instances=2)
    tier.host.restart(tier.instance.unit_digest, CONSOLE)

    tier.becomes(users=tier.users("bob"), instances=2, settings={"default_pool_size": 7})

    assert ("alice" in tier.listed()) == REMEMBERS
    assert not any(tier.lets_in("alice", console=console) for console in two)

    tier.host.restart(tier.instance.unit_digest, two[1])
    tier.becomes(users=tier.users("bob"), instances=2)

    assert tier.listed() == {"bob"}
    assert not any(tier.lets_in("alice", console=console) for console in two)


def test_changed_password_is_in_force_at_once_and_sessions_of_the_old_one_end(tier: Tier) -> None:
    tier.starts(users=tier.users("alice", "bob"))
    alice, bob = tier.enter("alice"), tier.enter("bob")
    assert alive(alice)
    assert alive(bob)
    old = tier.rotate("alice")

    tier.becomes(users=tier.users("alice", "bob"))

    assert tier.lets_in("alice")
    assert not tier.lets_in("alice", password=old)
    assert tier.lets_in("alice")
    assert not alive(alice)
    assert alive(bob)


def test_old_password_tried_first_locks_nobody_out(tier: Tier) -> None:
    tier.starts(users=tier.users("alice", "bob"))
    assert tier.lets_in("alice")
    old = tier.rotate("alice")

    tier.becomes(users=tier.users("alice", "bob"))
    tier.instance.ask("RECONNECT")

    assert not tier.lets_in("alice", password=old)
    assert tier.lets_in("alice") != LOCKS_OUT


def test_wrong_password_first_locks_nobody_out(tier: Tier) -> None:
    tier.starts(users=tier.users("alice"))

    assert not tier.lets_in("alice", password="wrong")

    assert tier.lets_in("alice") != LOCKS_OUT


def test_next_change_lets_in_whom_a_wrong_password_has_locked_out(tier: Tier) -> None:
    tier.starts(users=tier.users("alice"))
    assert not tier.lets_in("alice", password="wrong")

    tier.becomes(users=tier.users("alice"), settings={"default_pool_size": 7})

    assert tier.lets_in("alice")


def test_removed_user_stays_out_where_a_rule_asks_for_no_password(tier: Tier) -> None:
    """The engine never forgets a name, so that `trust` goes on meaning a removed user, too."""
    forced: Variables = {"name": "shared", "dbname": "postgres", "user": "svc", "password": tier.passwords["svc"]}
    tier.starts(users=tier.users("alice", "bob"), databases=[forced], hba=TRUSTING)
    assert tier.lets_in("alice", "shared")

    tier.becomes(users=tier.users("bob"), databases=[forced], hba=TRUSTING)

    assert not tier.lets_in("alice", "shared")
    assert tier.lets_in("bob", "shared")


def test_user_removed_earlier_stays_out_when_a_rule_begins_to_trust(tier: Tier) -> None:
    forced: Variables = {"name": "shared", "dbname": "postgres", "user": "svc", "password": tier.passwords["svc"]}
    tier.starts(users=tier.users("alice", "bob"), databases=[forced], hba=BY_PASSWORD)
    tier.becomes(users=tier.users("bob"), databases=[forced], hba=BY_PASSWORD)

    tier.becomes(users=tier.users("bob"), databases=[forced], hba=TRUSTING)

    assert not tier.lets_in("alice", "shared")
    assert tier.lets_in("bob", "shared")
    assert tier.becomes(users=tier.users("bob"), databases=[forced], hba=TRUSTING) == Plan()


def test_rule_that_trusts_another_user_restarts_nothing(tier: Tier) -> None:
    tier.starts(users=tier.users("alice", "bob"), hba=BY_PASSWORD)

    todo = tier.becomes(users=tier.users("bob"), hba=["local all bob trust", *BY_PASSWORD])

    assert todo.restart == ()
    assert not tier.lets_in("alice")


def test_removed_user_who_had_settings_stays_out_when_a_rule_begins_to_trust(tier: Tier) -> None:
    forced: Variables = {"name": "shared", "dbname": "postgres", "user": "svc", "password": tier.passwords["svc"]}
    alice, bob = tier.users("alice", "bob")
    tier.starts(users=[alice | {"pool_mode": "session"}, bob], databases=[forced], hba=BY_PASSWORD)
    tier.becomes(users=[bob], databases=[forced], hba=BY_PASSWORD)

    tier.becomes(users=tier.users("bob"), databases=[forced], hba=TRUSTING)

    assert not tier.lets_in("alice", "shared")
    assert tier.lets_in("bob", "shared")
    assert tier.becomes(users=tier.users("bob"), databases=[forced], hba=TRUSTING) == Plan()


def test_user_who_leaves_the_userlist_stays_out_also_where_auth_query_would_let_him_in(tier: Tier) -> None:
    """The engine asks PostgreSQL only of users that it has never read of in a userlist, until it is restarted.

    Who was taken away is to be out, so no restart is planned for his sake; the plan says that one lets him in.
    """
    tier.owner.execute(b"DROP SCHEMA IF EXISTS pgbouncer CASCADE; CREATE SCHEMA pgbouncer")
    tier.owner.execute(
        b"CREATE FUNCTION pgbouncer.get_auth(name text) RETURNS TABLE (username text, password text) LANGUAGE sql "
        b"SECURITY DEFINER AS 'SELECT rolname::text, rolpassword FROM pg_authid WHERE rolname = name'"
    )
    tier.owner.execute(b"GRANT USAGE ON SCHEMA pgbouncer TO PUBLIC")
    asking: Variables = {
        "userlist_only": False,
        "auth_query": {"role": "other"},
        "hba": ["local all all scram-sha-256"],
    }
    # An auth user of the userlist needs the password itself; the engine has only a verifier until he has logged in.
    tier.starts(users=tier.users("alice", "other"), **asking)
    assert tier.lets_in("other", "pgbouncer_auth")
    assert tier.lets_in("alice")
    assert tier.lets_in("bob")

    todo = tier.becomes(users=tier.users("other"), **asking)

    assert [change.what for change in todo.changes if "after a restart" in change.why] == ["user alice"]
    assert tier.lets_in("other", "pgbouncer_auth")
    assert not tier.lets_in("alice")
    assert tier.lets_in("bob")

    tier.starts(users=tier.users("other"), **asking)

    assert tier.lets_in("other", "pgbouncer_auth")
    assert tier.lets_in("alice")


# The host's own commands that end sessions

_AS_ON_A_HOST = """
mount -t tmpfs tmpfs /run
mkdir /run/pgbouncer /run/work
mount --bind "$1" /run/pgbouncer
printf '#!/bin/sh\\nshift 2\\nexec "$@"\\n' > /run/work/podman
chmod 0755 /run/work/podman
chown "$2:$2" /run/work
cd /run/work
exec env PATH="/run/work:$PATH" setpriv --reuid="$2" --regid="$2" --clear-groups sh -euc "$3"
"""


@contextmanager
def expelled(tier: Tier, user: str) -> Iterator[subprocess.Popen[bytes]]:
    """The script that ends a user's sessions, at work; an instance's container is no other place than the host."""
    script = f"section() {{ :; }}\n{shell_apply.functions(inventory())}\nexpel {CONSOLE} {shlex.quote(user)}"
    enter = ["unshare", "--mount", "--propagation=private", "sh", "-euc", _AS_ON_A_HOST, "sh"]
    command = [*enter, str(tier.host.path(RUNTIME)), str(UID), script]
    with subprocess.Popen(command) as process:
        yield process
    assert process.returncode == 0


@pytest.mark.parametrize("user", ["alice", QUAINT])
def test_all_sessions_of_a_user_end_and_nobody_elses(tier: Tier, user: str) -> None:
    tier.starts(users=tier.users(user, "bob"))
    idle, active, bob = tier.enter(user), tier.enter(user), tier.enter("bob")
    active.execute("BEGIN")
    assert alive(bob)

    with expelled(tier, user):
        pass

    assert not alive(idle)
    assert not alive(active)
    assert alive(bob)


def test_login_that_began_before_the_reload_is_waited_for_and_ends(tier: Tier) -> None:
    tier.starts(users=tier.users("alice", "bob"))
    session, bob = tier.enter("alice"), tier.enter("bob")
    login = begun(tier.address("alice", "app", tier.passwords["alice"]))
    tier.reloads(users=tier.users("bob"))

    with expelled(tier, "alice") as process:
        while alive(session):
            assert process.poll() is None
        assert process.poll() is None
        late = finished(login)

    assert not alive(late)
    assert alive(bob)


def test_our_own_consoles_go_on_when_the_user_of_their_name_goes(tier: Tier) -> None:
    tier.starts(users=tier.users("pgbouncer"))
    session = tier.enter("pgbouncer")
    assert alive(session)

    with expelled(tier, "pgbouncer"):
        pass

    assert not alive(session)
    assert tier.instance.show("VERSION")


# Seats at the console


@pytest.mark.parametrize("by_certificate", [False, True])
def test_former_admin_can_command_nothing_more(tier: Tier, by_certificate: bool) -> None:
    """Without a seat, or with one for statistics, which goes with a certificate."""
    (ops,) = tier.users("alice")
    tier.starts(users=[ops | {"console": "admin"}, *tier.users("bob")])
    console, bob = tier.enter("alice", "pgbouncer"), tier.enter("bob")
    assert alive(bob)
    console.execute("RELOAD")

    watcher = {"name": "alice", "console": "stats", "certificate": True}
    tier.becomes(users=[watcher if by_certificate else ops, *tier.users("bob")])

    with pytest.raises(psycopg.Error):
        console.execute("RELOAD")
    assert alive(bob)


def test_open_console_of_a_former_admin_outlives_a_reload(tier: Tier) -> None:
    (ops,) = tier.users("alice")
    tier.starts(users=[ops | {"console": "admin"}])
    console = tier.enter("alice", "pgbouncer")

    tier.reloads(users=[])

    console.execute("RELOAD")
    assert ("alice", "pgbouncer") in [(row["user"], row["database"]) for row in tier.instance.show("CLIENTS")]


# What a user or a database has of its own


def test_settings_taken_from_a_user_are_no_longer_in_force(tier: Tier) -> None:
    """SHOW USERS tells nothing of timeouts. As long as another user has one, the engine looks at those of all."""
    (alice,), other = tier.users("alice"), {"name": "bob", "query_timeout": 60}
    tier.starts(users=[alice | {"query_timeout": 1}, other])
    with pytest.raises(psycopg.OperationalError, match="query timeout"):
        tier.enter("alice").execute("SELECT pg_sleep(30)")

    tier.becomes(users=[alice, other])

    tier.enter("alice").execute("SELECT pg_sleep(1.7)")


def test_changed_forced_user_has_settings_of_their_own(tier: Tier) -> None:
    def databases(user: str) -> list[Variables]:
        return [DATABASE | {"user": user, "password": tier.passwords[user]}]

    users = [*tier.users("bob"), {"name": "svc", "pool_mode": "session"}, {"name": "other", "pool_mode": "transaction"}]
    tier.starts(users=users, databases=databases("svc"), hba=TRUSTING)
    assert tier.lets_in("bob")

    tier.becomes(users=users, databases=databases("other"), hba=TRUSTING)

    with tier.enter("bob") as session:
        assert session.execute("SELECT current_user").fetchone() == ("other",)
        pools = [(row["user"], row["pool_mode"]) for row in tier.instance.show("POOLS") if row["database"] == "app"]
    assert pools == [("other", "transaction")]


def test_changed_password_of_a_database_reaches_every_server_connection(tier: Tier) -> None:
    def databases() -> list[Variables]:
        return [DATABASE | {"user": "svc", "password": tier.passwords["svc"]}]

    tier.starts(users=tier.users("bob"), databases=databases(), hba=TRUSTING)
    session = tier.enter("bob")
    assert alive(session)
    old = tier.servers()
    tier.rotate("svc")

    todo = tier.becomes(users=tier.users("bob"), databases=databases(), hba=TRUSTING)

    assert todo.effect == Effect.RECYCLE
    assert alive(session)
    assert not set(old) & set(tier.servers())


def test_changed_time_zone_of_a_database_reaches_new_clients(tier: Tier) -> None:
    tier.starts(users=tier.users("alice"))
    session = tier.enter("alice")
    assert alive(session)

    tier.becomes(users=tier.users("alice"), databases=[DATABASE | {"timezone": "Asia/Tokyo"}])

    assert tier.enter("alice").execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
    assert alive(session)


CHANGES: dict[str, Variables] = {
    **{
        key: {"databases": [DATABASE | {key: value}]}
        for key, value in {
            "host": f"{SOCKET},{SOCKET}",
            "dbname": "second",
            "load_balance_hosts": "disable",
            "connect_query": "SET work_mem = '7MB'",
            "auth_query": "SELECT 1, 2",
            "auth_dbname": "app",
            "auth_user": "bob",
            "application_name": "us",
            "client_encoding": "LATIN1",
            "datestyle": "German",
            "timezone": "Asia/Tokyo",
            "pool_size": 7,
            "min_pool_size": 1,
            "reserve_pool_size": 2,
            "pool_mode": "statement",
            "max_db_connections": 50,
            "max_db_client_connections": 90,
            "server_lifetime": 60,
        }.items()
    },
    **{
        name: {"settings": {name: value}}
        for name, value in {
            "server_tls_sslmode": "require",
            "server_tls_protocols": "tlsv1.3",
            "server_tls_ciphers": "HIGH",
            "client_tls_protocols": "tlsv1.3",
            "server_lifetime": 100,
            "server_reset_query": "",
            "default_pool_size": 3,
            "tcp_keepidle": 9,
        }.items()
    },
    "hba": {"hba": BY_PASSWORD},
    "leaf shown to clients": {"facts": Facts(Server(SOCKET), f"{TLS}/server/02", f"{TLS}/client/01")},
    "leaf shown to PostgreSQL": {"facts": Facts(Server(SOCKET), f"{TLS}/server/01", f"{TLS}/client/02")},
    "leader": {"facts": Facts(Server(SOCKET + "/"), f"{TLS}/server/01", f"{TLS}/client/01")},
}


@pytest.mark.parametrize("what", CHANGES)
def test_server_connections_are_replaced_exactly_when_the_plan_says_so(tier: Tier, what: str) -> None:
    tier.starts(users=tier.users("alice"))
    session = tier.enter("alice")
    assert alive(session)
    server = tier.servers()

    todo = tier.becomes(users=tier.users("alice"), **CHANGES[what])

    replaced = not set(server) & set(tier.servers())
    assert todo.effect == (Effect.RECYCLE if replaced else Effect.RELOAD)
    assert alive(session)


def begun(address: str) -> PGconn:
    """A login by SCRAM up to the server's challenge, which waits for an answer."""
    login = pq.PGconn.connect_start(address.encode())
    # The startup packet goes out, the kinds of authentication come in, the first message goes out, the challenge comes.
    status: int = pq.PollingStatus.WRITING
    came_in = 0
    while came_in < 2:
        ready(login, status)
        came_in += status == pq.PollingStatus.READING
        if came_in < 2:
            status = login.connect_poll()
    return login


def finished(login: PGconn) -> Session:
    status = login.connect_poll()
    while status not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
        ready(login, status)
        status = login.connect_poll()
    assert status == pq.PollingStatus.OK, login.get_error_message()
    session = psycopg.Connection[tuple[object, ...]](login)
    session.autocommit = True
    return session


def ready(login: PGconn, status: int) -> None:
    """Wait until the socket can be read or written."""
    reading = status == pq.PollingStatus.READING
    select.select([login.socket] if reading else [], [] if reading else [login.socket], [])


# Roles of our own, with passwords


def test_our_role_asks_with_its_password_and_nobody_logs_in_as_it(tier: Tier) -> None:
    password = tier.passwords["pgbouncer"]
    query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1"
    asked = {"userlist_only": False, "auth_query": {"password": password, "query": query}}
    tier.owner.execute(b"GRANT pg_read_all_data TO pgbouncer")
    tier.owner.execute(b"GRANT SELECT ON pg_authid TO pgbouncer")

    tier.starts(**asked)

    assert tier.lets_in("alice")
    assert not tier.lets_in("alice", password="wrong")
    with pytest.raises(psycopg.OperationalError, match="login rejected"):
        tier.enter("pgbouncer", password=password)


def test_our_role_gets_another_password_by_a_reload(tier: Tier) -> None:
    query = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1"

    def asked() -> Variables:
        return {"userlist_only": False, "auth_query": {"password": tier.passwords["pgbouncer"], "query": query}}

    tier.owner.execute(b"GRANT SELECT ON pg_authid TO pgbouncer")
    tier.starts(**asked())
    assert tier.lets_in("alice")
    tier.rotate("pgbouncer")
    tier.instance.ask("RECONNECT")

    todo = tier.becomes(**asked())

    assert todo.effect == Effect.RELOAD
    assert tier.lets_in("bob")
