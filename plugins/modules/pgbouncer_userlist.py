#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_userlist
short_description: A userlist of SCRAM verifiers for a PgBouncer that you run yourself
version_added: 0.1.0
description:
  - Writes a userlist in which every password is a SCRAM-SHA-256 verifier. Passwords themselves never reach the host.
  - A verifier that still verifies its password is kept, so that a second run changes nothing.
  - Reloads nothing. M(pgfleet.pooler.pgbouncer) manages whole instances.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
options:
  path:
    description: Where the file lies, as an absolute path.
    type: str
    required: true
  users:
    description: The users; each has a password or a verifier.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The user's name.
        type: str
        required: true
      password:
        description: The password, from which a verifier is made.
        type: str
      verifier:
        description: A SCRAM-SHA-256 verifier, as C(pooler scram) or PostgreSQL makes it.
        type: str
  owner:
    description: Numeric id of the user and the group that own the file.
    type: int
    default: 0
  mode:
    description: Permissions, as octal digits in quotes.
    type: str
    default: '0600'
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Two users
  pgfleet.pooler.pgbouncer_userlist:
    path: /etc/pgbouncer/userlist.txt
    users:
      - name: app
        password: "{{ vault_app_password }}"
      - name: report
        verifier: "{{ report_verifier }}"
"""

RETURN = r"""
path:
  description: Where the file lies.
  type: str
  returned: always
"""
