"""What each command does, from its options to its exit status.

Each imports its own rooms: `leader` runs on every host in every run, and should not wait for the others'.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import PoolerError
from . import asking

if TYPE_CHECKING:
    import ssl

    from ..switchover import command


def scram(parsed: argparse.Namespace) -> int:
    from .. import scram

    print(scram.verifier(asking.secret("Password"), iterations=parsed.iterations))
    return 0


def lint(parsed: argparse.Namespace) -> int:
    """Notes alone are no reason for an exit status of 1."""
    from .. import lint, sarif, settings

    version = settings.parse_version(parsed.engine)
    findings = []
    for name in parsed.files:
        text = Path(name).read_text(encoding="utf-8", errors="surrogateescape")
        findings += lint.lint_text(parsed.kind or _kind(name), text, name=name, version=version)
    if parsed.json:
        fields = ("file", "line", "level", "rule")
        said = [
            {
                **{field: getattr(each, field) for field in fields},
                "what": each.problem.what,
                "remedy": each.problem.remedy,
            }
            for each in findings
        ]
        print(json.dumps(said))
    elif parsed.sarif:
        print(json.dumps(sarif.render(findings)))
    else:
        for finding in findings:
            print(finding)
    return 1 if any(finding.level != "note" for finding in findings) else 0


def _kind(path: str) -> Literal["ini", "userlist", "hba"]:
    name = Path(path).name
    if "userlist" in name or name.endswith(".txt"):
        return "userlist"
    return "hba" if "hba" in name else "ini"


def adopt(parsed: argparse.Namespace) -> int:
    from ..adoption import command as adoption

    return adoption.adopt(parsed.files, parsed.engine, parsed.output)


def size(parsed: argparse.Namespace) -> int:
    from .. import sizing

    if (parsed.held is None) != (parsed.between is None):
        raise PoolerError("give both --held and --between, or none of them")
    asked = sizing.question(
        {name: value for name, value in vars(parsed).items() if name not in ("run", "json", "held", "between")}
    )
    found = sizing.sizes(asked)
    waits = None
    if parsed.held is not None:
        if parsed.held <= 0 or parsed.between < 0:
            raise PoolerError("--held is to be more than 0 milliseconds, and --between not less")
        waits = sizing.expected(asked, found, parsed.held / 1000, parsed.between / 1000)
    if parsed.json:
        said: dict[str, Any] = {"settings": found.settings, "lines": [vars(line) for line in found.lines]}
        print(json.dumps(said | ({"waiting": vars(waits)} if waits else {})))
    else:
        print(sizing.table(found, waits))
    return 0


def prepare(parsed: argparse.Namespace) -> int:
    from .. import prepare

    for difference in prepare.prepare(parsed.file):
        print(difference)
    return 0


def drain(parsed: argparse.Namespace) -> int:
    import asyncio

    from .. import drain

    socket = drain.socket_of(parsed.console, parsed.port)
    asyncio.run(drain.drain(socket, parsed.notice, parsed.clients, parsed.transactions, print))
    return 0


def console(parsed: argparse.Namespace) -> int:
    from .. import console

    failed = 0
    answers = {}
    for host in parsed.hosts:
        try:
            answers[host] = console.ask(_conninfo(host), parsed.command)
        except PoolerError as error:
            failed = 1
            print(f"{host}: {error}", file=sys.stderr)
    if parsed.json:
        rows = {host: [dict(zip(a.columns, row, strict=True)) for row in a.rows] for host, a in answers.items()}
        print(json.dumps(rows))
    else:
        for host, answer in answers.items():
            print(f"{host}:", console.table(answer) if answer.columns else "done", sep="\n")
    return failed


def _conninfo(host: str) -> str:
    if "=" in host or "://" in host:
        return host
    name, colon, port = host.rpartition(":")
    return f"host={name} port={port}" if colon and port.isdecimal() else f"host={host}"


def leader(parsed: argparse.Namespace) -> int:
    from .. import patroni

    def found(tls: ssl.SSLContext | None) -> dict[str, object]:
        server = patroni.leader(parsed.urls, tls)
        return {"host": server.host, "port": server.port}

    return _told_by_patroni(parsed, found)


def connections(parsed: argparse.Namespace) -> int:
    from .. import patroni

    return _told_by_patroni(parsed, lambda tls: {"max_connections": patroni.max_connections(parsed.urls, tls)})


def _told_by_patroni(parsed: argparse.Namespace, question: Callable[[ssl.SSLContext | None], dict[str, object]]) -> int:
    from .. import patroni

    try:
        answer = question(patroni.context(parsed.ca, parsed.cert, parsed.key) if parsed.ca else None)
    except (PoolerError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(answer))
    return 0


def cluster(parsed: argparse.Namespace) -> int:
    from ..switchover import command

    return command.cluster(command.Options(parsed.config, tuple(parsed.patroni), as_json=parsed.json))


def switchover(parsed: argparse.Namespace) -> int:
    from ..switchover import command

    return command.switchover(_options(parsed), parsed.candidate)


def restart_leader(parsed: argparse.Namespace) -> int:
    from ..switchover import command

    return command.restart(_options(parsed))


def _options(parsed: argparse.Namespace) -> command.Options:
    from ..switchover import command, coordinator

    limits = coordinator.Limits(parsed.pause_timeout, parsed.max_stall, parsed.max_transaction)
    return command.Options(
        parsed.config, tuple(parsed.patroni), tuple(parsed.agent), limits, check=parsed.check, as_json=parsed.json
    )


def drill(parsed: argparse.Namespace) -> int:
    from .. import patroni
    from ..drill import command
    from ..drill.happenings import LOAD
    from ..drill.limits import Limits
    from ..switchover.patroni_rest import Rest

    tls = patroni.context(parsed.ca, parsed.cert, parsed.key) if parsed.ca else None
    return command.drill(
        command.Options(
            event=parsed.event,
            target=parsed.target,
            password_file=parsed.password_file,
            workers=parsed.workers,
            logins=parsed.logins,
            knocks=parsed.knocks,
            work=parsed.work or ("mixed" if parsed.event == LOAD else "write"),
            pause=(0.02 if parsed.event == LOAD else 0.1) if parsed.pause is None else parsed.pause,
            most_seconds=parsed.seconds or (60.0 if parsed.event == LOAD else 600.0),
            most_turns=parsed.turns,
            limits=Limits(
                failed=parsed.max_failed,
                stall=parsed.max_stall,
                p99=None if parsed.max_p99 is None else parsed.max_p99 / 1000,
                apart=None if parsed.max_apart is None else parsed.max_apart / 100,
            ),
            report=parsed.report,
            run=parsed.happen,
            rest=Rest(tuple(url.rstrip("/") for url in parsed.patroni), tls) if parsed.patroni else None,
            candidate=parsed.candidate,
            as_json=parsed.json,
        )
    )


def doctor(parsed: argparse.Namespace) -> int:
    from ..doctor import command

    return command.doctor(
        command.Options(
            config=parsed.config,
            hosts=tuple(parsed.hosts),
            ssh=parsed.ssh,
            login=parsed.login,
            password_file=parsed.password_file,
            as_json=parsed.json,
        )
    )


def top(parsed: argparse.Namespace) -> int:
    from ..top import command

    return command.top(
        command.Options(parsed.config, tuple(parsed.hosts), parsed.ssh, parsed.every, parsed.once, parsed.json)
    )


def agent(parsed: argparse.Namespace) -> int:
    from ..agent import main

    return main.run(parsed.file)


def release_port(parsed: argparse.Namespace) -> int:
    from .. import listeners

    listeners.release(parsed.pid, parsed.port)
    return 0
