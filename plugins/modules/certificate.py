#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate
short_description: Certificates of a host, issued by the authority on the controller
version_added: 0.1.0
description:
  - Issues the certificates (leaves) that a host needs, with new keys, and brings them to the host.
  - A leaf is issued anew before it expires, and when its names, its usages, its owner or the authority are not as
    described. Otherwise nothing is touched. The controller's clock decides.
  - Each leaf lies in a directory of its own, C(<directory>/<serial>/{tls.crt,tls.key,ca.crt}), and
    C(<directory>/current) points at the one in force. One rename switches, so that nobody ever sees a certificate with
    the key of another. The leaf before the current one is kept; older ones are removed.
  - A key is made on the controller, is written to the host alone, and is never read back.
  - Leaves that somebody else has issued are brought there in the same way.
  - All leaves of a host cost one exec to read and one to write.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
options:
  state:
    description: V(absent) removes all leaves below the directories. They are not revoked.
    type: str
    choices: [present, absent]
    default: present
  leaves:
    description: The leaves of this host.
    type: list
    elements: dict
    required: true
    suboptions:
      directory:
        description: Directory on the host, one for each leaf.
        type: str
        required: true
      common_name:
        description:
          - Its common name. PostgreSQL takes it as the role that logs in.
          - By default the host's name in the inventory.
        type: str
      names:
        description: DNS names and IP addresses. By default O(names) for a leaf with the usage V(server), or none.
        type: list
        elements: str
      usages:
        description: What it is for.
        type: list
        elements: str
        choices: [server, client]
        default: [server]
      owner:
        description: Numeric user and group id that the files belong to. Nobody else, save root, may read the key.
        type: int
        default: 0
  names:
    description: DNS names and IP addresses of this host. The same name twice is once.
    type: list
    elements: str
    default: []
  days:
    description: How many days a leaf is valid.
    type: int
    default: 365
  key_type:
    description: What keys new leaves have. V(ecdsa) is P-256, V(rsa) has 3072 bits.
    type: str
    choices: [ecdsa, rsa, ed25519]
    default: ecdsa
  brought:
    description:
      - Leaves that are not issued here, since somebody else has issued them. They are renewed by giving others; in
        the last third of their lives a warning says that it is time.
      - For a leaf that is brought, its names, usages and common name are what they are.
    type: list
    elements: dict
    default: []
    suboptions:
      directory:
        description: Which of O(leaves) it is.
        type: str
        required: true
      certificate:
        description: The certificate in PEM, followed by what stands between it and O(brought[].authority), if anything.
        type: str
        required: true
      private_key:
        description: Its private key in PEM, not encrypted.
        type: str
        required: true
      authority:
        description: The certificates in PEM that whoever uses this leaf trusts, that of its own authority among them.
        type: str
        required: true
  renew:
    description: Whether to issue every leaf anew, also those that are not due. Then each run changes something.
    type: bool
    default: false
  authority_directory:
    description:
      - Directory on the controller, as M(pgfleet.pooler.certificate_authority) makes it.
      - O(state=present) needs it, unless every leaf is in O(brought).
    type: path
  passphrase:
    description: What the authority's key is encrypted with. Needed where O(authority_directory) is.
    type: str
  authority:
    description:
      - What M(pgfleet.pooler.certificate_authority) would do is done first, in the same task, whether or not there are
        O(leaves). Without it the authority has to be there.
    type: dict
    suboptions:
      common_name:
        description: Name of a new authority. One that is there keeps its name.
        type: str
        default: pgfleet authority
      days:
        description: How many days a new authority is valid.
        type: int
        default: 3650
      step:
        description: The step by which one authority takes over from another.
        type: str
        choices: [due, trust, reissue, drop]
        default: due
seealso:
  - module: pgfleet.pooler.certificate_authority
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: What a pooler shows to clients, and what it shows to PostgreSQL
  pgfleet.pooler.certificate:
    leaves:
      - directory: /etc/pgbouncer/tls/server
        owner: 6432
      - directory: /etc/pgbouncer/tls/client
        common_name: pgbouncer
        usages: [client]
        owner: 6432
    names:
      - "{{ inventory_hostname }}"
      - "{{ ansible_host }}"
      - localhost
    authority_directory: "{{ inventory_dir }}/.pki"
    passphrase: "{{ lookup('ansible.builtin.file', '~/.pgfleet-passphrase') }}"
    authority: {}
  become: true

- name: A certificate that the company's own authority has issued
  pgfleet.pooler.certificate:
    leaves:
      - directory: /etc/pgbouncer/tls/server
        owner: 6432
    brought:
      - directory: /etc/pgbouncer/tls/server
        certificate: "{{ lookup('ansible.builtin.file', 'tls/' ~ inventory_hostname ~ '.chain.pem') }}"
        private_key: "{{ lookup('ansible.builtin.file', 'tls/' ~ inventory_hostname ~ '.key') }}"
        authority: "{{ lookup('ansible.builtin.file', 'tls/company.pem') }}"
  become: true

- name: No client certificate any more
  pgfleet.pooler.certificate:
    state: absent
    leaves:
      - directory: /etc/pgbouncer/tls/client
  become: true
"""

RETURN = r"""
leaves:
  description: Each leaf afterwards. In check mode, the one that is there.
  type: list
  elements: dict
  returned: when O(state=present)
  contains:
    directory:
      description: Its directory.
      type: str
    changed:
      description: Whether it was issued, or in check mode would be.
      type: bool
    reasons:
      description: Why.
      type: list
      elements: str
    serial:
      description: Its serial number, which is the name of the directory with its files.
      type: str
    not_after:
      description: When it ends, in UTC.
      type: str
trips:
  description: How many times the host was reached.
  type: int
  returned: always
"""
