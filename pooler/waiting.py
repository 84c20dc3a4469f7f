"""How long clients of a pool wait for a server connection: a queue with as many customers as there are clients.

Transactions and the pauses between them are taken as exponentially distributed, connections as alike (the machine
repair model, M/M/c//N). How long a transaction holds its connection is taken as given: it grows when more of them run
than PostgreSQL has cores for, of which the model knows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log


@dataclass(frozen=True)
class Waiting:
    """Of one pool. `seconds` is the mean over all transactions, `busy` the share of time that a connection works."""

    seconds: float
    per_second: float
    busy: float


def predicted(clients: int, servers: int, held: float, between: float) -> Waiting:
    """`held` is the mean time in seconds of a transaction, `between` that of a client's pause after it."""
    if between <= 0:
        all_at_work = min(clients, servers)
        return Waiting(held * clients / all_at_work - held, all_at_work / held, all_at_work / servers)
    # How probable it is that so many clients are in a transaction or wait for one.
    weights = [0.0]
    for present in range(1, clients + 1):
        comes, goes = log(clients - present + 1) - log(between), log(min(present, servers)) - log(held)
        weights.append(weights[-1] + comes - goes)
    most = max(weights)
    chances = [exp(weight - most) for weight in weights]
    whole: float = sum(chances)
    working = sum(chance * min(present, servers) for present, chance in enumerate(chances)) / whole
    queue = sum(chance * max(0, present - servers) for present, chance in enumerate(chances)) / whole
    per_second = working / held
    return Waiting(queue / per_second, per_second, working / servers)
