#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: patroni_info
short_description: The members of a Patroni cluster, as they see themselves
version_added: 0.1.0
description:
  - Asks Patroni's REST API from the agent's container of a pooler host. Changes nothing.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.info
options:
  patroni:
    description: URLs of Patroni's members, instead of those that the agent knows.
    type: list
    elements: str
    default: []
  container:
    description: Name of the agent's container on the host.
    type: str
    default: pgbouncer-agent
seealso:
  - module: pgfleet.pooler.patroni_switchover
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Ask who leads
  pgfleet.pooler.patroni_info:
  register: cluster

- name: Show the members that stream from it
  ansible.builtin.debug:
    msg: "{{ cluster.members | selectattr('state', 'eq', 'streaming') | map(attribute='name') }}"
"""

RETURN = r"""
leader:
  description: The member that leads and runs; empty when there is none.
  type: str
  returned: always
members:
  description: All members with C(name), C(role), C(state), C(host), C(port), C(api_url), C(timeline), C(lag), C(tags).
  type: list
  elements: dict
  returned: always
synchronous:
  description: Whether commits wait for a replica, by Patroni's configuration.
  type: bool
  returned: always
paused:
  description: Whether Patroni is in maintenance mode.
  type: bool
  returned: always
scheduled:
  description: A switchover that is to come, or empty.
  type: str
  returned: always
"""
