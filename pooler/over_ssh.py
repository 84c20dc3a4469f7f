"""Commands beside the agents of other hosts, over ssh: no password, no certificate, nothing to be installed there."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

CONTAINER = "pgbouncer-agent"


def arguments(ssh: str, host: str, words: Sequence[str]) -> list[str]:
    """What runs `pooler WORDS` in the agent's container of a host. `ssh` is the program, maybe with options.

    Who is root there needs no sudo, and may have none.
    """
    inside = shlex.join(["podman", "exec", "--interactive", CONTAINER, "pooler", *words])
    script = f'if [ "$(id -u)" = 0 ]; then exec {inside}; else exec sudo -n {inside}; fi'
    return [*shlex.split(ssh), host, f"sh -c {shlex.quote(script)}"]
