# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a failed task of amazon.aws means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...pooler import aws_errors

DOCUMENTATION = r"""
name: aws_problem
short_description: What a failed task of amazon.aws means, and what to do
version_added: 0.1.0
description:
  - Says what is wrong with credentials, region, image or quotas, and what to do, then what EC2 said.
options:
  _input:
    description: The result of the task, such as C(ansible_failed_result).
    type: dict
    required: true
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: VPC
  block:
    - name: VPC
      amazon.aws.ec2_vpc_net:
        name: shop
        cidr_block: 10.0.0.0/16
  rescue:
    - name: In other words
      ansible.builtin.fail:
        msg: "{{ ansible_failed_result | pgfleet.pooler.aws_problem }}"
"""

RETURN = r"""
_value:
  description: One line of what is wrong and what to do, then EC2's own words.
  type: str
"""


def _aws_problem(result: Mapping[str, Any]) -> str:
    # Of a loop, the items carry what went wrong.
    failed = [each for each in result.get("results", []) if each.get("failed")]
    return aws_errors.explained(failed[0] if failed else result)


class FilterModule:
    def filters(self) -> dict[str, Callable[[Mapping[str, Any]], str]]:
        return {"aws_problem": _aws_problem}
