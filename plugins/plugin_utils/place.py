# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the options of the fragment `psql` say the database is: servers, or the host's container."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...pooler.errors import InvalidError, Problem
from .goal import Place
from .host import Host
from .psql import Container


def place(arguments: Mapping[str, Any], host: Host) -> Place:
    """Raises InvalidError and DatabaseError."""
    if not arguments["servers"]:
        return Container(host, arguments["container"])
    # asyncpg takes longer to import than all else of a task, and few need it.
    from .servers import Login, Servers

    login = Login(**{name: arguments[name] for name in ("user", "password", "ca", "cert", "key")})
    if (login.cert is None) != (login.key is None):
        raise InvalidError([Problem("cert", "only one of cert and key is given", "give both or none")])
    return Servers(arguments["servers"], login)
