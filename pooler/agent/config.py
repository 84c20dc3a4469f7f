"""What the agent is told: a JSON file that the model renders and the agent reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

from ..errors import PoolerError

Target = Literal["leader", "replica"]

CONFIG = "/etc/pgbouncer/agent/agent.json"
HOSTS_DIRECTORY = "/etc/pgbouncer/databases"
"""Who writes the hosts file holds an exclusive flock on this directory until the RELOADs are done."""

STATE = "/var/lib/pgbouncer"
PAUSE = f"{STATE}/pause.json"
PAUSED = f"{STATE}/paused"
"""Databases that an operator has paused, one a line; `*` for all."""

DRAINING = f"{STATE}/draining"
"""Exists while the host is taken out."""

LOGINS = "/run/pgbouncer/logins"
"""Where the journal's lines on refused logins are to be had, on a host with systemd."""

DATABASE = "pgbouncer_agent"
REPLICA_DATABASE = "pgbouncer_agent_replica"
"""The entries of [databases] through which the agent asks a pool whether it serves: the leader, and a replica."""


@dataclass(frozen=True)
class AgentConfig:
    """`targets` are the databases whose host the agent sets; times are in seconds, `replica_max_lag` in bytes.

    `one_replica`: all databases for replicas point at one of them, not always the same on other hosts.

    `server_leaf` and `client_leaf` are directories of certificates: the one shown to who asks the agent, and the one
    that the agent shows to PostgreSQL, Patroni and other agents.

    `metrics_certificate`: who asks for metrics has to show a certificate. `nofile` is how many descriptors an instance
    may have, 0 when that is not known.
    """

    port: int
    consoles: tuple[int, ...]
    server_leaf: str
    client_leaf: str
    role: str
    dbname: str
    password: str | None = field(default=None, repr=False)
    listen: tuple[str, ...] = ("*",)
    health_port: int = 9127
    tls: bool = True
    patroni: tuple[str, ...] = ()
    patroni_user: str | None = None
    patroni_password: str | None = field(default=None, repr=False)
    targets: Mapping[str, Target] = field(default_factory=dict)
    replica_max_lag: int = 16 * 1024 * 1024
    replica_fallback: bool = True
    one_replica: bool = False
    pause_on_loss: bool = True
    pause_limit: float = 60.0
    interval: float = 0.25
    metrics_certificate: bool = True
    nofile: int = 0

    def to_json(self) -> str:
        """Stable text: the same configuration is the same file."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, *, name: str) -> AgentConfig:
        """Read what `to_json` wrote. Raises PoolerError, naming the file."""
        try:
            given = json.loads(text)
            unknown = sorted(set(given) - {each.name for each in fields(cls)})
            if unknown:
                raise PoolerError(f"{name}: {', '.join(unknown)} not known to this version of the agent")
            lists = {key: tuple(given[key]) for key in ("consoles", "listen", "patroni") if key in given}
            return cls(**{**given, **lists})
        except (ValueError, TypeError) as error:
            raise PoolerError(f"{name}: {error}") from None
