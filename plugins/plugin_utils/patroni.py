# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Patroni, asked and told from inside its container on a host: one exec for an order and everything said after it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...pooler import patroni_inside, rolling
from ...pooler.rolling import Cluster, Member
from .host import Host, HostError


class NoContainerError(HostError):
    """The host has no such container; in check mode a role that comes earlier may still have to make it."""


class PatroniError(HostError):
    """Patroni does not answer as it should; it may a little later."""


@dataclass(frozen=True)
class Heard:
    """`order`: HTTP status (0: none) and words in answer to the order. `at_start`: settings that need a restart."""

    cluster: Cluster
    order: tuple[int, str] = (0, "")
    at_start: frozenset[str] = frozenset()


class Patroni:
    """`access` has `url`, `ca`, `cert`, `key` and `user`, as `pooler.patroni_inside` takes them."""

    def __init__(self, host: Host, container: str, access: Mapping[str, str]) -> None:
        self._host = host
        self._container = container
        self._access = dict(access)

    def look(self, *, at_start: bool = False) -> Heard:
        """Changes nothing. Raises HostError."""
        return self._run({"at_start": at_start})

    def patch(self, changes: Mapping[str, Any]) -> Heard:
        return self._run({"patch": changes})

    def restart(self, member: Member, timeout: int) -> Heard:
        """Restart PostgreSQL there when Patroni says that it is due; `timeout` is in seconds."""
        return self._run({"restart": member.url, "timeout": timeout})

    def _run(self, order: Mapping[str, Any]) -> Heard:
        program = Path(patroni_inside.__file__).read_text(encoding="utf-8")
        call = f"main(json.loads({json.dumps({**self._access, **order})!r}))"
        answer = self._host.pipe(_script(self._container), f"{program}\n\n{call}\n".encode())
        if answer.failed:
            error = NoContainerError if answer.text("container") == "missing" else HostError
            raise error(f"{self._host.name}: {answer.failed}")
        return self._heard(json.loads(answer.lines("answer")[-1]))

    def _heard(self, said: Mapping[str, Any]) -> Heard:
        for what in ("config", "cluster"):
            status, words = said[what]
            if status != 200:
                raise PatroniError(
                    f"{self._host.name}: Patroni, asked for /{what}, says {status or ''} {words.strip()}"
                )
        cluster = rolling.parse(said["config"][1], said["cluster"][1], said["members"], said["applied"])
        status, words = said.get("order", (0, ""))
        return Heard(cluster, (status, words.strip()), frozenset(said.get("at_start", ())))


def _script(container: str) -> str:
    name = shlex.quote(container)
    return f"""
section container
state=$(podman container inspect --format '{{{{.State.Status}}}}' {name} 2>/dev/null) || state=missing
echo "$state"
[ "$state" = running ] || {{
  printf 'the container %s is %s: start it, or name another with the option container\\n' {name} "$state" >&2; exit 1
}}
section answer
podman exec --interactive {name} python3 -
"""
