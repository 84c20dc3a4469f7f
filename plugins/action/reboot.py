# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A reboot, seen from the controller: the host needs no Python to tell one boot from the next."""

from __future__ import annotations

import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure

from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Host, HostError

_BOOT = "section boot\ncat /proc/sys/kernel/random/boot_id"
# A moment later, so that this connection ends well before the host does.
_REBOOT = "systemd-run --quiet --collect --on-active=1 --timer-property=AccuracySec=100ms systemctl reboot"
_PACE = 2


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        host = self.host()
        before = host.read(_BOOT).text("boot")
        if self.check:
            return {"changed": True}
        began = time.monotonic()
        host.read(_REBOOT)
        while self._boot(host) in ("", before):
            if time.monotonic() - began > arguments["timeout"]:
                raise HostError(f"{host.name}: has not come back {arguments['timeout']} s after it was told to reboot")
            time.sleep(_PACE)
        return {"changed": True, "elapsed": int(time.monotonic() - began)}

    def _boot(self, host: Host) -> str:
        """The id of the boot that answers, or nothing."""
        try:
            self._connection.reset()
            return host.read(_BOOT).text("boot")
        except (AnsibleConnectionFailure, HostError):
            return ""
