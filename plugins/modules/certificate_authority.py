#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_authority
short_description: A certificate authority on the controller
version_added: 0.1.0
description:
  - Makes a certificate authority in a directory of the controller, as C(ca.crt) and C(ca.key), and keeps one that is
    there. The host is not reached.
  - The key is encrypted with O(passphrase) and readable for its owner alone.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.controller
options:
  directory:
    description:
      - Directory on the controller. Keep a copy of it; without the key no certificate can be renewed.
    type: path
    required: true
  passphrase:
    description: What the key is encrypted with. It is also checked against a key that is there.
    type: str
    required: true
  common_name:
    description: Name of a new authority. One that is there keeps its name.
    type: str
    default: pgfleet authority
  days:
    description: How many days a new authority is valid.
    type: int
    default: 3650
seealso:
  - module: pgfleet.pooler.certificate
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Authority beside the inventory
  pgfleet.pooler.certificate_authority:
    directory: "{{ inventory_dir }}/.pki"
    passphrase: "{{ lookup('ansible.builtin.file', '~/.pgfleet-passphrase') }}"
  run_once: true
  register: authority

- name: Show when it ends
  ansible.builtin.debug:
    var: authority.not_after
"""

RETURN = r"""
certificate:
  description: The certificate of the authority in PEM. In check mode, nothing as long as there is none.
  type: str
  returned: when there is one
fingerprint:
  description: SHA-256 of the certificate.
  type: str
  returned: when there is one
not_after:
  description: When it ends, in UTC.
  type: str
  returned: when there is one
  sample: "2036-11-18T00:00:00+00:00"
"""
