#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: reboot
short_description: Reboot a host that has no Python
version_added: 0.1.0
description:
  - Reboots the host and waits until it answers again, with a boot id that it did not have before.
  - Which services have to be up again is for the next task to say.
extends_documentation_fragment:
  - pgfleet.pooler.attributes.command
options:
  timeout:
    description: How many seconds the host may take.
    type: int
    default: 600
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Boot into the update that is staged
  pgfleet.pooler.reboot:
    timeout: 900
"""

RETURN = r"""
elapsed:
  description: How many seconds it took.
  type: int
  returned: when the host was rebooted
"""
