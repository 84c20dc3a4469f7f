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
  - An authority made elsewhere is used when it lies there, its key encrypted with O(passphrase). When another has
    signed it, that one follows it in C(ca.crt).
  - One authority takes over from another in three steps, so that nobody is ever refused on the way. The next one lies
    beside as C(next.crt) and C(next.key) until it issues; C(old.crt) tells whom it has replaced. One made elsewhere is
    taken for the next when it lies there under these names.
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
  step:
    description:
      - V(due) makes the next authority when the last third of this one's life has begun, and has it trusted besides. It
        does not go on from there, since clients outside the fleet have to be given the new C(ca.crt) first.
      - V(trust) does so at any time.
      - V(reissue) has the next one issue. Every certificate is then due.
      - V(drop) takes the old one out of C(ca.crt).
      - After each step the certificates of all hosts have to be brought up to date. A step that has been taken changes
        nothing.
    type: str
    choices: [due, trust, reissue, drop]
    default: due
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
stage:
  description:
    - V(trusted) when a next one is trusted besides, V(reissued) when it issues and the old one is still trusted, else
      V(settled).
  type: str
  returned: when there is one
"""
