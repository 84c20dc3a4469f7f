"""Passwords change under load: two logins that act as one role take turns."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pooler.drill.book import Stream
from tests.drills.figures import Figure
from tests.drills.under_load import Mark, under_load

from .scene import POOLER, Scene

PLAYBOOK = "pgfleet.pooler.rotate_passwords"
NAMES = ("app_1", "app_2")
TURNS = 2
WAIT = 120
"""Seconds for the clients of the old login to leave, on a busy machine."""


def rotation(scene: Scene) -> list[Figure]:
    """Each turn the other login comes, clients go over to it, and the old one is withdrawn. Too early it is refused."""
    what = "passwords"
    now = _Login(NAMES[0])
    scene.play(PLAYBOOK, **_inventory(scene, now))
    old: list[_Login] = []
    refused = used = left = 0

    def event(mark: Mark) -> None:
        nonlocal now, refused, used, left
        for turn in range(1, TURNS + 1):
            comes = _Login(NAMES[turn % 2])
            scene.play(PLAYBOOK, **_inventory(scene, comes, now))
            mark(f"turn {turn}: both are let in")
            early = scene.tried(PLAYBOOK, **_inventory(scene, comes, goes=now))
            refused += bool(early.status) and f"{now.name} is still used" in early.output
            used += _connections(scene, now)
            mark(f"turn {turn}: the old one is used")
            mark.become(comes.name, comes.password)
            scene.play(PLAYBOOK, rotate_timeout=WAIT, **_inventory(scene, comes, goes=now))
            mark(f"turn {turn}: the old one is withdrawn")
            left += _connections(scene, now)
            old.append(now)
            now = comes

    settings = replace(scene.settings(), user=now.name, password=now.password)
    report = under_load(scene.fleet.paths.lab, settings, event)
    scene.keep(what, report)
    verdict, transactions = report.verdict, report.tallies[Stream.TRANSACTIONS]
    failed = transactions.failed + verdict.lost + verdict.doubled + verdict.unknown_committed
    new = report.tallies[Stream.LOGINS]
    return [
        Figure(f"{what}: transactions failed or lost", failed, f"of {transactions.succeeded + failed}", 0),
        Figure(f"{what}: logins failed", new.failed, f"of {new.succeeded + new.failed}", 0),
        Figure(f"{what}: sessions ended by us", len(report.closed), "", 0),
        Figure(f"{what}: withdrawals refused while the login was used", refused, f"of {TURNS}", least=TURNS),
        Figure(f"{what}: connections of a used login at the consoles, as the count must see", used, "", least=TURNS),
        # No session was ended either, so nobody used it when it was withdrawn.
        Figure(f"{what}: connections of a withdrawn login at the consoles", left, "", 0),
        Figure(f"{what}: old passwords that still log in", sum(_lets_in(scene, login) for login in old), "", 0),
        Figure(f"{what}: new passwords that log in", float(_lets_in(scene, now)), "", least=1),
        *scene.found(what, {login.password for login in (*old, now)}),
        _one_login(scene, now),
        scene.went_wrong(what),
    ]


def _one_login(scene: Scene, login: _Login) -> Figure:
    """The control: another password for a login that is used. Clients get it as soon as it is in force."""
    changed = _Login(login.name)

    def event(mark: Mark) -> None:
        scene.play("pgfleet.pooler.site", **_inventory(scene, changed))
        mark.become(changed.name, changed.password)

    settings = replace(scene.settings(), user=login.name, password=login.password)
    report = under_load(scene.fleet.paths.lab, settings, event)
    harmed = len(report.closed) + sum(tally.failed for tally in report.tallies.values())
    scene.fleet.role({})
    return Figure("plain: one login with another password: clients harmed, as the count must see", harmed, "", least=1)


class _Login:
    def __init__(self, name: str) -> None:
        self.name = name
        self.password = secrets.token_hex(16)


def _inventory(scene: Scene, *logins: _Login, goes: _Login | None = None) -> dict[str, Any]:
    """What a person writes: the logins of now, in PostgreSQL and in the userlist; one that goes in PostgreSQL alone."""
    owner, *_others = scene.fleet.variables["postgresql_users"]
    users: list[Mapping[str, Any]] = [owner]
    users += [{"name": login.name, "password": login.password, "acts_as": "app"} for login in logins]
    users += [{"name": goes.name, "login": False}] if goes else []
    return {
        "postgresql_users": users,
        "pgbouncer_users": [{"name": login.name, "password": login.password} for login in logins],
    }


def _connections(scene: Scene, login: _Login) -> int:
    """Of clients and to PostgreSQL, on all instances."""
    return sum(row["user"] == login.name for what in ("CLIENTS", "SERVERS") for row in scene.console(f"SHOW {what}"))


def _lets_in(scene: Scene, login: _Login) -> bool:
    """Whether a password logs in through the pool."""
    place = f"host={POOLER} port=6432 dbname=app sslmode=verify-full sslrootcert={scene.fleet.authority}"
    command = [sys.executable, "-m", "tests.lab", "netns", scene.fleet.paths.lab, "--"]
    command += ["psql", "-XAtqc", "SELECT current_user", f"{place} user={login.name}"]
    environment = {**os.environ, "PGPASSWORD": login.password}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    return done.stdout.strip() == "app"
