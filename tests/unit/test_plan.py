"""Bundle and plan: what is rendered, and what a difference between wanted and running leads to."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any

import pytest

from pooler import bundle, diff, ini, observed, scram, settings, userlist, variables
from pooler.bundle import Bundle, Facts
from pooler.model import AUTH_DATABASE, Pooler
from pooler.observed import Agent, FoundFile, Instance, Observed, Unfinished
from pooler.plan import Effect, Plan, plan, removal
from pooler.server import Server

FACTS = Facts(
    Server("10.0.0.1"),
    "/etc/pgbouncer/tls/server/01",
    "/etc/pgbouncer/tls/client/02",
    verifiers={"pgbouncer": scram.verifier("of the agent's role")},
)
IMAGE = "f" * 64
DEFAULTS = {name: settings.get("pgbouncer", name).default or "" for name in settings.known("pgbouncer")}


def pooler(**changed: Any) -> Pooler:
    given = {
        "image": "localhost/pgfleet/pooler:0.1.0",
        "patroni": ["https://db1:8008"],
        "databases": [{"name": "app", "pool_size": 20}],
    }
    return variables.read(given | changed)


def converged(wanted: Pooler, made: Bundle) -> Observed:
    """A host that is exactly as the bundle says, instances included."""
    databases = ini.parse(made.databases.content.decode()).databases
    return Observed(
        release=made.release,
        files={file.path: FoundFile(file.content, file.mode, file.owner) for file in made.files},
        image_id=IMAGE,
        instances={
            console: Instance(
                console,
                active=True,
                socket=wanted.dispatch == "socket",
                unit_digest=made.unit_digest,
                image_id=IMAGE,
                config=DEFAULTS | _ini(made, console).pgbouncer,
                defaults=DEFAULTS,
                databases={
                    name: {"name": name, "database": entry.get("dbname", name), **entry}
                    for name, entry in databases.items()
                },
                users={name: {"name": name, **entry} for name, entry in _ini(made, console).users.items()},
            )
            for console in wanted.consoles
        },
        agent=Agent(True, made.agent_digest, IMAGE) if made.agent else None,
        leader=FACTS.leader,
    )


def _ini(made: Bundle, console: int) -> ini.Ini:
    (text,) = (file.content.decode() for file in made.release_files if file.path.endswith(f"/{console}.ini"))
    return ini.parse(text)


def changed(before: Pooler, after: Pooler, facts: Facts = FACTS) -> Plan:
    return plan(after, bundle.build(after, facts), converged(before, bundle.build(before, FACTS)))


def test_nothing_differs_on_a_converged_host() -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    assert plan(wanted, made, converged(wanted, made)) == Plan()


def test_a_bare_host_gets_files_and_starts() -> None:
    wanted = pooler()
    todo = plan(wanted, bundle.build(wanted, FACTS), Observed())
    assert todo.start == (50001, 50002)
    assert todo.switch
    assert todo.units
    assert not todo.reload


def test_a_pool_size_is_a_reload() -> None:
    todo = changed(pooler(), pooler(databases=[{"name": "app", "pool_size": 30}]))
    assert todo.effect == Effect.RELOAD
    assert todo.reload == (50001, 50002)
    assert not todo.restart


def test_what_show_users_says_is_compared_with_what_users_are_to_have() -> None:
    wanted = pooler(users=[{"name": "batch", "max_user_connections": 8, "pool_mode": "session"}])
    made = bundle.build(wanted, FACTS)
    seen = converged(wanted, made)
    assert plan(wanted, made, seen) == Plan()
    first = seen.instances[50001]
    for users, why in (
        ({"other": {}}, "is missing"),
        ({"batch": {"pool_mode": "transaction"}}, "pool_mode 'transaction' becomes 'session'"),
    ):
        astray = replace(seen, instances={**seen.instances, 50001: replace(first, users=users)})
        (change,) = plan(wanted, made, astray).changes
        assert (change.what, change.effect) == ("user batch", Effect.RELOAD)
        assert why in change.why


def test_databases_that_were_written_and_not_read_are_read_by_the_next_run() -> None:
    """Also for what SHOW DATABASES does not show."""
    before, after = pooler(), pooler(databases=[{"name": "app", "pool_size": 20, "connect_query": "SELECT 1"}])
    old, new = bundle.build(before, FACTS), bundle.build(after, FACTS)
    todo = plan(after, new, replace(converged(after, new), instances=converged(before, old).instances))
    assert todo.reload == (50001, 50002)
    assert todo.write == ()


@pytest.mark.parametrize("entry", [{"name": "*"}, {"name": "app", "pool_size": 20, "server_lifetime": 60}])
def test_what_show_databases_does_not_show_is_a_reload_too(entry: dict[str, Any]) -> None:
    entries = [{"name": "app", "pool_size": 20}, entry] if entry["name"] == "*" else [entry]
    todo = changed(pooler(), pooler(databases=entries))
    assert todo.effect == Effect.RELOAD
    assert todo.reload == (50001, 50002)


def test_a_setting_read_at_start_only_restarts_one_after_the_other() -> None:
    todo = changed(pooler(), pooler(settings={"pkt_buf": 16384}))
    assert todo.effect == Effect.ROLLING_RESTART
    assert todo.restart == (50001, 50002)


def test_a_setting_no_longer_given_goes_back_to_the_engines_default() -> None:
    todo = changed(pooler(settings={"server_lifetime": 60}), pooler())
    assert any("server_lifetime" in change.what for change in todo.changes)
    assert changed(pooler(settings={"pkt_buf": 16384}), pooler()).effect == Effect.ROLLING_RESTART


def test_another_image_restarts() -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    todo = plan(wanted, made, replace(converged(wanted, made), image_id="e" * 64))
    assert todo.restart == (50001, 50002)


def test_a_new_leader_replaces_server_connections() -> None:
    todo = changed(pooler(), pooler(), replace(FACTS, leader=Server("10.0.0.2")))
    assert todo.effect == Effect.RECYCLE
    assert [file.path for file in todo.write] == [bundle.DATABASES]


def test_a_new_certificate_is_a_reload_since_its_path_is_new() -> None:
    todo = changed(pooler(), pooler(), replace(FACTS, server_leaf="/etc/pgbouncer/tls/server/03"))
    assert todo.effect == Effect.RELOAD
    assert todo.reload == (50001, 50002)


def test_an_instance_that_still_runs_the_old_files_is_reloaded_by_the_next_run() -> None:
    """The play died between the switch and the RELOAD, and SHOW CONFIG differs in nothing but the release."""
    before, after = pooler(), pooler(hba=["hostssl app all all scram-sha-256"])
    old, new = bundle.build(before, FACTS), bundle.build(after, FACTS)
    running = converged(before, old).instances
    todo = plan(after, new, replace(converged(after, new), instances=running))
    assert todo.reload == (50001, 50002)
    assert todo.write == ()


def test_a_value_set_by_hand_at_the_console_is_put_back() -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    observed = converged(wanted, made)
    touched = replace(
        observed.instances[50001], config=dict(observed.instances[50001].config) | {"pool_mode": "session"}
    )
    todo = plan(wanted, made, replace(observed, instances=dict(observed.instances) | {50001: touched}))
    assert todo.reload == (50001,)


@pytest.mark.parametrize("found", [FoundFile(b"x", 0o600, 6432), FoundFile(b"", 0o644, 6432), FoundFile(b"", 0o600, 0)])
def test_a_file_changed_by_hand_is_written_again(found: FoundFile) -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    observed = converged(wanted, made)
    path = made.release_files[0].path
    if not found.content:
        found = replace(found, content=made.release_files[0].content)
    todo = plan(wanted, made, replace(observed, files=dict(observed.files) | {path: found}))
    assert [file.path for file in todo.write] == [path]


def test_who_opens_the_port_cannot_change_one_instance_after_the_other() -> None:
    todo = changed(pooler(), pooler(dispatch="engine"))
    assert todo.effect == Effect.DISRUPTIVE
    assert todo.together
    assert todo.delete == ("/etc/systemd/system/pgbouncer@.socket",)


def test_an_instance_whose_socket_unit_is_gone_is_restarted() -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    observed = converged(wanted, made)
    bare = replace(observed.instances[50001], socket=False)
    todo = plan(wanted, made, replace(observed, instances=dict(observed.instances) | {50001: bare}))
    assert todo.restart == (50001,)


def test_a_users_settings_are_taken_back_by_a_line_that_says_nothing() -> None:
    before = pooler(users=[{"name": "u", "pool_mode": "session"}])
    after = bundle.build(pooler(), replace(FACTS, users=converged(before, bundle.build(before, FACTS)).users()))
    assert _ini(after, 50001).users == {"u": {}}


def test_a_setting_without_a_default_is_taken_back_by_a_restart() -> None:
    assert changed(pooler(), pooler(userlist_only=True)).effect == Effect.ROLLING_RESTART


def test_a_star_that_goes_is_forgotten_by_a_restart() -> None:
    before = pooler(databases=[{"name": "*"}])
    assert changed(before, pooler()).effect == Effect.ROLLING_RESTART
    assert changed(pooler(), before).effect == Effect.RELOAD


def test_another_port_makes_clients_reconnect() -> None:
    assert changed(pooler(), pooler(port=6433)).effect == Effect.DISRUPTIVE


def test_a_forced_user_is_taken_back_by_a_restart() -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    observed = converged(wanted, made)
    forced = dict(observed.instances[50001].databases) | {
        "app": dict(observed.instances[50001].databases["app"]) | {"force_user": "alice"}
    }
    instances = dict(observed.instances) | {50001: replace(observed.instances[50001], databases=forced)}
    assert plan(wanted, made, replace(observed, instances=instances)).restart == (50001,)


def test_a_removed_user_and_one_with_another_password_are_out_at_once() -> None:
    password = secrets.token_hex(8)
    before = pooler(users=[{"name": "a", "password": password}, {"name": "b", "password": password}])
    after = pooler(users=[{"name": "a", "password": password + "!"}])
    assert changed(before, after).expel == ("a", "b")
    observed = converged(before, bundle.build(before, FACTS))
    same = bundle.build(before, replace(FACTS, verifiers=observed.verifiers()))
    assert plan(before, same, observed).expel == ()


def test_a_user_who_loses_the_admins_seat_is_out_at_once() -> None:
    before, after = pooler(users=[{"name": "a", "console": "admin"}]), pooler(users=[{"name": "a", "console": "stats"}])
    assert changed(before, after).expel == ("a",)
    assert changed(after, before).expel == ()


def test_server_connections_made_with_an_old_password_are_replaced() -> None:
    entry = {"name": "app", "user": "app"}
    before = pooler(databases=[entry | {"password": secrets.token_hex(8)}])
    after = pooler(databases=[entry | {"password": secrets.token_hex(8)}])
    todo = changed(before, after)
    assert (todo.effect, todo.reconnect) == (Effect.RECYCLE, ("app",))


def test_an_unfinished_run_is_finished_though_nothing_differs() -> None:
    wanted = pooler(users=[{"name": "b", "password": "x"}])
    made = bundle.build(wanted, FACTS)
    left = Unfinished(expel=("a",), reconnect=("app", "dropped"))
    todo = plan(wanted, made, replace(converged(wanted, made), unfinished=left))
    assert (todo.reload, todo.expel, todo.reconnect) == ((50001, 50002), ("a",), ("app",))


def test_who_goes_is_out_before_the_first_instance_is_drained() -> None:
    before = pooler(users=[{"name": "a", "password": "x"}])
    todo = changed(before, pooler(settings={"pkt_buf": 16384}))
    assert (todo.restart, todo.reload, todo.expel) == ((50001, 50002), (50001, 50002), ("a",))


def test_a_dead_instance_is_started_and_its_neighbour_left_alone() -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    observed = converged(wanted, made)
    dead = replace(observed.instances[50002], active=False, config={}, databases={})
    todo = plan(wanted, made, replace(observed, instances=dict(observed.instances) | {50002: dead}))
    assert (todo.start, todo.reload, todo.restart) == ((50002,), (), ())


def test_fewer_instances_leave_nothing_behind() -> None:
    todo = changed(pooler(instances=3), pooler(instances=2))
    assert todo.remove == (50003,)


def test_removal_names_every_instance() -> None:
    wanted = pooler()
    assert removal(converged(wanted, bundle.build(wanted, FACTS))).remove == (50001, 50002)


def test_limits_of_the_host_are_divided_among_the_instances() -> None:
    made = bundle.build(pooler(settings={"max_client_conn": 1000, "default_pool_size": 10}), FACTS)
    settings = _ini(made, 50001).pgbouncer
    assert settings["max_client_conn"] == "500"
    assert settings["default_pool_size"] == "10"


def test_every_instance_knows_its_peers_by_their_sockets() -> None:
    made = bundle.build(pooler(instances=3), FACTS)
    peers = _ini(made, 50002).peers
    assert {peer["host"] for peer in peers.values()} == {f"/run/pgbouncer/{n}" for n in (50001, 50002, 50003)}
    assert _ini(made, 50002).pgbouncer["peer_id"] == "2"


def test_startup_options_are_always_ignored_whatever_a_client_sends() -> None:
    assert "options" in _ini(bundle.build(pooler(), FACTS), 50001).pgbouncer["ignore_startup_parameters"].split(",")


def test_clients_are_kept_out_of_the_database_that_auth_query_uses() -> None:
    for rules in ([], ["host all all all scram-sha-256"]):
        (text,) = (
            f.content.decode() for f in bundle.build(pooler(hba=rules), FACTS).files if f.path.endswith("hba.conf")
        )
        first = text.splitlines()[0].split()
        assert AUTH_DATABASE in first[1].split(",")
        assert first[-1] == "reject"


def test_a_verifier_in_use_is_kept_and_a_changed_password_makes_a_new_one() -> None:
    password = secrets.token_hex(8)
    first = bundle.build(pooler(users=[{"name": "u", "password": password}]), FACTS)
    kept = userlist.parse(_userlist(first), name="userlist.txt")
    again = bundle.build(pooler(users=[{"name": "u", "password": password}]), replace(FACTS, verifiers=kept))
    other = bundle.build(pooler(users=[{"name": "u", "password": password + "!"}]), replace(FACTS, verifiers=kept))
    assert again.release == first.release
    assert other.release != first.release
    assert scram.verifies(userlist.parse(_userlist(other), name="userlist.txt")["u"], password + "!")


def test_a_password_is_in_no_file() -> None:
    password = secrets.token_hex(8)
    made = bundle.build(pooler(users=[{"name": "u", "password": password}]), FACTS)
    assert not any(password.encode() in file.content for file in made.files)


def test_the_diff_of_a_userlist_shows_that_it_changes_and_nothing_of_it() -> None:
    before = pooler(users=[{"name": "u", "password": secrets.token_hex(8)}])
    after = pooler(users=[{"name": "u", "password": secrets.token_hex(8)}])
    made = bundle.build(after, FACTS)
    observed = converged(before, bundle.build(before, FACTS))
    shown = diff.files(observed, made, plan(after, made, observed))
    assert [entry["before_header"] for entry in shown[1:]] == ["/etc/pgbouncer/releases/RELEASE/userlist.txt"]
    assert "SCRAM" not in str(shown)


def _userlist(made: Bundle) -> str:
    (text,) = (file.content.decode() for file in made.files if file.path.endswith("userlist.txt"))
    return text


def test_what_a_broken_run_had_still_to_do_is_done() -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    left = observed.unfinished(["expel alice", "reconnect app", "reconnect gone", "drain 50002"])
    todo = plan(wanted, made, replace(converged(wanted, made), unfinished=left))
    assert (todo.reload, todo.restart) == ((50001, 50002), (50002,))
    assert (todo.expel, todo.reconnect) == (("alice",), ("app",))


def test_an_instance_that_would_not_start_with_the_host_is_enabled_and_not_restarted() -> None:
    wanted = pooler()
    made = bundle.build(wanted, FACTS)
    seen = converged(wanted, made)
    hidden = replace(seen, instances={**seen.instances, 50001: replace(seen.instances[50001], enabled=False)})
    todo = plan(wanted, made, hidden)
    assert (todo.units, todo.reload, todo.restart, todo.effect) == (True, (), (), Effect.NONE)
