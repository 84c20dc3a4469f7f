#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image
short_description: Give a host an image over the connection, without a registry
version_added: 0.1.0
description:
  - Compares the image on the host with an archive on the controller, by the image's id.
  - When they differ, sends the archive in compressed pieces over Ansible's connection, showing progress, and loads it.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
options:
  name:
    description: Name and tag that the image has on the host.
    type: str
    required: true
  archive:
    description: An OCI archive on the controller, as M(pgfleet.pooler.image_build) or C(podman save) makes it.
    type: path
    required: true
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Bring the image to hosts that lack it
  pgfleet.pooler.image:
    name: localhost/pgfleet/pooler:0.1.0
    archive: /var/tmp/pooler.tar
"""

RETURN = r"""
id:
  description: The image's id.
  type: str
  returned: always
sent:
  description: Compressed bytes sent.
  type: int
  returned: always
"""
