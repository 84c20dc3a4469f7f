"""What large fleets cost the controller, in counts: derivations, trips, readings of a file. `make bench` has times."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

# The action imports the package by its name in the collection, and what is counted has to be the same one.
from ansible_collections.pgfleet.pooler.plugins.action import auth_query, postgresql_objects
from ansible_collections.pgfleet.pooler.plugins.plugin_utils import goal
from ansible_collections.pgfleet.pooler.pooler import bundle, derivations, scram, userlist, variables

from tests.bench import simulated, work

ROOT = Path(__file__).parents[2]


class Calls:
    """How often a function of the package is called, by its module and name."""

    def __init__(self, patch: pytest.MonkeyPatch, module: Any, name: str) -> None:
        self.count = 0
        self._real = getattr(module, name)
        patch.setattr(module, name, self._call)

    def _call(self, *arguments: Any, **named: Any) -> Any:
        self.count += 1
        return self._real(*arguments, **named)


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch, scram, "keys")


def host(options: simulated.Options) -> simulated.Host:
    made = simulated.Host()
    made.converge(options)
    return made


def test_a_simulated_host_is_one_that_needs_nothing() -> None:
    options = simulated.fleet(3, 3, 3)
    result = work.task(host(options), options)
    assert (result["effects"], result["trips"]) == ([], 1)


def test_users_with_verifiers_cost_no_derivation(keys: Calls) -> None:
    options = simulated.fleet(2, 300, 2)
    assert work.task(simulated.Host(), options)["changed"]
    assert not work.task(host(options), options)["changed"]
    assert keys.count == 0


def test_users_with_passwords_cost_one_derivation_each(keys: Calls) -> None:
    options = simulated.fleet(2, 7, 2, passwords=7)
    assert work.task(simulated.Host(), options)["changed"]
    assert keys.count == 7
    assert not work.task(host(options), options)["changed"]
    assert keys.count == 14


def test_a_verifier_that_postgresql_and_the_userlist_share_is_tried_once(keys: Calls) -> None:
    password = secrets.token_urlsafe()
    verifier = scram.verifier(secrets.token_urlsafe(), iterations=1)
    (user,) = variables.users([{"name": "app", "password": password}])
    before = keys.count
    found = bundle.verifiers([user], {"app": verifier}, {"app": verifier})
    assert keys.count - before == 2  # the one that does not fit, and the new one
    assert scram.verifies(found["app"], password)


def test_a_task_takes_each_userlist_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    options = simulated.fleet(2, 20, 2)
    made = host(options)
    readings = Calls(monkeypatch, userlist, "noted")
    work.task(made, options)
    assert readings.count == 2  # the one in force and the one that is to be


class Cluster:
    """A PostgreSQL that is as this audit says."""

    name, trips = "db1", 0

    def __init__(self, audit: dict[str, Any]) -> None:
        self.audit = audit

    def ask(self, _database: str, _audit: str, _statements: Sequence[str] = ()) -> dict[str, Any]:
        return self.audit


SERVER = {
    "server_version": 170006,
    "in_recovery": False,
    "read_only": False,
    "database": "postgres",
    "user": "postgres",
    "superuser": True,
}


def test_login_roles_by_password_cost_one_derivation_each_and_those_by_verifier_none(keys: Calls) -> None:
    given: list[dict[str, Any]] = [{"name": f"u{number}", "password": secrets.token_urlsafe()} for number in range(3)]
    given += [{"name": "ready", "verifier": scram.nobodys()}]
    options: dict[str, Any] = {
        "login": True,
        "acts_as": None,
        "certificate": False,
        "member_of": [],
        "password": None,
        "verifier": None,
    }
    properties: dict[str, Any] = {
        "login": True,
        "superuser": False,
        "replication": False,
        "acts_as": None,
        "member_of": [],
    }
    found = [
        {**properties, "name": user["name"], "verifier": user.get("verifier") or scram.verifier(user["password"])}
        for user in given
    ]
    before = keys.count
    wanted = {"state": "present", "users": [options | user for user in given], "databases": []}
    place = Cluster(SERVER | {"roles": found, "databases": []})
    result = goal.reach(postgresql_objects.wish(wanted), place, check=False, diff=True)
    assert not result["changed"]
    assert keys.count - before == 3


def test_the_password_of_the_role_that_asks_costs_one_derivation(keys: Calls) -> None:
    password = secrets.token_urlsafe()
    names = {"role": "pgbouncer", "schema": "pgbouncer", "function": "get_auth", "database": "postgres"}
    wanted = {**names, "state": "present", "role_password": password, "role_verifier": None}
    attributes = ("superuser", "createdb", "createrole", "inherit", "replication", "bypassrls", "valid_until")
    role: dict[str, Any] = {
        "login": True,
        "connection_limit": -1,
        "has_password": True,
        "verifier": scram.verifier(password),
    }
    audit: dict[str, Any] = {
        name: [] for name in ("settings", "members", "functions", "hba", "rights", "member_of", "held")
    }
    audit |= {"role": role | dict.fromkeys(attributes), "owner": "postgres", "schema": None, "default_grants": []}
    before = keys.count
    place = Cluster(SERVER | audit)
    result = goal.reach(
        auth_query.wish(wanted | {"superusers": False, "replication": False}), place, check=True, diff=True
    )
    assert not any("password" in each for each in result["differences"])
    assert keys.count - before == 1


def test_many_passwords_have_word_of_how_far_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(derivations, "CHUNK", 2)
    passwords = {f"u{number}": secrets.token_urlsafe(6) for number in range(5)}
    told: list[str] = []
    found = derivations.verifiers(passwords, tell=told.append)
    assert [words.split()[0] for words in told] == ["2", "4", "5"]
    assert list(found) == list(passwords)
    assert all(scram.verifies(found[name], password) for name, password in passwords.items())
    assert not any(password in words for words in told for password in passwords.values())


def test_few_passwords_are_no_news() -> None:
    told: list[str] = []
    derivations.verifiers({"u": secrets.token_urlsafe()}, tell=told.append)
    assert told == []


def test_a_verifier_that_nobody_has_a_password_for_costs_no_derivation(keys: Calls) -> None:
    assert scram.is_verifier(scram.nobodys())
    assert scram.nobodys() != scram.nobodys()
    assert keys.count == 0


@pytest.mark.parametrize(("role", "tasks"), [("auth_query", 2), ("pgbouncer", 1)])
def test_what_makes_a_pooler_is_three_tasks(role: str, tasks: int) -> None:
    """Each costs a process of the controller on each host, whether anything changes or not."""
    main = ROOT / "roles" / role / "tasks/main.yml"
    assert len(yaml.safe_load(main.read_text())) == tasks


@pytest.mark.parametrize("playbook", ["certificates", "poolers", "site"])
def test_playbooks_leave_checking_options_to_the_modules(playbook: str) -> None:
    """Ansible would add a task to each role, which is a process more for each host."""
    plays = yaml.safe_load((ROOT / "playbooks" / f"{playbook}.yml").read_text())
    assert not any("roles" in play for play in plays)
    imported = [task for play in plays for task in play.get("tasks", ()) if "ansible.builtin.import_role" in task]
    assert imported
    # What has no task of its own has no options to check either.
    imported = [task for task in imported if task["ansible.builtin.import_role"].get("tasks_from") != "options"]
    assert all(task["ansible.builtin.import_role"]["rolespec_validate"] is False for task in imported)


def test_the_options_of_certificates_come_without_a_task() -> None:
    assert yaml.safe_load((ROOT / "roles/certificates/tasks/options.yml").read_text()) == []


@pytest.mark.parametrize("role", ["certificates", "pgbouncer"])
def test_the_task_of_a_role_needs_no_filter(role: str) -> None:
    """The first filter, or test, of a process has Ansible load all of them."""
    text = (ROOT / "roles" / role / "tasks/main.yml").read_text()
    assert not re.findall(r"\|\s*\w|\bis\b", text)
