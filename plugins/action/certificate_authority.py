# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A certificate authority on the controller; the host is not reached."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ..plugin_utils.action import PoolerAction

try:
    from ...pooler import certificates
    from ..plugin_utils.authority import AuthorityFiles
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

_NOTICE = timedelta(days=365)


class ActionModule(PoolerAction):
    secret = frozenset({"passphrase"})
    missing = MISSING

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        files = AuthorityFiles(Path(arguments["directory"]))
        if self.check:
            return self._make(files, arguments)
        with files.alone():
            return self._make(files, arguments)

    def _make(self, files: AuthorityFiles, arguments: dict[str, Any]) -> dict[str, Any]:
        now, found = datetime.now(UTC), files.certificate()
        if found is not None:
            files.plain_key(arguments["passphrase"])
            return {"changed": False} | _described(found, str(files.certificate_path), now)
        made = certificates.new_authority(arguments["common_name"], days=arguments["days"], now=now)
        if not self.check:
            files.write(made, arguments["passphrase"])
        shown = certificates.inspect(made.certificate_pem)
        after = f"common name: {shown.common_name}\nends: {shown.not_after.isoformat()}\n"
        path = str(files.certificate_path)
        result = {"changed": True, "diff": {"before": "", "after": after, "before_header": path, "after_header": path}}
        return result if self.check else result | _described(made.certificate_pem, path, now)


def _described(certificate: str, path: str, now: datetime) -> dict[str, Any]:
    state = certificates.inspect(certificate, path)
    result = {
        "certificate": certificate,
        "fingerprint": state.fingerprint_sha256,
        "not_after": state.not_after.isoformat(),
    }
    if state.not_after - now < _NOTICE:
        end = f"{path}: the authority ends on {state.not_after:%Y-%m-%d}, and no certificate of its outlives it"
        return result | {"warnings": [f"{end}: prepare the next one"]}
    return result
