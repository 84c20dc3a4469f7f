"""Runs in Patroni's own container, by `python3 -`: one order to Patroni, if any, then everything it says.

Patroni's container has Python, its host need not. Standard library alone, and nothing newer than Python 3.8 but in
annotations. The text of this file is sent with a call of `main` below it; nothing here is imported there.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# Patroni writes this file after it has taken a new configuration in.
_APPLIED = "SELECT pg_catalog.pg_read_file('patroni.dynamic.json')"
_AT_START = "SELECT pg_catalog.string_agg(name, ' ') FROM pg_catalog.pg_settings WHERE context = 'postmaster'"

_TRIES = 15


def main(order: dict[str, Any]) -> None:
    """Prints one JSON document: `order` and `at_start` when asked for, `config`, `cluster`, `members`, `applied`.

    `order` has `url`, `ca`, `cert`, `key` and `user`; `patch`, a document for PATCH /config; `restart`, the URL of a
    member to be restarted when it is due; `at_start` to be told which settings need a restart; `timeout` in seconds.
    """
    rest = _Rest(order)
    result: dict[str, Any] = {}
    if "patch" in order:
        result["order"] = rest.ask("PATCH", order["url"] + "/config", order["patch"])
    elif "restart" in order:
        result["order"] = rest.ask("POST", order["restart"] + "/restart", {"restart_pending": True}, order["timeout"])
    result["config"] = rest.ask_patiently(order["url"] + "/config")
    result["cluster"] = rest.ask_patiently(order["url"] + "/cluster")
    members = _members(result["cluster"])

    def both(member: dict[str, Any]) -> tuple[str | None, str | None]:
        # In this order: who has taken the configuration in then tells of restarts that are due for it.
        applied = _sql(order, member, _APPLIED)
        return applied, _document(rest.ask("GET", member["api_url"]))

    with ThreadPoolExecutor(max_workers=len(members) + 1) as pool:
        heard = dict(zip([member["name"] for member in members], pool.map(both, members)))  # noqa: B905 -- Python 3.10
    result["applied"] = {name: applied for name, (applied, _said) in heard.items()}
    result["members"] = {name: said for name, (_applied, said) in heard.items()}
    if order.get("at_start"):
        own = [_sql(order, member, _AT_START) for member in members if member.get("role") == "leader"]
        result["at_start"] = " ".join(answer or "" for answer in own).split()
    print(json.dumps(result))


class _Rest:
    def __init__(self, order: dict[str, Any]) -> None:
        self._tls = ssl.create_default_context(cafile=order["ca"])
        self._tls.load_cert_chain(order["cert"], order["key"])

    def ask(self, method: str, url: str, body: Any = None, timeout: float = 10) -> tuple[int, str]:
        """HTTP status, 0 when there was none, and the body or what is wrong."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self._tls) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except (OSError, ValueError) as error:
            return 0, str(getattr(error, "reason", error))

    def ask_patiently(self, url: str) -> tuple[int, str]:
        """Patroni reads another certificate in its next round, up to `loop_wait` later, and opens its port anew."""
        for _try in range(_TRIES):
            status, words = self.ask("GET", url)
            if status:
                break
            time.sleep(1)
        return status, words


def _members(answer: tuple[int, str]) -> list[dict[str, Any]]:
    """Those that can be asked: one that has just begun has no address yet."""
    try:
        members = json.loads(answer[1])["members"]
    except (ValueError, KeyError, TypeError):
        return []
    return [member for member in members if "api_url" in member and "host" in member]


def _document(answer: tuple[int, str]) -> str | None:
    """503 is what a member whose PostgreSQL does not run answers with."""
    return answer[1] if answer[0] in (200, 503) else None


def _sql(order: dict[str, Any], member: dict[str, Any], query: str) -> str | None:
    """The one value of a query to a member, None when it gives none."""
    where = {"host": member.get("host"), "port": member.get("port"), "user": order["user"], "dbname": "postgres"}
    tls = {"sslmode": "verify-full", "sslrootcert": order["ca"], "sslcert": order["cert"], "sslkey": order["key"]}
    target = " ".join(f"{name}='{value}'" for name, value in {**where, **tls, "connect_timeout": 5}.items())
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", query, target]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=15, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() or None if done.returncode == 0 else None
