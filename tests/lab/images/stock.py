"""A PgBouncer image as others make them, from Debian packages: the engine, psql, sh; no Python, nothing of ours."""

from __future__ import annotations

from .. import debian
from .image import Image, from_root

REFERENCE = "docker.example/pgbouncer:1.24.1"
_RECIPE = debian.Recipe(
    packages=("pgbouncer", "postgresql-client-17"),
    script="test ! -e /usr/bin/python3\nln -s /usr/lib/postgresql/17/bin/psql /usr/local/bin/psql\n",
)


def image() -> Image:
    return from_root("stock", REFERENCE, debian.tree("stock", _RECIPE), ['ENTRYPOINT ["/usr/sbin/pgbouncer"]'])
