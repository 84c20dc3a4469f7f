#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ignition
short_description: The first boot of a Fedora CoreOS host that comes up pooling
version_added: 0.1.0
description:
  - Renders an Ignition config (specification 3.3.0) of a pooler host from the same options as
    M(pgfleet.pooler.pgbouncer), and the same as Butane. The host does not have to exist.
  - The files are byte for byte those that M(pgfleet.pooler.pgbouncer) would write, so that the first run of
    C(site.yml) finds nothing to do.
  - No secret is in the user data. Certificates, keys, verifiers and all else that only its owner may read is in an
    archive, a file on the controller for you to put at O(secrets_url). Ignition fetches it before the first boot, from
    S3 with the role of the instance. Its SHA-512 is in the user data, so that nobody else's is taken.
  - Without O(secrets_url) the host comes up with everything else, and the first run of C(site.yml) makes it serve.
  - A config that is too large for the 16384 bytes of EC2's user data is compressed; when that is not enough, the user
    data only point at O(config_url).
  - Issued certificates and made verifiers are kept in O(directory), so that the same options give the same config.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.controller
options:
  pgbouncer:
    description: The options of M(pgfleet.pooler.pgbouncer). What is null there is as if it were not given.
    type: dict
    required: true
  authorized_keys:
    description: Public keys of ssh that let the user C(core) in.
    type: list
    elements: str
    required: true
  secrets_url:
    description:
      - Where the host fetches its secrets, as V(s3://BUCKET/KEY) or an V(https://) URL.
      - You put the file C(src) there before the host boots, and take it away afterwards.
    type: str
  config_url:
    description: Where the config is to lie when it does not fit into user data, written as O(secrets_url) is.
    type: str
  directory:
    description: Directory on the controller for the secrets. O(secrets_url) needs it. Made with mode 0700.
    type: path
  names:
    description: DNS names and IP addresses of this host, for its certificates.
    type: list
    elements: str
    default: []
  days:
    description: How many days a certificate is valid.
    type: int
    default: 365
  authority_directory:
    description: Directory of M(pgfleet.pooler.certificate_authority) on the controller. O(secrets_url) needs it.
    type: path
  passphrase:
    description: What the authority's key is encrypted with. O(secrets_url) needs it.
    type: str
  image_url:
    description:
      - Where an archive of the image lies, written as O(secrets_url) is; Ignition fetches it, and podman loads it.
      - By default podman pulls the image from the registry that its name tells, without credentials.
    type: str
  image_sha512:
    description: The SHA-512 of that archive, in hexadecimal digits.
    type: str
  leader:
    description:
      - Where the databases point at first, as V(HOST) or V(HOST:PORT). The agent knows better within a second.
      - By default the host of the first of the URLs of Patroni.
    type: str
  updates:
    description:
      - When the host may reboot into an update of Fedora CoreOS. By default at any time.
      - Before any reboot, for whatever reason, clients leave all instances as with C(state=drained).
    type: dict
    suboptions:
      time_zone:
        description: Of the windows, such as V(Europe/Berlin). By default UTC.
        type: str
      windows:
        description: Each with C(days) (C(Mon), C(Tue)…), C(start) (such as C('02:30')) and C(minutes).
        type: list
        elements: dict
        default: []
seealso:
  - module: pgfleet.pooler.pgbouncer
  - module: pgfleet.pooler.certificate
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: User data of a pooler host
  pgfleet.pooler.ignition:
    pgbouncer:
      image: localhost/pgfleet/pooler:0.1.0
      databases:
        - name: app
      patroni:
        - https://10.0.1.10:8008
        - https://10.0.2.10:8008
    authorized_keys:
      - "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
    image_url: s3://example-fleet/images/pooler-0.1.0.tar
    image_sha512: "{{ image_sha512 }}"
    secrets_url: s3://example-fleet/secrets/{{ inventory_hostname }}.tar.gz
    config_url: s3://example-fleet/ignition/{{ inventory_hostname }}.json
    directory: ~/.local/share/pgfleet
    names: ["{{ inventory_hostname }}", "{{ ansible_host }}", localhost, 127.0.0.1, "::1"]
    authority_directory: pki
    passphrase: "{{ vault_authority_passphrase }}"
    updates:
      time_zone: Europe/Berlin
      windows:
        - days: [Sat, Sun]
          start: '02:30'
          minutes: 90
  register: first_boot

- name: Its secrets, before it boots
  amazon.aws.s3_object:
    mode: put
    bucket: "{{ first_boot.secrets.bucket }}"
    object: "{{ first_boot.secrets.key }}"
    src: "{{ first_boot.secrets.src }}"
    encrypt: true
"""

RETURN = r"""
user_data:
  description: An Ignition config of at most 16384 bytes, without a secret.
  type: str
  returned: always
form:
  description: How the config got into the user data; V(plain), V(compressed) or V(pointer).
  type: str
  returned: always
object:
  description:
    - What has to lie at O(config_url) when O(ignore:form) is V(pointer); else null. It holds no secret.
    - C(url), C(content), and C(bucket) and C(key) when it is in S3.
  type: dict
  returned: always
secrets:
  description:
    - What has to lie at O(secrets_url) before the host boots; null without that option.
    - C(url), C(src) (a file on the controller, of mode 0600), C(sha512), and C(bucket) and C(key) when it is in S3.
  type: dict
  returned: always
butane:
  description: The config as Butane, of variant C(fcos) and version 1.4.0.
  type: str
  returned: always
"""
