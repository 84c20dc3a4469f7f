"""Runs in the lab's network: asks every database server by SQL whether it takes writes, and Patroni for its members.

`python -m tests.drills.leader.watcher` reads one line of JSON (`Members`) and prints a line for every change:

    {"at": 1700000000.0, "member": "db1", "state": "writable"}          or "read-only", "down"
    {"at": 1700000000.0, "acknowledged": "db1"}          its first commit after it began to take writes
    {"at": 1700000000.0, "cluster": {"db1": ["leader", "running"], ...}}

`switchover OLD NEW` on standard input asks Patroni for one: `{"posted": 1700000000.0}`, `{"answered": "200 ..."}`.
It ends with its standard input.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import threading
import time
from collections.abc import Iterator

import psycopg

from .members import Members

EACH = 0.03
"""Seconds between two questions to a server."""

_CLUSTER_EACH = 0.25
_ANSWER_WITHIN = 1.0


def main() -> None:
    members = Members(**json.loads(sys.stdin.readline()))
    watchers = [threading.Thread(target=_ask, args=(members, name), daemon=True) for name in members.addresses]
    watchers.append(threading.Thread(target=_ask_patroni, args=(members,), daemon=True))
    for each in watchers:
        each.start()
    for line in sys.stdin:
        _command, old, new = line.split()
        threading.Thread(target=_switch_over, args=(members, old, new), daemon=True).start()


def _ask(members: Members, name: str) -> None:
    state = ""
    for found in _states(members, name):
        if found != state:
            state = found
            _say(member=name, state=state)


def _states(members: Members, name: str) -> Iterator[str]:
    """What the server says, again and again; `down` when it says nothing."""
    while True:
        try:
            with psycopg.connect(
                host=members.addresses[name],
                user=members.user,
                password=members.password,
                dbname=members.database,
                sslmode="verify-ca",
                sslrootcert=members.ca,
                autocommit=True,
                connect_timeout=2,
                tcp_user_timeout=1000,
            ) as connection:
                acknowledged = False
                while True:
                    begin = time.monotonic()
                    row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
                    state = "read-only" if row and row[0] else "writable"
                    yield state
                    if state == "writable" and not acknowledged:
                        # A synchronous commit, which waits for a replica as those of clients do.
                        connection.execute("SELECT pg_logical_emit_message(true, 'drill', '')")
                        acknowledged = True
                        _say(acknowledged=name)
                    # The pace of the questions.
                    time.sleep(max(0.0, begin + EACH - time.monotonic()))
        except psycopg.Error:
            yield "down"
            time.sleep(EACH)


def _ask_patroni(members: Members) -> None:
    tls, before = _tls(members), None
    while True:
        for address in members.addresses.values():
            try:
                status, body = _request(address, tls, "GET", "/cluster")
                found = {each["name"]: [each["role"], each["state"]] for each in json.loads(body)["members"]}
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                continue
            if status == 200 and found != before:
                before = found
                _say(cluster=found)
            break
        time.sleep(_CLUSTER_EACH)


def _switch_over(members: Members, old: str, new: str) -> None:
    body = json.dumps({"leader": old, "candidate": new})
    _say(posted=time.time())
    try:
        status, answer = _request(members.addresses[old], _tls(members), "POST", "/switchover", body, within=60)
    except (OSError, http.client.HTTPException) as error:
        _say(answered=str(error))
    else:
        _say(answered=f"{status} {answer}")


def _request(
    address: str, tls: ssl.SSLContext, method: str, path: str, body: str | None = None, within: float = _ANSWER_WITHIN
) -> tuple[int, str]:
    connection = http.client.HTTPSConnection(address, 8008, timeout=within, context=tls)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _tls(members: Members) -> ssl.SSLContext:
    tls = ssl.create_default_context(cafile=members.ca)
    tls.load_cert_chain(members.certificate, members.key)
    return tls


_SPEAKING = threading.Lock()


def _say(**what: object) -> None:
    with _SPEAKING:
        print(json.dumps({"at": time.time(), **what}), flush=True)


if __name__ == "__main__":
    main()
