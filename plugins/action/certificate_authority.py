# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A certificate authority on the controller; the host is not reached."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..plugin_utils.action import PoolerAction

try:
    from ..plugin_utils import authority_steps
    from ..plugin_utils.authority import AuthorityFiles
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None


class ActionModule(PoolerAction):
    secret = frozenset({"passphrase"})
    missing = MISSING

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        asked = authority_steps.Asked(
            **{name: arguments[name] for name in ("passphrase", "common_name", "days", "step")}
        )
        files = AuthorityFiles(Path(arguments["directory"]))
        return authority_steps.bring_up(files, asked, datetime.now(UTC), check=self.check)
