"""The Compose project: how long it takes, what a line more changes, and the acceptance of the main job."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance import variables
from tests.drills.figures import Figure
from tests.lab import hosts, images
from tests.secret_search import search

from .stage import Stage

ACCEPTANCE = "tests/acceptance/compose"
POSTGRES_UID = 101


def up(stage: Stage) -> list[Figure]:
    """From variables to a client that is served."""
    write(stage, model(stage))
    began = time.monotonic()
    stage.compose("up", "--detach")
    stage.until("a first login", stage.logs_in)
    return [Figure("compose: from `up` to the first login", time.monotonic() - began, "s")]


def rows(stage: Stage, *, short: bool) -> list[Figure]:
    before = _containers(stage)
    stage.compose("up", "--detach")
    anew = _containers(stage)
    figures = [Figure("compose: containers replaced by an `up` without a change", _replaced(before, anew), "", 0)]
    figures += _a_line_more(stage, anew)
    found = search(stage.sh, _words(stage))
    for place in sorted(found):
        stage.tried(f"no secret in {place}", worked=False)
    figures.append(Figure("compose: places with a secret on the host", len(found), "", 0))
    if not short:
        figures += _acceptance(stage)
    return figures


def model(stage: Stage) -> dict[str, Any]:
    """The inventory of the main job's scenarios, in the words of a project."""
    given = stage.variables
    return {
        "databases": [{**entry, "owner": "app"} for entry in given["pgbouncer_databases"]],
        "users": given["postgresql_users"],
        "names": [stage.host, stage.address],
        "publish": ["0.0.0.0"],
        "postgresql": {"image": images.spilo.REFERENCE, "uid": POSTGRES_UID},
        "pgbouncer": {"users": given["pgbouncer_users"], "nofile": 8192},
    }


def write(stage: Stage, given: dict[str, Any]) -> None:
    """Render, and bring what containers read to the host, to the same path."""
    file = stage.place / "model.yml"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(given, allow_unicode=True))
    stage.render("compose", file, stage.project, said=f"{stage.variables['certificates_passphrase']}\n")
    packed = subprocess.run(["tar", "-C", "/", "-c", str(stage.project / "files")[1:]], capture_output=True, check=True)
    place = stage.place / "files.tar"
    place.touch(mode=0o600)
    place.write_bytes(packed.stdout)
    stage.sh(f"rm -rf {stage.project}/files")
    with place.open("rb") as archive:
        subprocess.run(hosts.enter(stage.lab, stage.host, ["tar", "-C", "/", "-x"]), stdin=archive, check=True)


def _words(stage: Stage) -> set[str]:
    """The words by which its passwords are recognised."""
    return variables.tokens(stage.variables)


def _a_line_more(stage: Stage, before: dict[str, str]) -> list[Figure]:
    """A database and a user, one line each; clients of the database that was there before stay served."""
    given = model(stage)
    given["databases"].append({"name": "shop", "owner": "shop", "pool_size": 3})
    given["users"].append({"name": "shop"})
    began = time.monotonic()
    write(stage, given)
    stage.compose("up", "--detach")
    password = (stage.project / "passwords/shop").read_text().strip()
    stage.until("a login of the new user", lambda: stage.logs_in(user="shop", dbname="shop", password=password))
    seconds = time.monotonic() - began
    after = _containers(stage)
    others = {name for name in before if not re.fullmatch(r"pgbouncer-\d+", name)}
    touched = sum(before[name] != after.get(name) for name in others)
    return [
        Figure("compose: from two lines more to a login there", seconds, "s"),
        Figure("compose: containers replaced by it besides the instances", touched, "", 0),
        Figure("compose: instances replaced by it", _replaced(before, after) - touched, "", 2, least=2),
    ]


def _containers(stage: Stage) -> dict[str, str]:
    """Those that stay, by name."""
    listed = json.loads(stage.podman("ps", "--format", "json"))
    return {each["Names"][0]: each["Id"] for each in listed}


def _replaced(before: dict[str, str], after: dict[str, str]) -> int:
    return sum(after.get(name) != identity for name, identity in before.items())


def _acceptance(stage: Stage) -> list[Figure]:
    """The tests of the main job that are about clients, against this project."""
    inventory = stage.place / "inventory"
    inventory.mkdir()
    pki = stage.place / "pki"
    pki.mkdir()
    for source, name in (("ca.crt", "ca.crt"), ("authority/ca.key", "ca.key")):
        (pki / name).write_bytes((stage.project / source).read_bytes())
    written = inventory / "variables.yml"
    written.touch(mode=0o600)
    written.write_text(yaml.safe_dump({"all": {"vars": stage.variables}}, allow_unicode=True))
    environment = {
        **os.environ,
        "MOLECULE_EPHEMERAL_DIRECTORY": str(stage.place),
        "MOLECULE_SCENARIO_NAME": stage.lab,
        "MOLECULE_PROJECT_DIRECTORY": str(Path.cwd()),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", ACCEPTANCE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    counted = {word: int(count) for count, word in re.findall(r"(\d+) (passed|failed|error)", done.stdout)}
    if done.returncode:
        print(done.stdout[-6000:], done.stderr[-1000:], file=sys.stderr)
    failed = counted.get("failed", 0) + counted.get("error", 0) + (1 if done.returncode and not counted else 0)
    return [Figure("compose: tests of the main job that fail", failed, f"of {sum(counted.values())}", 0)]
