# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host's ports show beside what lies in its directories: one exec, in which a container shakes hands."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...pooler import served
from ...pooler.errors import PoolerError
from ..plugin_utils.action import PoolerAction
from ..plugin_utils.host import Answer

try:
    from ...pooler import certificates
    from ..plugin_utils.authority import AuthorityFiles
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None


class ActionModule(PoolerAction):
    missing = MISSING

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        host, entries = self.host(), arguments["ports"]
        answer = host.read(_look(entries))
        running = answer.lines("running")
        shown = _shown(answer)
        now = datetime.now(UTC)
        found = [
            _result(entry, answer.text(f"leaf {number}"), None if shown is None else shown[number], now)
            | {"stale": _stale(entry, answer.text(f"authority {number}"))}
            for number, entry in enumerate(entries)
            if not entry["container"] or entry["container"] in running
        ]
        stale = [f"{host.name}: {why}" for each in found for why in (*each.pop("stale"), *_differs(each))]
        result = {"changed": False, "ports": found, "stale": stale, "trips": host.trips}
        if shown is None and any(entry["port"] for entry in entries):
            why = f"{host.name}: no container of ours that runs here has Python, so its ports were not asked"
            return result | {"warnings": [why]}
        return result


def _look(entries: Sequence[Mapping[str, Any]]) -> str:
    wanted = [
        {name: entry[name] for name in ("host", "port", "protocol")} | {"times": entry["times"] if entry["port"] else 0}
        for entry in entries
    ]
    text = Path(served.__file__).read_text(encoding="utf-8")
    ask = shlex.join(["python3", "-I", "-c", text, json.dumps(wanted)])
    files = "".join(
        f"section {shlex.quote(f'{what} {number}')}\n"
        f"cat {shlex.quote(entry['directory'].rstrip('/'))}/current/{name} 2>/dev/null || :\n"
        for number, entry in enumerate(entries)
        for what, name in (("leaf", "tls.crt"), ("authority", "ca.crt"))
    )
    return f"""{files}
section running
podman ps --format '{{{{.Names}}}}'
section shown
for container in $(podman ps --format '{{{{.Names}}}}' | grep -E '^(pgbouncer-|spilo$)' | sort); do
  podman exec "$container" python3 -I -c '' 2>/dev/null || continue
  podman exec "$container" {ask} || exit
  break
done
"""


def _shown(answer: Answer) -> list[dict[str, str]] | None:
    """What each port has shown; None where nobody could ask."""
    text = answer.text("shown").strip()
    return list(json.loads(text)) if text else None


def _result(entry: Mapping[str, Any], leaf: str, shown: Mapping[str, str] | None, now: datetime) -> dict[str, Any]:
    ders = shown["certificates"].split() if shown else []
    result: dict[str, Any] = {
        "directory": entry["directory"],
        "port": entry["port"],
        "fingerprints": sorted(hashlib.sha256(bytes.fromhex(der)).hexdigest() for der in ders),
        "error": shown["error"] if shown and entry["port"] else "",
    }
    try:
        state = certificates.inspect(leaf)
    except PoolerError:
        return result | {"wanted": "", "not_after": None, "days": None, "due": True}
    return result | {
        "wanted": state.fingerprint_sha256,
        "not_after": state.not_after.isoformat(),
        "days": round((state.not_after - now).total_seconds() / 86400, 2),
        "due": state.in_last_third(now),
    }


def _stale(entry: Mapping[str, Any], trusted: str) -> list[str]:
    """What is wrong with whom it trusts."""
    directory = entry["authority_directory"]
    if directory and trusted.strip() != (AuthorityFiles(Path(directory)).certificate() or "").strip():
        return [f"{entry['directory']}/current/ca.crt is not that of the authority in {directory}"]
    return []


def _differs(found: Mapping[str, Any]) -> list[str]:
    if not found["wanted"]:
        return [f"{found['directory']}/current/tls.crt holds no certificate"]
    if found["error"]:
        return [f"port {found['port']}: {found['error']}"]
    if found["fingerprints"] and found["fingerprints"] != [found["wanted"]]:
        others = ", ".join(each[:16] for each in found["fingerprints"] if each != found["wanted"])
        return [f"port {found['port']} shows {others}, not {found['wanted'][:16]} of {found['directory']}"]
    return []
