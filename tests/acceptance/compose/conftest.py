"""A Compose project instead of a fleet: PostgreSQL and poolers are containers of one host."""

from __future__ import annotations

import pytest

from tests.acceptance.remote import Remote
from tests.acceptance.scenario import POOLER, Scenario


class _Project(Remote):
    def sql(self, statements: str, database: str = "postgres") -> str:
        """Runs SQL as superuser in the container of PostgreSQL; gives unaligned rows."""
        psql = (
            f"podman exec -i project_postgresql_1 psql -h /tmp -U postgres -XAtq -v ON_ERROR_STOP=1 -d {database} -f -"
        )
        return self.sh(f"{psql} <<'END OF SQL'\n{statements}\nEND OF SQL\n").strip()


@pytest.fixture(scope="session")
def database(lab: Scenario) -> Remote:
    return _Project(lab, POOLER)


@pytest.fixture(scope="session")
def remote(lab: Scenario) -> Remote:
    return Remote(lab, POOLER)
