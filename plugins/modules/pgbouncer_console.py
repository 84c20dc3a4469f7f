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
  - Sends one command to all running instances of the host, one after the other, through their unix sockets.
  - Stops at the first instance that answers with an error, and fails with that answer.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.command
options:
  command:
    description: What to do.
    type: str
    choices: [RELOAD, PAUSE, RESUME, RECONNECT, DISABLE, ENABLE, KILL, WAIT_CLOSE]
    required: true
  database:
    description: The database it is done to; without it all of them. C(DISABLE), C(ENABLE) and C(KILL) need it.
    type: str
  port:
    description: The port that clients use; it is part of the sockets' names.
    type: int
    default: 6432
  timeout:
    description: Seconds that one instance may take.
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
  description: The instances that carried it out, by console port.
  type: list
  elements: str
  returned: always
"""
