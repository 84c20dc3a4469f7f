#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_withdrawal
short_description: The proof that logins which are to be withdrawn are used by nobody
version_added: 0.1.0
description:
  - Asks all instances of the host whether a client or a pool still uses a login that is to go, and fails when one does.
    M(pgfleet.pooler.pgbouncer) would end its sessions.
  - To go are those in O(withdrawn), those in the userlist in force that are no longer in O(users), and those that have
    another password or verifier there.
  - Connections to PostgreSQL that a pool keeps for such a login, and no client uses, are replaced between transactions.
    Otherwise nothing is changed.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.command
options:
  users:
    description: The users as O(pgfleet.pooler.pgbouncer#module:users) is to have them.
    type: list
    elements: dict
    required: true
  withdrawn:
    description: Names of further logins, such as roles of PostgreSQL that are in no userlist.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds to wait for the last client of such a login to leave.
    type: int
    default: 0
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Nobody uses what is no longer in the inventory
  pgfleet.pooler.pgbouncer_withdrawal:
    users: "{{ pgbouncer_users }}"
  become: true
"""

RETURN = r"""
leaving:
  description: The logins that are to go. Nobody uses them, on this host.
  type: list
  elements: str
  returned: always
databases:
  description: The databases whose pools had connections of them, which were replaced.
  type: list
  elements: str
  returned: always
"""
