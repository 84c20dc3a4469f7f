"""Plans against PgBouncer itself: what is carried out leads to what a start with the new files leads to.

PGFLEET_HISTORIES is the number of random histories of a host for each property.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import product

import psycopg
import pytest
from hypothesis import HealthCheck, event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pooler import bundle, settings, variables
from pooler.bundle import Facts
from pooler.model import Pooler
from pooler.plan import Effect, Plan, plan
from tests.engine import histories, trial
from tests.engine.histories import Variables
from tests.engine.miniature import TLS, Instance, Miniature, Row, certified, miniature, planned

engine_settings = hypothesis_settings(
    max_examples=int(os.environ.get("PGFLEET_HISTORIES", "50")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

COUNTERS = {"current_connections", "current_client_connections"}
NOWHERE = "nowhere"
"""A database of which no inventory knows."""


@dataclass(frozen=True)
class Hosts:
    """`changed` goes from the old state to the new one; `fresh` is started with the new one."""

    changed: Miniature
    fresh: Miniature


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    files = certified()
    with ExitStack() as stack:
        found = Hosts(stack.enter_context(miniature()), stack.enter_context(miniature()))
        for host in (found.changed, found.fresh):
            host.write(files)
        yield found


# Random histories


@engine_settings
@given(history=histories.histories(most=3), facts=st.lists(histories.FACTS, min_size=3, max_size=3))
def test_applied_plan_yields_what_a_fresh_start_yields(
    hosts: Hosts, history: list[Variables], facts: list[Facts]
) -> None:
    poolers = [variables.read(each) for each in history]
    hosts.changed.fresh(bundle.build(poolers[0], facts[0]), *poolers[0].consoles)
    for new, wanted in zip(poolers[1:], facts[1:], strict=False):
        made, _, todo = planned(hosts.changed, new, wanted)
        event(f"the plan is: {todo.effect}")

        hosts.changed.apply(todo, made)

        assert plan(new, made, hosts.changed.observed(new, made)) == Plan()
        hosts.fresh.fresh(made, *new.consoles)
        for console in new.consoles:
            changed, fresh = hosts.changed.instances[console], hosts.fresh.instances[console]
            assert state(changed, fresh) == state(fresh, fresh)
    for console in poolers[-1].consoles:
        changed, fresh = hosts.changed.instances[console], hosts.fresh.instances[console]
        assert served(changed, poolers[-1]) == served(fresh, poolers[-1])


@engine_settings
@given(history=histories.histories(), before=histories.FACTS, after=histories.FACTS)
def test_nothing_is_restarted_where_a_reload_would_do(
    hosts: Hosts, history: list[Variables], before: Facts, after: Facts
) -> None:
    old, new = map(variables.read, history)
    hosts.changed.fresh(bundle.build(old, before), *old.consoles)
    made, seen, todo = planned(hosts.changed, new, after)
    if not todo.restart or any(seen.instances[console].unit_digest != made.unit_digest for console in todo.restart):
        event("no restart, or a new unit")
        return
    if new.auth_query and any(rule.method == "trust" for rule in new.rules):
        event("a rule that trusts, and auth_query")  # who has left the userlist: only a server could show it
        return
    if any(rule.method == "cert" for rule in new.rules):
        event("a rule that asks for a certificate")  # nobody here has one
        return
    before_it, after_it = forced_users(old), forced_users(new)
    if any(before_it[name] != after_it[name] for name in before_it.keys() & after_it.keys()):
        event("another forced user")  # the engine would go by the settings of the former, and show it nowhere
        return
    event("a restart of an unchanged unit")

    hosts.changed.apply(replace(todo, restart=(), reload=(*todo.reload, *todo.restart)), made)

    hosts.fresh.fresh(made, *new.consoles)
    for console in todo.restart:
        changed, fresh = hosts.changed.instances[console], hosts.fresh.instances[console]
        reasons = [str(change) for change in todo.changes if change.effect >= Effect.ROLLING_RESTART]
        assert not alike(changed, fresh, new), reasons


@engine_settings
@given(history=histories.histories(), before=histories.FACTS, after=histories.FACTS, portion=st.floats(0, 1))
def test_second_run_finishes_what_a_broken_one_began(
    hosts: Hosts, history: list[Variables], before: Facts, after: Facts, portion: float
) -> None:
    old, new = map(variables.read, history)
    hosts.changed.fresh(bundle.build(old, before), *old.consoles)
    made, _, todo = planned(hosts.changed, new, after)
    steps = len(hosts.changed.steps(todo, made))
    hosts.changed.apply(todo, made, upto=round(portion * steps))

    made, _, todo = planned(hosts.changed, new, after)
    hosts.changed.apply(todo, made)

    assert plan(new, made, hosts.changed.observed(new, made)) == Plan()
    hosts.fresh.fresh(made, *new.consoles)
    for console in new.consoles:
        changed, fresh = hosts.changed.instances[console], hosts.fresh.instances[console]
        assert state(changed, fresh) == state(fresh, fresh)
        assert served(changed, new) == served(fresh, new)


def test_value_set_by_hand_at_the_console_is_seen_and_taken_back(hosts: Hosts) -> None:
    given = variables.read(histories.PLAIN)
    facts = Facts(histories.LEADERS[0], f"{TLS}/server/01", f"{TLS}/client/01")
    made = bundle.build(given, facts)
    for host in (hosts.changed, hosts.fresh):
        host.fresh(made, *given.consoles)
    (fresh,) = hosts.fresh.instances.values()
    for name, value in histories.RELOADABLE:
        (instance,) = hosts.changed.instances.values()
        text, _ = settings.check("pgbouncer", name, value, place=name, version=trial.version())
        instance.ask(f"SET {name} = '{text}'")
        differs = state(instance, fresh) != state(fresh, fresh)

        todo = plan(given, made, hosts.changed.observed(given, made))
        hosts.changed.apply(todo, made)

        assert bool(todo.reload or todo.restart) == differs, name
        (instance,) = hosts.changed.instances.values()
        assert state(instance, fresh) == state(fresh, fresh), name


def forced_users(wanted: Pooler) -> dict[str, str]:
    return {entry.name: entry.settings["user"] for entry in wanted.databases if "user" in entry.settings}


def alike(changed: Instance, fresh: Instance, wanted: Pooler) -> bool:
    return state(changed, fresh) == state(fresh, fresh) and served(changed, wanted) == served(fresh, wanted)


def served(instance: Instance, wanted: Pooler) -> dict[object, object]:
    """What clients meet: how users are asked who they are, and what `*` makes of a database that nobody named.

    Nothing is asked to which the engine would need a server for an answer: an auth_query, a login without a question.
    """
    entries = {entry.name: entry.settings for entry in wanted.databases}
    answers: dict[object, object] = {"*": fallback(instance)}
    if bool(answers["*"]) != ("*" in entries):
        return answers  # not as wanted, and who asks for NOWHERE may wait for a server
    listed = {user.name for user in wanted.users if user.listed}
    for user, database in product(histories.USERS, sorted({*entries, NOWHERE} - {"*"})):
        entry = entries.get(database, entries.get("*", {}))
        known_here = user in listed or (wanted.auth_query is None and "auth_user" not in entry)
        if known_here and user != histories.TRUSTED:
            answers[user, database] = instance.trial.greet(user, database, source=None)
    if method(wanted, histories.TRUSTED) == "trust" and (histories.TRUSTED in listed or wanted.auth_query is None):
        answers["trusted"] = instance.trial.greet(histories.TRUSTED, "pgbouncer", source=None)
    return answers


def method(wanted: Pooler, user: str) -> str:
    """By what a user without TLS is known in a database that no rule names."""
    rules = (rule for rule in wanted.rules if rule.type == "local" and "all" in rule.databases)
    return next((rule.method for rule in rules if {"all", user} & set(rule.users)), "")


def state(instance: Instance, among: Instance) -> dict[str, list[Row]]:
    """All that it says of its configuration but counters, and but users of whom it knows the name and `among` nothing.

    No engine forgets a name until it ends; without a secret and without settings it means nothing.
    """
    shown = {what: instance.show(what) for what in ("CONFIG", "DATABASES", "USERS", "PEERS")}
    limits = {str(row["key"]): row["value"] for row in shown["CONFIG"]}
    known = {row["name"] for row in among.show("USERS")}
    users = zip(shown["USERS"], nameless(shown["USERS"], limits), strict=True)
    shown["USERS"] = [row for row, bare in users if not bare or row["name"] in known]
    return {
        what: [{name: text for name, text in row.items() if name not in COUNTERS} for row in rows]
        for what, rows in shown.items()
    }


def nameless(users: Sequence[Row], limits: Row) -> Iterator[bool]:
    """Which rows of SHOW USERS tell nothing but a name: the engine forgets no name until it ends.

    Where a user has no sizes, 1.24.1 prints those of the row before, since its buffers live longer than the row.
    """
    before: Row = {"pool_size": "", "reserve_pool_size": ""}
    for row in users:
        yield (
            not row["pool_mode"]
            and all(row[name] in ("", text) for name, text in before.items())
            and all(row[name] == limits[name] for name in ("max_user_connections", "max_user_client_connections"))
        )
        before = {name: row[name] for name in before}


def fallback(instance: Instance) -> list[Row]:
    """The row of a database that nobody named, which the engine keeps for a while; nothing without `*`."""
    rows: list[Row] = []
    while not rows:  # between two commands the engine may put it aside again, since nobody uses it
        try:
            instance.ask(f"RECONNECT {NOWHERE}")
        except psycopg.errors.ProtocolViolation as error:
            if "no such database" in str(error):
                return []
            raise
        rows = [row for row in instance.show("DATABASES") if row["name"] == NOWHERE]
    return rows
