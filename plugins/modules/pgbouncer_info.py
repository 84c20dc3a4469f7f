#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer_info
short_description: What the PgBouncer instances of a host say of themselves
version_added: 0.1.0
description:
  - Asks every running instance of the host at its console, through its unix socket. Changes nothing.
  - Tells as well what on the host is no longer as the last change left it. What an inventory wants, it does not know;
    that is told by M(pgfleet.pooler.pgbouncer) in check mode.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.info
options:
  commands:
    description: The SHOW commands to ask, without C(SHOW).
    type: list
    elements: str
    default: [VERSION, CONFIG, DATABASES, POOLS, STATS]
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Ask all instances for their pools
  pgfleet.pooler.pgbouncer_info:
    commands: [POOLS]
  register: pools

- name: Show who waits
  ansible.builtin.debug:
    msg: "{{ pools.instances.values() | map(attribute='POOLS') | flatten | selectattr('cl_waiting', 'ne', '0') }}"

- name: Nothing was changed by hand
  pgfleet.pooler.pgbouncer_info:
    commands: []
  register: found
  failed_when: found.drift | length > 0
"""

RETURN = r"""
drift:
  description:
    - What is not as the last change left it, by files, units, processes and what instances say of themselves, with the
      effect that putting it right has.
  type: list
  elements: dict
  returned: always
  sample: [{instance: 50001, what: default_pool_size, effect: reload, why: "'3' becomes '20'"}]
instances:
  description: By console port, the rows of each command as dictionaries of text.
  type: dict
  returned: always
  sample: {"50001": {"VERSION": [{"version": "PgBouncer 1.24.1"}]}}
"""
