"""Our own roles go over to a password under load, in two runs as docs/passwords.md has it, and back to certificates."""

from __future__ import annotations

import secrets
import tempfile
from pathlib import Path

from tests.drills.figures import Figure
from tests.drills.under_load import Mark

from .rotation import copied_leaves, refusals
from .scene import DATABASES, Scene

SITE = "pgfleet.pooler.site"
_MAY = ("/userlist.txt", "/agent.json")
"""Where the password of PgBouncer's role has to be, since nobody can log in with a verifier."""
_MAY_STAY = ("/userlist.txt",)
"""Of the releases before, where it opens nothing any more."""


def methods(scene: Scene) -> list[Figure]:
    what = "our roles by password"
    password = secrets.token_hex(16)
    known = {"pgbouncer_auth_query": {"password": password}, "auth_query_role_password": password}
    asked, meanwhile = 0, list[Figure]()

    def event(mark: Mark) -> None:
        nonlocal asked, meanwhile
        scene.play(SITE, **known)
        scene.play(SITE, **known, spilo_auth_method="scram-sha-256")
        mark("by password")
        asked = _asked(scene)
        meanwhile = scene.found(what, {password}, _MAY)
        scene.play(SITE, **known)
        scene.play(SITE)
        mark("by certificate again")

    figures = scene.felt(what, event)
    every = f"of {len(DATABASES)}"
    return [
        *figures,
        Figure(f"{what}: servers that ask for it", asked, every, least=len(DATABASES)),
        Figure(f"{what}: servers that ask for it when certificates are back", _asked(scene), every, 0),
        *meanwhile,
        *scene.found(f"{what}, when certificates are back", {password}, _MAY_STAY),
        scene.went_wrong(what),
    ]


def _asked(scene: Scene) -> int:
    """How many servers ask PgBouncer's role for a password when it shows its certificate."""
    with tempfile.TemporaryDirectory(prefix="pgfleet-drill-") as directory:
        doors = [door for door in copied_leaves(scene, Path(directory)) if door["protocol"] == "postgresql"]
        return sum("SCRAM-SHA-256" in words for words in refusals(scene, doors))
