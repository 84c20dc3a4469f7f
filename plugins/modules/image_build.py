#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Build the image of engine and tools with podman
version_added: 0.1.0
description:
  - Builds the collection's own Containerfile on the host of the task, which may be the controller, and leaves an OCI
    archive on the controller.
  - The archive is named after the digest of what it is built from and of the image's name. When it is there already,
    nothing is done.
  - A build takes the newest packages of the distribution. An image that is to have newer ones is built under another
    name.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
options:
  name:
    description: Name and tag of the image.
    type: str
    required: true
  directory:
    description: Directory on the controller for the archive.
    type: path
    required: true
  arguments:
    description: Further arguments of C(podman build), such as a base image of one's own.
    type: list
    elements: str
    default: []
  push:
    description: Where the image is to be pushed as well, in the form C(podman push) takes.
    type: str
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Build on the controller
  pgfleet.pooler.image_build:
    name: localhost/pgfleet/pooler:0.1.0
    directory: ~/.cache/pgfleet
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
archive:
  description: The archive on the controller.
  type: str
  returned: always
"""
