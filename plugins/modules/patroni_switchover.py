#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_switchover
short_description: Make another member of a Patroni cluster the leader while all clients wait
version_added: 0.1.0
description:
  - Clients of all pooler hosts are held between transactions, Patroni is told to make another member the leader, and
    when that one takes writes the clients go on there. None of them gets an error; what they feel is a pause.
  - All or none. When not every instance of every host can be paused in time, all go on and nothing has been changed.
  - It works in the agent's container of the host it runs on, and goes on to its end when the controller dies. When that
    container dies, each agent lets its clients go on by itself.
  - Before anybody waits it looks whether the cluster is fit for it, and says what is not.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.command
options:
  agents:
    description:
      - URLs of the agents of all pooler hosts, by names or addresses that their certificates hold.
      - Clients of a host that is left out do not wait, and get errors.
    type: list
    elements: str
    required: true
  operation:
    description: V(restart) restarts PostgreSQL where it leads instead, which stays the leader.
    type: str
    choices: [switchover, restart]
    default: switchover
  candidate:
    description:
      - The member to lead. In a synchronous cluster it must be a synchronous one.
      - By default the one that may lead and lags least.
    type: str
  patroni:
    description: URLs of Patroni's members, instead of those that the agent knows.
    type: list
    elements: str
    default: []
  pause_timeout:
    description: How many seconds running transactions may take until all clients are held.
    type: float
    default: 5
  max_stall:
    description:
      - How many seconds clients may wait in all. When nobody takes writes by then, whoever leads is looked for, and the
        clients go on there.
      - The task fails when they have waited longer.
    type: float
    default: 10
  max_transaction:
    description: How many seconds the oldest transaction on the leader may have lasted. For older ones nobody is held.
    type: float
    default: 5
  container:
    description: Name of the agent's container on the host.
    type: str
    default: pgbouncer-agent
seealso:
  - module: pgfleet.pooler.patroni_info
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Make another member the leader
  pgfleet.pooler.patroni_switchover:
    agents:
      - https://10.0.1.21:9127
      - https://10.0.1.22:9127
  run_once: true

- name: Restart PostgreSQL where it leads, and let clients wait half a minute for it
  pgfleet.pooler.patroni_switchover:
    agents: ["https://10.0.1.21:9127"]
    operation: restart
    max_stall: 30
  run_once: true
"""

RETURN = r"""
leader:
  description: The member that led before.
  type: str
  returned: when it was found
candidate:
  description: The member that was to lead.
  type: str
  returned: when it was found, with O(operation=switchover)
stall:
  description: The longest wait of any client in seconds, measured by one client on each host.
  type: float
  returned: when clients were held
patroni:
  description: How many seconds of it Patroni and PostgreSQL took by themselves, from the order until writes were taken.
  type: float
  returned: when the order was carried out
transactions:
  description: Transactions of these clients that succeeded meanwhile.
  type: int
  returned: always
failed_transactions:
  description: Transactions of these clients that failed.
  type: int
  returned: always
hosts:
  description: The same for each agent, by its URL.
  type: dict
  returned: always
steps:
  description: What was done and undone in order, with C(name), C(seconds) and C(error).
  type: list
  elements: dict
  returned: always
notes:
  description: What could not be looked at or prepared, such as transactions that our role may not see.
  type: list
  elements: str
  returned: always
"""
