# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The `pooler` command in the agent's container of a host, which has the leaf and the configuration it needs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

from .host import Host, HostError


def run(host: Host, container: str, words: Sequence[str]) -> dict[str, Any]:
    """What the command prints as JSON, also when it ends with 1 and says in there why.

    Once begun it needs nobody: when the connection is lost it goes on to its end. Raises HostError with the host's
    words when there is no answer.
    """
    # At the agent's own priority: while it waits for the processor, so do all clients.
    command = shlex.join(["nice", "-n", "-10", "podman", "exec", container, "pooler", *words, "--json"])
    answer = host.read(
        f'section answer\nanswer=$({command}) || {{ status=$?; [ -n "$answer" ] || return $status; }}\n'
        "printf '%s\\n' \"$answer\""
    ).text("answer")
    try:
        found: dict[str, Any] = json.loads(answer)
    except ValueError:
        raise HostError(f"{host.name}: pooler {words[0]} in {container} is not understood: {answer[:200]}") from None
    return found


def repeated(option: str, values: Sequence[str]) -> list[str]:
    """The option once for each value."""
    return [word for value in values for word in (option, value)]
