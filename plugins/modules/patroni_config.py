#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_config
short_description: Patroni's dynamic configuration, in force on every member
version_added: 0.1.0
description:
  - Compares what is wanted of the dynamic configuration with what the cluster has, whoever changed it, and sends one
    patch for the difference. Keys that are not named in O(config) stay as they are.
  - Waits until every running member has taken the configuration in.
  - Restarts the members for which Patroni says that a restart is due, one at a time. Each has to stream from the leader
    again before the next one; whatever is not well then stops it, and a later run goes on.
  - The replicas come first, the synchronous one as the last of them, and then the leader. A setting that a replica must
    have as much of as the leader, such as C(max_connections), is lowered on the leader first.
  - One run on one member is enough for the whole cluster.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
options:
  config:
    description:
      - What is wanted, as C(PATCH /config) takes it. A key with the value null is taken away.
      - Lists and plain values are replaced as a whole.
    type: dict
    required: true
  container:
    description: Name of the container on the host in which Patroni runs. It has Python, C(psql) and the files below.
    type: str
    default: spilo
  url:
    description: Patroni's REST API on this host, without a path.
    type: str
    required: true
  ca:
    description: File in the container with the certificates of the authority.
    type: str
    required: true
  cert:
    description: File in the container with a client certificate. Patroni takes it for orders, PostgreSQL for O(user).
    type: str
    required: true
  key:
    description: File in the container with the key of O(cert).
    type: str
    required: true
  user:
    description: A superuser, who is asked on each member what it has taken in.
    type: str
    default: postgres
  restart_leader:
    description:
      - Whether to restart the leader as well when that is due. Its clients are cut off for as long as that takes.
      - Without it, RV(restart_due) and a warning tell that it is due.
    type: bool
    default: false
  members:
    description:
      - How many members the cluster has. With fewer of them there, no one is restarted.
      - A member that is down for longer is forgotten by Patroni, so that nothing else tells that it is missing.
    type: int
    default: 1
  timeout:
    description: Seconds that each member may take for the configuration, for its restart, and until it streams again.
    type: int
    default: 300
seealso:
  - module: pgfleet.pooler.quadlet
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: A longer history of statements, for the whole cluster
  pgfleet.pooler.patroni_config:
    url: https://10.0.1.11:8008
    ca: /etc/pgfleet/tls/patroni/current/ca.crt
    cert: /etc/pgfleet/tls/patroni/current/tls.crt
    key: /etc/pgfleet/tls/patroni/current/tls.key
    config:
      postgresql:
        parameters:
          log_min_duration_statement: 250
  become: true
  run_once: true
"""

RETURN = r"""
differences:
  description: What was not as it should be.
  type: list
  elements: str
  returned: always
  sample: ["postgresql.parameters.max_connections: 200, should be 300"]
restarted:
  description: Members that were restarted, or in check mode would be, in order.
  type: list
  elements: str
  returned: always
restart_due:
  description: Members whose restart is due and was left, since the leader's comes first or is not allowed.
  type: list
  elements: str
  returned: always
trips:
  description: How many times the host was reached.
  type: int
  returned: always
"""
