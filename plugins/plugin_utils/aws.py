# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Modules of amazon.aws, run where the task runs, and their errors in words that say what to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...pooler import aws_errors
from ...pooler.errors import PoolerError
from .action import PoolerAction


class AwsAction(PoolerAction):
    """An action that drives modules of amazon.aws; `region` and `profile` are among its options."""

    def aws(self, module: str, arguments: Mapping[str, Any], connection: Mapping[str, Any]) -> dict[str, Any]:
        """What `amazon.aws.<module>` returns. Raises PoolerError when it fails."""
        account = {name: connection[name] for name in ("region", "profile") if connection.get(name)}
        result: dict[str, Any] = self._execute_module(
            module_name=f"amazon.aws.{module}", module_args={**arguments, **account}, task_vars=self.task_vars
        )
        if result.get("failed"):
            raise PoolerError(aws_errors.explained(result, account.get("region")))
        return result
