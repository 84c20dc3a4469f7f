#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_verifiers
short_description: The SCRAM verifiers that PostgreSQL has of login roles
version_added: 0.1.0
description:
  - Reads the verifiers of roles on the leader. PgBouncer logs in to PostgreSQL with what a client has proved, so a user
    of its userlist needs the very verifier that PostgreSQL has; one that is made anew of the same password will not do.
  - On a host whose PostgreSQL is in recovery the answer is empty, so it can run on every host of the cluster.
  - The answer is secret. Give the task C(no_log).
extends_documentation_fragment:
  - pgfleet.pooler.attributes.info
  - pgfleet.pooler.psql
options:
  roles:
    description: Names of roles. Those that there are not, or that have no SCRAM-SHA-256 verifier, are left out.
    type: list
    elements: str
    required: true
seealso:
  - module: pgfleet.pooler.pgbouncer
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: What PostgreSQL has of the users with a password
  pgfleet.pooler.postgresql_verifiers:
    roles: [app_1, app_2]
  become: true
  no_log: true
  register: known
"""

RETURN = r"""
leader:
  description: Whether this host's PostgreSQL takes writes. When it does not, nothing was read.
  type: bool
  returned: always
verifiers:
  description: Verifiers by role.
  type: dict
  returned: always
"""
