# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pgbouncer.ini from data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...pooler import ini, settings
from ...pooler.errors import InvalidError, Problem
from ...pooler.files import File
from ..plugin_utils import single_file
from ..plugin_utils.action import PoolerAction


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        version = tuple(int(part) for part in arguments["engine_version"].split("."))
        problems: list[Problem] = []

        def section(place: str, name: str, given: Mapping[str, Any]) -> dict[str, str]:
            texts = {}
            for key, value in given.items():
                texts[key], found = settings.check(name, key, value, place=f"{place}.{key}", version=version)
                problems.extend(found)
            return texts

        def sections(name: str) -> dict[str, dict[str, str]]:
            return {str(key): section(f"{name}.{key}", name, given or {}) for key, given in arguments[name].items()}

        wanted = ini.Ini(
            pgbouncer=section("settings", "pgbouncer", arguments["settings"]),
            databases=sections("databases"),
            users=sections("users"),
            peers=sections("peers"),
        )
        if problems:
            raise InvalidError(problems)
        file = File(
            arguments["path"],
            ini.render(wanted).encode(),
            int(arguments["mode"], 8),
            arguments["owner"],
            # A connect string may hold a password.
            secret=any("password" in entry for entry in wanted.databases.values()),
        )
        host = self.host()
        found = single_file.read(host, file.path)
        return {"path": file.path, **single_file.put(host, file, found, self.check)}
