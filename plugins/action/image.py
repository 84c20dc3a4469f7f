# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An image to a host, over the connection."""

from __future__ import annotations

import gzip
import shlex
from pathlib import Path
from typing import Any

from ansible.utils.display import Display

from ...pooler import archive
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Host, HostError

_TARGET = "/var/tmp/pgfleet-image.tar"
_MEGABYTE = 1_000_000


class ActionModule(PoolerAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name, path = arguments["name"], Path(arguments["archive"])
        wanted = archive.image_id(path)
        host = self.host()
        answer = host.read(
            f"section id\npodman image inspect --format '{{{{.Id}}}}' {shlex.quote(name)} 2>/dev/null || :"
        )
        found = answer.text("id").strip()
        sent = 0
        if found != wanted and not self.check:
            sent = self._send(host, path)
            self._load(host, name, wanted)
        diff = {"before": f"{found or 'none'}\n", "after": f"{wanted}\n", "before_header": name, "after_header": name}
        return {"changed": found != wanted, "id": wanted, "sent": sent, "diff": [diff] if found != wanted else []}

    def _send(self, host: Host, path: Path) -> int:
        total, done, sent, shown = path.stat().st_size, 0, 0, 0
        for piece in archive.pieces(path):
            packed = gzip.compress(piece, compresslevel=1)
            host.send(packed, _TARGET, append=done > 0)
            done, sent = done + len(piece), sent + len(packed)
            if done * 10 // total > shown:
                shown = done * 10 // total
                Display().display(f"{host.name}: image {done // _MEGABYTE} of {total // _MEGABYTE} MB")
        return sent

    def _load(self, host: Host, name: str, wanted: str) -> None:
        script = f"""
trap 'rm -f {_TARGET}' EXIT
section loaded
loaded=$(podman load --quiet --input {_TARGET} | sed 's/.*: //')
podman tag "$loaded" {shlex.quote(name)}
podman image inspect --format '{{{{.Id}}}}' {shlex.quote(name)}
"""
        answer = host.apply(script)
        if answer.failed:
            raise HostError(f"{host.name}: the image could not be loaded: {answer.failed}")
        if answer.text("loaded").strip() != wanted:
            raise HostError(f"{host.name}: the image was loaded as {answer.text('loaded').strip()}, not as {wanted}")
