#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: auth_query
short_description: The function in PostgreSQL that PgBouncer asks for users' verifiers
version_added: 0.1.0
description:
  - Makes the role that PgBouncer logs in as, and a function that tells it a user's SCRAM-SHA-256 verifier. Users are
    then made in PostgreSQL alone.
  - Audits every property of role, schema and function (body, owner, settings, rights, role attributes, memberships) and
    repairs those that differ, in one transaction.
  - The function knows users who may log in with a password, and nobody else. For unknown, expired and NOLOGIN roles it
    answers with a decoy, a verifier of a password that nobody knows, so that PgBouncer tells no client who is a user.
  - By default the role has no password. It logs in with a client certificate whose common name is the role's name, as
    M(pgfleet.pooler.certificate) issues it.
  - Works on the leader. On a host whose PostgreSQL is in recovery nothing is done, so it can run on every host of the
    cluster. With O(servers) the leader is found among them.
  - Warns when the server's C(pg_hba.conf) does not let the role in by what it logs in with, or in another way as well,
    and when the role holds rights that nothing here has given it. Neither is changed.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
  - pgfleet.pooler.psql
options:
  state:
    description: V(absent) drops the function, the schema when nothing else is in it, and the role.
    type: str
    choices: [present, absent]
    default: present
  role:
    description: The role that asks.
    type: str
    default: pgbouncer
  role_password:
    description:
      - The role logs in with this password instead of a certificate. PostgreSQL gets a verifier of it; the pooler hosts
        need the password itself, see O(pgfleet.pooler.pgbouncer#module:auth_query.password).
    type: str
  role_verifier:
    description: A SCRAM-SHA-256 verifier instead of O(role_password).
    type: str
  schema:
    description: The schema of the function. It belongs to the bootstrap superuser and is closed to all but O(role).
    type: str
    default: pgbouncer
  function:
    description: The function. It takes a user's name.
    type: str
    default: get_auth
  superusers:
    description: Whether superusers may log in through PgBouncer.
    type: bool
    default: false
  replication:
    description: Whether replication roles may log in through PgBouncer.
    type: bool
    default: false
  database:
    description: The database that has the function; PgBouncer's C(auth_dbname).
    type: str
    default: postgres
seealso:
  - module: pgfleet.pooler.pgbouncer
  - module: pgfleet.pooler.certificate
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: What PgBouncer asks
  pgfleet.pooler.auth_query:
  become: true
  register: asked

- name: Show what was not as it should be
  ansible.builtin.debug:
    var: asked.differences

- name: Over TCP, in a cluster whose hosts are not ours
  pgfleet.pooler.auth_query:
    servers: [db1.example.com, db2.example.com, db3.example.com]
    ca: files/database-authority.crt
    password: "{{ vault_postgres_password }}"
  run_once: true

- name: Under other names
  pgfleet.pooler.auth_query:
    role: pool
    schema: pool
    function: verifier_of
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
  sample: ["role pgbouncer: createdb: yes, should be no"]
sql:
  description: The transaction that was run, or in check mode would be. None when nothing differs.
  type: list
  elements: str
  returned: always
query:
  description: The text for PgBouncer's C(auth_query).
  type: str
  returned: when O(state=present)
  sample: SELECT username, password FROM "pgbouncer"."get_auth"($1::pg_catalog.text)
pg_hba:
  description: The lines of C(pg_hba.conf) by which the role logs in, to stand above all others that fit it.
  type: list
  elements: str
  returned: when O(state=present)
  sample: ["hostssl all pgbouncer all cert", "host all pgbouncer all reject"]
trips:
  description: How many times the host, or O(servers) together, were asked.
  type: int
  returned: always
"""
