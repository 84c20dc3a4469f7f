#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_ini
short_description: A pgbouncer.ini, checked and written, for a PgBouncer that you run yourself
version_added: 0.1.0
description:
  - Renders a C(pgbouncer.ini) from data, checks every setting against PgBouncer's own list, and puts it on the host.
  - Reloads nothing. M(pgfleet.pooler.pgbouncer) manages whole instances.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
options:
  path:
    description: Where the file lies, as an absolute path.
    type: str
    required: true
  settings:
    description: The C([pgbouncer]) section.
    type: dict
    default: {}
  databases:
    description: The C([databases]) section, by name; each is a dictionary of PgBouncer's keys.
    type: dict
    default: {}
  users:
    description: The C([users]) section, by name.
    type: dict
    default: {}
  peers:
    description: The C([peers]) section, by peer id.
    type: dict
    default: {}
  engine_version:
    description: PgBouncer's version; settings that came later are refused.
    type: str
    default: 1.24.1
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
- name: A pooler of one's own
  pgfleet.pooler.pgbouncer_ini:
    path: /etc/pgbouncer/pgbouncer.ini
    settings:
      listen_addr: '*'
      listen_port: 6432
      auth_type: scram-sha-256
      auth_file: /etc/pgbouncer/userlist.txt
    databases:
      app:
        host: db.example.com
        pool_size: 20
"""

RETURN = r"""
path:
  description: Where the file lies.
  type: str
  returned: always
"""
