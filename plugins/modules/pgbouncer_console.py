#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_console
short_description: A command at the console of every PgBouncer instance of a host
version_added: 0.1.0
description:
  - Tells all running instances of the host the same through their unix sockets, all at once.
  - Instances that are already as asked are told nothing, so that it can be repeated.
  - All or none. When one instance refuses or takes longer than O(timeout), a PAUSE or DISABLE is taken back on all.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.command
options:
  command:
    description: What to do.
    type: str
    choices: [RELOAD, PAUSE, RESUME, RECONNECT, DISABLE, ENABLE, KILL, KILL_CLIENT, WAIT_CLOSE]
    required: true
  database:
    description: The database it is done to; without it all of them. C(DISABLE), C(ENABLE) and C(KILL) need it.
    type: str
  user:
    description: The user whose sessions C(KILL_CLIENT) ends.
    type: str
  timeout:
    description: Seconds that an instance may take. C(PAUSE) waits for the transactions that run.
    type: int
    default: 30
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Give clients new server connections, between transactions
  pgfleet.pooler.pgbouncer_console:
    command: RECONNECT

- name: Hold one database
  pgfleet.pooler.pgbouncer_console:
    command: PAUSE
    database: app
"""

RETURN = r"""
instances:
  description: The instances that were told something, by console port.
  type: list
  elements: str
  returned: always
"""
