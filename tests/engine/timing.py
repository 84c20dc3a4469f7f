"""How long users and strangers are busied with: `python -m tests.engine.timing [logins]`.

Whoever is not let in could tell users by how long the refusal takes. The last column says how well: the share of pairs,
one user and one stranger, in which the stranger took longer. 50 % is no better than to guess, 0 or 100 % is certain.
"""

from __future__ import annotations

import bisect
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "build"))

import psycopg

from pooler import auth_query
from tests.engine.chain import GUIDE, PORT, Chain, chain
from tests.engine.probe import probe

USERS, STRANGERS, NOT_LET_IN = ("alice", "bob"), ("nobody", "stranger"), ("expired", "root")


def main() -> None:
    logins = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    print(f"{'milliseconds, median (10 % to 90 %)':38} {'user':>20} {'stranger':>20} {'stranger longer':>16}")
    with chain() as tier:
        with tier.owner_as("pgbouncer") as session:
            cursor = psycopg.RawCursor(session)
            query = auth_query.query(auth_query.AuthQuery()).encode()
            ours = (*STRANGERS, *NOT_LET_IN)
            report("the function alone", 20 * logins, ours, lambda user: cursor.execute(query, [user]).fetchall())
        report("login, our pooler", logins, ours, lambda user: login(tier, user, PORT))
        report("login, pooler of guides", logins, STRANGERS, lambda user: login(tier, user, GUIDE))


def login(tier: Chain, user: str, port: int) -> object:
    return probe(tier.dial(port), user, "app")


def report(what: str, times: int, strangers: Sequence[str], ask: Callable[[str], object]) -> None:
    """Users and strangers in random order, so that what else the machine does meets both."""
    names = [random.choice(kind) for kind in (USERS, strangers) for _ in range(times)]
    random.shuffle(names)
    for name in (*USERS, *strangers):
        ask(name)
    took: dict[bool, list[float]] = {True: [], False: []}
    for name in names:
        began = time.perf_counter()
        ask(name)
        took[name in USERS].append(1000 * (time.perf_counter() - began))
    users, others = took[True], sorted(took[False])
    longer = sum(len(others) - bisect.bisect_right(others, one) for one in users)
    share = 100 * longer / (len(users) * len(others))
    print(f"{what:38} {shown(users):>20} {shown(others):>20} {share:>14.1f} %")


def shown(values: Sequence[float]) -> str:
    tenths = statistics.quantiles(values, n=10)
    return f"{statistics.median(values):.2f} ({tenths[0]:.2f}–{tenths[-1]:.2f})"


if __name__ == "__main__":
    main()
