#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_info
short_description: Which certificates a host's ports show, and whether they are those that lie there
version_added: 0.1.0
description:
  - Shakes hands with ports of the host, from the host itself, and compares what they show with what lies in the
    directories of M(pgfleet.pooler.certificate). What a process has read at some time and what lies on the disk now are
    two things.
  - The handshakes are made in a container of an instance, of the agent or of Spilo, since the host has no Python. Where
    none of them has Python either, as in a stock image of PgBouncer, the ports are not asked, and a warning says so.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.info
options:
  ports:
    description: What to look at.
    type: list
    elements: dict
    required: true
    suboptions:
      directory:
        description: Directory of the leaf, as in M(pgfleet.pooler.certificate).
        type: str
        required: true
      port:
        description: Port that shows it. Without one, the files alone are looked at.
        type: int
      host:
        description: Address it is at, as the host sees it.
        type: str
        default: 127.0.0.1
      protocol:
        description: V(postgresql) where TLS is asked for in PostgreSQL's way, V(tls) where it is spoken at once.
        type: str
        choices: [postgresql, tls]
        default: tls
      times:
        description: How many handshakes. Several, where several processes share the port.
        type: int
        default: 1
      container:
        description: Leave this port out where no container of this name runs.
        type: str
      authority_directory:
        description:
          - Directory on the controller, as M(pgfleet.pooler.certificate_authority) makes it. With it, the C(ca.crt)
            beside the leaf has to be the one that lies there.
        type: path
seealso:
  - module: pgfleet.pooler.certificate
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Every instance shows the certificate that lies on its host
  pgfleet.pooler.certificate_info:
    ports:
      - {port: 50001, protocol: postgresql, directory: /etc/pgbouncer/tls/server}
      - {port: 50002, protocol: postgresql, directory: /etc/pgbouncer/tls/server}
      - {port: 6432, protocol: postgresql, times: 16, directory: /etc/pgbouncer/tls/server}
  become: true
  register: shown
  until: shown.stale | length == 0
  retries: 5
  delay: 2

- name: No certificate ends within a month
  ansible.builtin.assert:
    that: item.days > 30
    fail_msg: "{{ item.directory }} ends on {{ item.not_after }}"
  loop: "{{ shown.ports }}"
"""

RETURN = r"""
ports:
  description: Each one that was looked at.
  type: list
  elements: dict
  returned: always
  contains:
    directory:
      description: As given.
      type: str
    port:
      description: As given.
      type: int
    fingerprints:
      description: SHA-256 of what it shows. More than one where processes differ, none where it could not be asked.
      type: list
      elements: str
    wanted:
      description: SHA-256 of the certificate that lies in the directory.
      type: str
    not_after:
      description: When the certificate that lies in the directory ends, in UTC.
      type: str
    days:
      description: How many days that is from now.
      type: float
    due:
      description: Whether the last third of its life has begun.
      type: bool
stale:
  description: What is not as it lies in the directories, in words.
  type: list
  elements: str
  returned: always
trips:
  description: How many times the host was reached.
  type: int
  returned: always
"""
