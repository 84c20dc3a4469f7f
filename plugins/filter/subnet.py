# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A subnet of a block."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError

from ...pooler import network
from ...pooler.errors import PoolerError

DOCUMENTATION = r"""
name: subnet
short_description: The n-th subnet of a VPC's block
version_added: 0.1.0
description:
  - Divides a block into 256 subnets, or into as many as EC2's smallest subnets make (V(/28) in IPv4, V(/64) in IPv6).
positional: _input, number
options:
  _input:
    description: The block, in IPv4 or IPv6.
    type: str
    required: true
  number:
    description: Which of the subnets, from 0.
    type: int
    required: true
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: The third subnet, 10.0.2.0/24
  ansible.builtin.debug:
    msg: "{{ '10.0.0.0/16' | pgfleet.pooler.subnet(2) }}"
"""

RETURN = r"""
_value:
  description: The subnet.
  type: str
"""


def _subnet(block: str, number: int) -> str:
    try:
        return network.subnet(block, number)
    except PoolerError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> dict[str, Callable[[str, int], str]]:
        return {"subnet": _subnet}
