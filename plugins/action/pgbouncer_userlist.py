# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A userlist of verifiers."""

from __future__ import annotations

from typing import Any

from ...pooler import bundle, userlist, variables
from ...pooler.errors import InvalidError
from ...pooler.files import File
from ..plugin_utils import single_file
from ..plugin_utils.action import PoolerAction


class ActionModule(PoolerAction):
    secret = frozenset({"password", "verifier"})

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        users = variables.listed_users(arguments["users"])
        host = self.host()
        found = single_file.read(host, arguments["path"])
        try:
            in_use = userlist.parse(found.content.decode(), name=arguments["path"]) if found else {}
        except (InvalidError, UnicodeDecodeError):
            in_use = {}
        content = userlist.render(bundle.verifiers(users, in_use)).encode()
        file = File(arguments["path"], content, int(arguments["mode"], 8), arguments["owner"], secret=True)
        return {"path": file.path, **single_file.put(host, file, found, self.check)}
