# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the modules that speak SQL find PostgreSQL."""

from __future__ import annotations


class ModuleDocFragment:
    """C(psql) runs in the database container of the host, as its superuser over the unix socket."""

    DOCUMENTATION = r"""
options:
  container:
    description:
      - Name of the container on the host in which PostgreSQL runs.
      - Statements go to C(psql) in this container, on standard input, as the operating system user C(postgres).
    type: str
    default: spilo
"""
