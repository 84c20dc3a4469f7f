# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way to a PostgreSQL in a container of a host: psql in it, with SQL on standard input alone."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from ...pooler import sql
from .goal import DatabaseError, NothingThereError, Observed
from .host import Host


class Container:
    """SQL is never in an argument, and never on a disk."""

    def __init__(self, host: Host, container: str) -> None:
        self._host = host
        self._container = container

    @property
    def name(self) -> str:
        return self._host.name

    @property
    def trips(self) -> int:
        return self._host.trips

    def ask(self, database: str, audit: str, statements: Sequence[str] = ()) -> Observed:
        text = "".join(f"{statement.rstrip().removesuffix(';')};\n" for statement in (*statements, audit))
        answer = self._host.pipe(_script(self._container, database), text.encode())
        if answer.failed:
            error = NothingThereError if answer.text("container") == "missing" else DatabaseError
            raise error(f"{self.name}: {sql.masked(answer.failed)}")
        document: Observed = json.loads(answer.lines("answer")[-1])
        return document


def _script(container: str, database: str) -> str:
    name = shlex.quote(container)
    return f"""
section container
state=$(podman container inspect --format '{{{{.State.Status}}}}' {name} 2>/dev/null) || state=missing
echo "$state"
[ "$state" = running ] || {{
  printf 'the container %s is %s: start it, or name another with the option container\\n' {name} "$state" >&2; exit 1
}}
section answer
podman exec --interactive --user postgres --env PGCLIENTENCODING=UTF8 {name} \\
  psql --no-psqlrc --no-align --tuples-only --quiet --set ON_ERROR_STOP=1 --dbname {shlex.quote(database)} --file -
"""
