# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the modules that speak SQL find PostgreSQL."""

from __future__ import annotations


class ModuleDocFragment:
    """C(psql) in the database container of the host, over the unix socket; or TCP from the controller."""

    DOCUMENTATION = r"""
options:
  container:
    description:
      - Name of the container on the host in which PostgreSQL runs.
      - Statements go to C(psql) in this container, on standard input, as the operating system user C(postgres).
      - Not used when O(servers) are given.
    type: str
    default: spilo
  servers:
    description:
      - The servers of the cluster as the controller reaches them, each an address or name, or C(address:port).
      - With them, all is done over TCP from the controller, and the task's host is not reached. All servers are asked,
        and the one that takes writes is the leader; when none does, or more than one, it is an error.
      - TLS is required, and the server's certificate must be of O(ca) and valid for the address given here.
      - Needs asyncpg on the controller. Run it for one host only, such as C(localhost).
    type: list
    elements: str
    default: []
  user:
    description: The superuser that logs in to O(servers).
    type: str
    default: postgres
  password:
    description: Password of O(user). Not needed where its certificate is enough.
    type: str
  ca:
    description: File on the controller with the authority of the certificates of O(servers). By default the system's.
    type: path
  cert:
    description: File on the controller with a client certificate of O(user).
    type: path
  key:
    description: File on the controller with the key of O(cert), not encrypted.
    type: path
"""
