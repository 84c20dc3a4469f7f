"""What a run of the load is told: where the pool is, who logs in, how many clients of each kind."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields

from ..errors import InvalidError, Problem, nearest

WORK = ("mixed", "write", "read")


@dataclass(frozen=True)
class Settings:
    """Times are in seconds. `workers` keep their connections, `logins` open one for every query, `knocks` open one,
    ask for TLS, and leave at the answer. Each waits its pause between two turns, give or take a half.

    `host` may name several, with commas between: clients take them in turn. `work` is what the workers do: `mixed`, or
    `write`, one transaction with INSERT, UPDATE and SELECT, or `read`, which writes nothing and needs no table.
    `back_off` is waited after an error, besides the pause. `ca` is the file of the certificate that clients
    trust; the system's are, when it is empty.
    `most_seconds`, and `most_turns` of all clients of a kind together, end a run that nobody stops.
    """

    host: str
    user: str
    database: str
    password: str = field(repr=False)
    ca: str
    port: int = 6432
    workers: int = 8
    worker_pause: float = 0.02
    work: str = "mixed"
    back_off: float = 0.0
    logins: int = 3
    login_pause: float = 0.1
    knocks: int = 24
    knock_pause: float = 0.05
    hung_after: float = 10.0
    warm_up: float = 60.0
    most_seconds: float = 900.0
    most_turns: int = 1_000_000

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Raises InvalidError for what it does not know."""
        try:
            given = json.loads(text)
        except ValueError as error:
            raise InvalidError([Problem("settings of the load", f"are not JSON: {error}")]) from None
        if not isinstance(given, dict):
            raise InvalidError([Problem("settings of the load", "are not an object")])
        known = {each.name: each for each in fields(cls)}
        problems = [
            Problem(name, "is not a setting of the load", nearest(name, known)) for name in given if name not in known
        ]
        problems += [Problem(name, "is missing") for name in _NEEDED if name not in given]
        for name in given.keys() & known.keys():
            value, kind = given[name], str(known[name].type)
            if not isinstance(value, _TYPES[kind]) or isinstance(value, bool):
                problems.append(Problem(name, f"must be {kind}"))
            elif isinstance(value, int | float) and value < 0:
                problems.append(Problem(name, "must not be negative"))
        if given.get("work", "mixed") not in WORK:
            problems.append(Problem("work", f"must be one of {', '.join(WORK)}"))
        if problems:
            raise InvalidError(problems)
        return cls(**given)

    def host_of(self, client: int) -> str:
        hosts = self.host.split(",")
        return hosts[client % len(hosts)]


_NEEDED = ("host", "user", "database", "password", "ca")
_TYPES: dict[str, type | tuple[type, ...]] = {"str": str, "int": int, "float": (int, float)}
