#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgresql_objects
short_description: Login roles and databases in the cluster
version_added: 0.1.0
description:
  - Creates login roles and databases that the cluster does not have yet, and gives existing ones their password and
    their owner. What else they have is left alone.
  - Works on the leader. On a host whose PostgreSQL is in recovery nothing is done, so it can run on every host of the
    cluster. With O(servers) the leader is found among them.
  - Passwords become SCRAM-SHA-256 verifiers on the controller. PostgreSQL never gets the password itself, its log gets
    neither, and a verifier that still verifies the password is kept, so that poolers and sessions go on working.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
  - pgfleet.pooler.psql
options:
  state:
    description:
      - V(absent) drops the O(databases) and then the O(users), with all their data.
      - A database of another owner is refused, and so is a database with sessions in it.
    type: str
    choices: [present, absent]
    default: present
  users:
    description: The login roles.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the role. A superuser or a replication role is refused.
        type: str
        required: true
      login:
        description:
          - With V(false) nobody can log in as it, and it has no password. That is how a role that owns and a login that
            is no longer used are written; see O(users[].acts_as).
        type: bool
        default: true
      acts_as:
        description:
          - A role whose sessions this login's sessions are from their beginning; what they make belongs to that role.
            The login becomes a member of it. Two logins that act as one role can take turns when passwords change.
        type: str
      password:
        description:
          - Its password. Give this, O(users[].verifier) or O(users[].certificate), unless O(state=absent) or
            O(users[].login=false).
        type: str
      verifier:
        description: A SCRAM-SHA-256 verifier, as in C(pg_authid.rolpassword).
        type: str
      certificate:
        description: It has no password, and logs in by a certificate, for which C(pg_hba.conf) needs a line of its own.
        type: bool
        default: false
      member_of:
        description: Roles whose rights it is given. Those that it has besides are left to it.
        type: list
        elements: str
        default: []
  databases:
    description: The databases.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the database.
        type: str
        required: true
      owner:
        description: The role that owns it, one of O(users) or one that exists.
        type: str
        required: true
seealso:
  - module: pgfleet.pooler.auth_query
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: A database and its owner
  pgfleet.pooler.postgresql_objects:
    users:
      - name: app
        password: "{{ lookup('ansible.builtin.password', '/tmp/example/app', length=32) }}"
    databases:
      - name: app
        owner: app
  become: true

- name: A role that owns, and the login whose turn it is
  pgfleet.pooler.postgresql_objects:
    users:
      - name: app
        login: false
      - name: app_1
        acts_as: app
        verifier: "{{ app_1_verifier }}"
      - name: app_2
        acts_as: app
        login: false
  become: true

- name: One that looks on, without a password
  pgfleet.pooler.postgresql_objects:
    users:
      - name: postgres_exporter
        certificate: true
        member_of: [pg_monitor]
  become: true

- name: Gone again
  pgfleet.pooler.postgresql_objects:
    state: absent
    users:
      - name: app
    databases:
      - name: app
        owner: app
  become: true
"""

RETURN = r"""
leader:
  description: Whether this host's PostgreSQL takes writes. When it does not, nothing was done.
  type: bool
  returned: always
differences:
  description: What was not as it should be.
  type: list
  elements: str
  returned: always
  sample: ["role app: missing, should be present"]
sql:
  description: The statements that were run, or in check mode would be, with verifiers masked.
  type: list
  elements: str
  returned: always
trips:
  description: How many times the host, or O(servers) together, were asked.
  type: int
  returned: always
"""
