# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Settings of PgBouncer for so many clients and so many connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ansible.errors import AnsibleFilterError

from ...pooler import sizing
from ...pooler.errors import PoolerError

DOCUMENTATION = r"""
name: pool_sizes
short_description: Pool sizes and limits for so many clients and so many connections
version_added: 0.1.0
description:
  - Counts pools as PgBouncer does, for each database and user in every instance on every host, and fits them into
    PostgreSQL's C(max_connections).
  - C(pooler size) prints the same arithmetic as a table.
options:
  _input:
    description:
      - V(clients), all connections of all clients together, or V(services), V(replicas) of each and V(pool) of each
        replica, which are multiplied.
      - V(databases) that they use and V(users) of each (1), pooler V(hosts) (1), V(instances) on each (2), and
        hosts that may be away, V(spare) (0).
      - V(max_connections) and V(cores) of PostgreSQL, and connections that are V(reserved) for superusers and others
        (10).
      - V(profile) is V(throughput), V(latency) or V(memory), which lets 4, 2 or 1 transactions run at the same time for
        each core.
    type: dict
    required: true
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
# 12 services with 3 replicas of 16 connections each: 576 clients for 200 connections.
- name: Sizes for PgBouncer
  ansible.builtin.debug:
    msg: "{{ fleet | pgfleet.pooler.pool_sizes }}"
  vars:
    fleet:
      services: 12
      replicas: 3
      pool: 16
      hosts: 2
      spare: 1
      max_connections: 200
      cores: 8
"""

RETURN = r"""
_value:
  description: Settings for the option O(pgfleet.pooler.pgbouncer#module:settings).
  type: dict
  sample: {default_pool_size: 8, reserve_pool_size: 2, max_db_connections: 86, max_client_conn: 692}
"""


def _pool_sizes(given: Mapping[str, object]) -> dict[str, int]:
    try:
        return dict(sizing.sizes(sizing.question(given)).settings)
    except PoolerError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[[Mapping[str, object]], dict[str, int]]]:
        return {"pool_sizes": _pool_sizes}
