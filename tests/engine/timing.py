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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psycopg

from pooler import auth_query
from tests.engine.chain import GUIDE, PORT, Chain, chain
from tests.engine.probe import probe

USERS, STRANGERS, NOT_LET_IN = ("alice", "bob"), ("nobody", "stranger"), ("expired", "root")
LOGINS = 300


@dataclass(frozen=True)
class Timing:
    """Milliseconds that each question took."""

    what: str
    users: tuple[float, ...]
    strangers: tuple[float, ...]

    @property
    def longer(self) -> float:
        """Percent of the pairs in which the stranger took longer."""
        strangers = sorted(self.strangers)
        longer = sum(len(strangers) - bisect.bisect_right(strangers, one) for one in self.users)
        return 100 * longer / (len(self.users) * len(strangers))


def main() -> None:
    logins = int(sys.argv[1]) if len(sys.argv) > 1 else LOGINS
    print(f"{'milliseconds, median (10 % to 90 %)':38} {'user':>20} {'stranger':>20} {'stranger longer':>16}")
    for each in timings(logins):
        print(f"{each.what:38} {_shown(each.users):>20} {_shown(each.strangers):>20} {each.longer:>14.1f} %")


def timings(logins: int = LOGINS) -> Iterator[Timing]:
    """Of the function alone, of logins through our pooler, and through one as guides have it."""
    with chain() as tier:
        with tier.owner_as("pgbouncer") as session:
            cursor = psycopg.RawCursor(session)
            query = auth_query.query(auth_query.AuthQuery()).encode()
            ours = (*STRANGERS, *NOT_LET_IN)
            function = "the function alone"
            yield _timing(function, 20 * logins, ours, lambda user: cursor.execute(query, [user]).fetchall())
        yield _timing("login, our pooler", logins, ours, lambda user: _login(tier, user, PORT))
        yield _timing("login, pooler of guides", logins, STRANGERS, lambda user: _login(tier, user, GUIDE))


def _login(tier: Chain, user: str, port: int) -> object:
    return probe(tier.dial(port), user, "app")


def _timing(what: str, times: int, strangers: Sequence[str], ask: Callable[[str], object]) -> Timing:
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
    return Timing(what, tuple(took[True]), tuple(took[False]))


def _shown(values: Sequence[float]) -> str:
    tenths = statistics.quantiles(values, n=10)
    return f"{statistics.median(values):.2f} ({tenths[0]:.2f}–{tenths[-1]:.2f})"


if __name__ == "__main__":
    main()
