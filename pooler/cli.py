"""The `pooler` command: verifiers, lint, rendering, consoles, and the leader.

Each command imports its own rooms: `leader` runs on every host in every run, and should not wait for the others'.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import __version__
from .agent.config import CONFIG
from .errors import PoolerError

if TYPE_CHECKING:
    import ssl

    from .switchover import command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit status: 0 done, 1 problems found or the command failed, 2 wrong usage."""
    parsed = _parser().parse_args(arguments)
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
    except PoolerError as error:
        print(error, file=sys.stderr)
    except BrokenPipeError:
        # Whoever reads has seen enough. What is left in the buffer must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        print(f"{error.filename or 'pooler'}: {error.strerror or error}", file=sys.stderr)
    else:
        return status
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pooler", description="PgBouncer in front of Patroni.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("scram", help="make a SCRAM-SHA-256 verifier of a password")
    command.add_argument("--iterations", type=int, default=4096)
    command.set_defaults(run=_scram)

    command = commands.add_parser("lint", help="check a pgbouncer.ini, a userlist or an HBA file")
    command.add_argument("files", nargs="+", metavar="FILE")
    command.add_argument("--kind", choices=["ini", "userlist", "hba"], help="when the file's name does not tell")
    command.add_argument(
        "--engine", default="1.24.1", metavar="VERSION", help="PgBouncer's version (default %(default)s)"
    )
    written = command.add_mutually_exclusive_group()
    written.add_argument("--json", action="store_true")
    written.add_argument("--sarif", action="store_true", help="for code hosts, which show it beside the lines")
    command.set_defaults(run=_lint)

    command = commands.add_parser("adopt", help="variables of an inventory for a PgBouncer that somebody else set up")
    command.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="pgbouncer.ini, userlist and HBA file; a Compose file; or variables (.env)",
    )
    command.add_argument(
        "--engine", default="1.24.1", metavar="VERSION", help="of PgBouncer until now (default %(default)s)"
    )
    command.add_argument(
        "--output", metavar="DIRECTORY", help="write them here, secrets in a file of their own (default: no secrets)"
    )
    command.set_defaults(run=_adopt)

    command = commands.add_parser("size", help="pool sizes and limits for so many clients and so many connections")
    _size_options(command)
    command.set_defaults(run=_size)

    command = commands.add_parser(
        "render", help="write the files of a pooler host, the config of its first boot, or what else runs poolers"
    )
    command.add_argument(
        "what",
        nargs="?",
        choices=["files", "ignition", "butane", "compose", "kubernetes"],
        default="files",
        help="its files (default), a config of Fedora CoreOS that lacks certificates and secrets, a Compose project "
        "with PostgreSQL, or manifests of Kubernetes",
    )
    command.add_argument(
        "variables", metavar="FILE", help="JSON or YAML: the options of the module pgbouncer, or else of the target"
    )
    command.add_argument(
        "--output", metavar="DIRECTORY", help="write them below this directory instead of printing them"
    )
    command.set_defaults(run=_render)

    command = commands.add_parser("prepare", help="make roles, databases and the function for logins in PostgreSQL")
    command.add_argument("file", metavar="FILE", help="JSON, as `render compose` writes it")
    command.set_defaults(run=_prepare)

    command = commands.add_parser("drain", help="let clients leave the instance in this container, before it ends")
    command.add_argument("console", type=int)
    command.add_argument("port", type=int)
    for name, meaning in (
        ("--notice", "until no new clients come in"),
        ("--clients", "in which they leave by themselves"),
        ("--transactions", "in which they are closed between transactions"),
    ):
        command.add_argument(name, type=float, required=True, metavar="S", help=meaning)
    command.set_defaults(run=_drain)

    command = commands.add_parser("console", help="send a command to the consoles of instances")
    command.add_argument(
        "hosts", nargs="+", metavar="HOST", help="a libpq connection string, HOST:PORT, or a socket directory"
    )
    command.add_argument("--command", "-c", default="SHOW POOLS")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=_console)

    for name, run, meaning in (
        ("leader", _leader, "who leads"),
        ("connections", _connections, "for PostgreSQL's max_connections"),
    ):
        command = commands.add_parser(name, help=f"ask Patroni {meaning}, as one line of JSON")
        command.add_argument("urls", nargs="+", metavar="URL")
        command.add_argument("--ca", metavar="FILE")
        command.add_argument("--cert", metavar="FILE")
        command.add_argument("--key", metavar="FILE")
        command.set_defaults(run=run)

    command = commands.add_parser("cluster", help="show the members of the cluster, as Patroni sees them")
    _beside_agent(command)
    command.set_defaults(run=_cluster)

    command = commands.add_parser("switchover", help="make another member the leader while all clients wait")
    command.add_argument("--candidate", metavar="NAME", help="the member to lead (default: the fittest)")
    _behind_pause(command)
    command.set_defaults(run=_switchover)

    command = commands.add_parser("restart-leader", help="restart PostgreSQL where it leads while all clients wait")
    _behind_pause(command)
    command.set_defaults(run=_restart_leader)

    command = commands.add_parser("drill", help="load on a pool, and what its clients feel of an event")
    _drill_options(command)
    command.set_defaults(run=_drill)

    command = commands.add_parser("doctor", help="check hosts from end to end, each check with evidence and remedy")
    _doctor_options(command)
    command.set_defaults(run=_doctor)

    command = commands.add_parser("top", help="a live board of instances: clients, waiting, servers, rates, leader")
    _top_options(command)
    command.set_defaults(run=_top)

    command = commands.add_parser("agent", help="the daemon beside the instances of a host; ends at SIGTERM")
    command.add_argument("file", nargs="?", default=CONFIG, metavar="FILE", help="default %(default)s")
    command.set_defaults(run=_agent)

    command = commands.add_parser("release-port", help="end listening on a port for all holders of the socket")
    command.add_argument("pid", type=int)
    command.add_argument("port", type=int)
    command.set_defaults(run=_release_port)
    return parser


def _beside_agent(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", metavar="FILE", default=CONFIG, help="the agent's (default %(default)s)")
    command.add_argument(
        "--patroni", action="append", default=[], metavar="URL", help="instead of those in the agent's configuration"
    )
    command.add_argument("--json", action="store_true")


def _behind_pause(command: argparse.ArgumentParser) -> None:
    """Options of what is done while clients wait. Times are in seconds."""
    _beside_agent(command)
    command.add_argument(
        "--agent", action="append", required=True, metavar="URL", help="of every pooler host: https://HOST:9127"
    )
    command.add_argument(
        "--pause-timeout", type=float, default=5.0, metavar="S", help="for running transactions (default %(default)s)"
    )
    command.add_argument(
        "--max-stall", type=float, default=10.0, metavar="S", help="clients may wait (default %(default)s)"
    )
    command.add_argument(
        "--max-transaction", type=float, default=5.0, metavar="S", help="age of the oldest one (default %(default)s)"
    )
    command.add_argument("--check", action="store_true", help="only whether it could be done now")


def _size_options(command: argparse.ArgumentParser) -> None:
    clients = command.add_argument_group("clients")
    clients.add_argument("--clients", type=int, metavar="N", help="all together, or as the product of the next three")
    clients.add_argument("--services", type=int, default=1, metavar="N")
    clients.add_argument("--replicas", type=int, default=1, metavar="N", help="of each service")
    clients.add_argument("--pool", type=int, metavar="N", help="connections that each replica keeps")
    clients.add_argument("--databases", type=int, default=1, metavar="N", help="that they use (default %(default)s)")
    clients.add_argument("--users", type=int, default=1, metavar="N", help="of each database (default %(default)s)")
    poolers = command.add_argument_group("poolers")
    poolers.add_argument("--hosts", type=int, default=1, metavar="N", help="default %(default)s")
    poolers.add_argument("--instances", type=int, default=2, metavar="N", help="on each host (default %(default)s)")
    poolers.add_argument(
        "--spare", type=int, default=0, metavar="N", help="hosts that may be away (default %(default)s)"
    )
    server = command.add_argument_group("PostgreSQL")
    server.add_argument("--max-connections", type=int, required=True, metavar="N")
    server.add_argument("--cores", type=int, required=True, metavar="N")
    server.add_argument(
        "--reserved", type=int, default=10, metavar="N", help="for superusers and others (default %(default)s)"
    )
    load = command.add_argument_group("load, for how long clients will wait")
    load.add_argument("--held", type=float, metavar="MS", help="that a transaction takes by itself, in the mean")
    load.add_argument(
        "--between", type=float, metavar="MS", help="of a client's pause after a transaction, in the mean"
    )
    command.add_argument("--profile", choices=["throughput", "latency", "memory"], default="throughput")
    command.add_argument("--json", action="store_true")


def _drill_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "event",
        choices=["load", "switchover", "failover", "partition", "crash", "restart"],
        help="what happens meanwhile; load: nothing",
    )
    command.add_argument(
        "target",
        metavar="CONNECTION",
        help="through the pool, of a user who may make tables: 'host=pool1 dbname=app user=app sslrootcert=ca.crt'",
    )
    command.add_argument("--password-file", metavar="FILE", default="", help="or PGPASSWORD, or it is asked for")
    command.add_argument("--run", metavar="COMMAND", default="", dest="happen", help="that makes it happen")
    command.add_argument(
        "--patroni",
        action="append",
        default=[],
        metavar="URL",
        help="of a member: who leads is asked there, and a switchover is ordered there when there is no --run",
    )
    command.add_argument("--candidate", metavar="NAME", default="", help="of that switchover (default: the fittest)")
    command.add_argument("--ca", metavar="FILE", help="of Patroni's certificates")
    command.add_argument("--cert", metavar="FILE", help="shown to Patroni")
    command.add_argument("--key", metavar="FILE")
    load = command.add_argument_group("load")
    load.add_argument("--workers", type=int, default=20, metavar="N", help="clients (default %(default)s)")
    load.add_argument(
        "--work",
        choices=["write", "mixed", "read"],
        help="of them: INSERT, UPDATE and SELECT in one transaction; that and single statements; or only SELECT "
        "(default: mixed for the load alone, else write)",
    )
    load.add_argument(
        "--pause", type=float, metavar="S", help="between two transactions of a client (default: 0.1; 0.02 for load)"
    )
    load.add_argument("--logins", type=int, default=0, metavar="N", help="clients that log in anew for each query")
    load.add_argument("--knocks", type=int, default=0, metavar="N", help="clients that connect, ask for TLS and go")
    load.add_argument(
        "--seconds", type=float, metavar="S", help="after which it ends (default: 60 for the load alone, else 600)"
    )
    load.add_argument(
        "--turns",
        type=int,
        default=1_000_000,
        metavar="N",
        help="of all clients of a kind at most (default %(default)s)",
    )
    limits = command.add_argument_group("limits; one that is missed makes the exit status 1")
    limits.add_argument("--max-failed", type=int, metavar="N", help="transactions, logins and connections")
    limits.add_argument("--max-stall", type=float, metavar="S", help="without a success of anybody")
    limits.add_argument("--max-p99", type=float, metavar="MS", help="for 99 of 100 transactions")
    limits.add_argument("--max-apart", type=float, metavar="PERCENT", help="of an instance's share from an even one")
    command.add_argument("--report", metavar="FILE", default="", help="a page with plots (HTML), which needs no other")
    command.add_argument("--json", action="store_true")


def _doctor_options(command: argparse.ArgumentParser) -> None:
    _far(command)
    command.add_argument("--config", metavar="FILE", default=CONFIG, help="the agent's (default %(default)s)")
    command.add_argument(
        "--login",
        metavar="CONNECTION",
        default="",
        help="log in from here as well, as a client: 'host=pool1 dbname=app user=app sslrootcert=ca.crt'",
    )
    command.add_argument("--password-file", metavar="FILE", default="", help="or PGPASSWORD, or it is asked for")
    command.add_argument("--json", action="store_true")


def _top_options(command: argparse.ArgumentParser) -> None:
    _far(command)
    command.add_argument("--config", metavar="FILE", default=CONFIG, help="the agent's (default %(default)s)")
    command.add_argument("--every", type=float, default=2.0, metavar="S", help="default %(default)s")
    command.add_argument("--once", action="store_true", help="after one interval, as a table")
    command.add_argument("--json", action="store_true", help="a line for each host and interval, for ever")


def _far(command: argparse.ArgumentParser) -> None:
    """Hosts whose agents are asked over ssh."""
    command.add_argument(
        "hosts", nargs="*", metavar="HOST", help="over ssh (default: beside the agent, in its container)"
    )
    command.add_argument(
        "--ssh", metavar="COMMAND", default="ssh", help="such as 'ssh -J bastion' (default %(default)s)"
    )


def _scram(parsed: argparse.Namespace) -> int:
    """The password comes from the terminal without an echo, or from standard input; never from the arguments."""
    from . import scram

    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    print(scram.verifier(password, iterations=parsed.iterations))
    return 0


def _lint(parsed: argparse.Namespace) -> int:
    """Notes alone are no reason for an exit status of 1."""
    from . import lint, sarif, settings

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


def _adopt(parsed: argparse.Namespace) -> int:
    from .adoption import command as adoption

    return adoption.adopt(parsed.files, parsed.engine, parsed.output)


def _size(parsed: argparse.Namespace) -> int:
    from . import sizing

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


def _render(parsed: argparse.Namespace) -> int:
    from . import bundle, variables

    if parsed.what == "compose":
        return _render_compose(parsed)
    if parsed.what == "kubernetes":
        return _render_kubernetes(parsed)
    if parsed.what != "files":
        return _render_first_boot(parsed)
    pooler = variables.read(_variables(Path(parsed.variables)))
    facts = bundle.Facts(
        leader=pooler.server,
        server_leaf=f"{pooler.tls_directory}/server/current",
        client_leaf=f"{pooler.tls_directory}/client/current",
    )
    for file in bundle.build(pooler, facts).files:
        if parsed.output:
            target = Path(parsed.output, file.path.lstrip("/"))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(mode=file.mode)
            target.write_bytes(file.content)
            print(target)
        else:
            print(f"# {file.path} ({file.mode:04o}, owner {file.owner})\n{file.content.decode()}")
    return 0


def _render_first_boot(parsed: argparse.Namespace) -> int:
    from . import variables
    from .targets import butane, first_boot, ignition

    given = _variables(Path(parsed.variables))
    pooler = variables.read(given.get("pgbouncer") or {})
    tree = first_boot.waiting(pooler, first_boot.read(given, pooler))
    if parsed.what == "butane":
        written = {"first_boot.bu": butane.render(tree)}
    else:
        url = given.get("config_url")
        delivery = ignition.deliver(ignition.render(tree), url)
        written = {"first_boot.ign": delivery.user_data}
        if delivery.stored is not None:
            written["stored.ign"] = delivery.stored
            if not parsed.output:
                raise PoolerError(f"the config is to lie at {url}, and user data only point at it: give --output")
    for name, text in written.items():
        if parsed.output:
            target = Path(parsed.output, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
            print(target)
        else:
            print(text)
    return 0


def _render_compose(parsed: argparse.Namespace) -> int:
    from .targets import project

    if not parsed.output:
        raise PoolerError("certificates and passwords are to be kept: give --output")
    given = _variables(Path(parsed.variables))
    for path in project.write(given, Path(parsed.output), _passphrase):
        print(path)
    return 0


def _render_kubernetes(parsed: argparse.Namespace) -> int:
    from .targets import kubernetes, manifest

    fleet = kubernetes.read(_variables(Path(parsed.variables)))
    for name, document in kubernetes.documents(fleet).items():
        text = manifest.text(document)
        if not parsed.output:
            print(f"---\n{text}", end="")
            continue
        target = Path(parsed.output, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(target)
    if parsed.output:
        listed = Path(parsed.output, kubernetes.USERLIST)
        listed.touch(mode=0o600)
        listed.write_bytes(kubernetes.userlist(fleet).content)
        print(f"{listed}: for the Secret {fleet.secrets['userlist']}")
    return 0


def _passphrase() -> str:
    """Of the authority's key; asked for as passwords are."""
    if sys.stdin.isatty():
        return getpass.getpass("Passphrase of the authority's key: ")
    return sys.stdin.readline().rstrip("\n")


def _variables(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    try:
        found = json.loads(text)
    except ValueError:
        import yaml  # not in the container, where only JSON is given

        found = yaml.safe_load(text)
    if not isinstance(found, dict):
        raise PoolerError(f"{path}: is not a dictionary of variables")
    return found


def _prepare(parsed: argparse.Namespace) -> int:
    from . import prepare

    for difference in prepare.prepare(parsed.file):
        print(difference)
    return 0


def _drain(parsed: argparse.Namespace) -> int:
    import asyncio

    from . import drain

    socket = drain.socket_of(parsed.console, parsed.port)
    asyncio.run(drain.drain(socket, parsed.notice, parsed.clients, parsed.transactions, print))
    return 0


def _console(parsed: argparse.Namespace) -> int:
    from . import console

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


def _leader(parsed: argparse.Namespace) -> int:
    from . import patroni

    def found(tls: ssl.SSLContext | None) -> dict[str, object]:
        server = patroni.leader(parsed.urls, tls)
        return {"host": server.host, "port": server.port}

    return _told_by_patroni(parsed, found)


def _connections(parsed: argparse.Namespace) -> int:
    from . import patroni

    return _told_by_patroni(parsed, lambda tls: {"max_connections": patroni.max_connections(parsed.urls, tls)})


def _told_by_patroni(parsed: argparse.Namespace, question: Callable[[ssl.SSLContext | None], dict[str, object]]) -> int:
    from . import patroni

    try:
        answer = question(patroni.context(parsed.ca, parsed.cert, parsed.key) if parsed.ca else None)
    except (PoolerError, OSError) as error:
        print(json.dumps({"error": str(error)}))
        return 1
    print(json.dumps(answer))
    return 0


def _cluster(parsed: argparse.Namespace) -> int:
    from .switchover import command

    return command.cluster(command.Options(parsed.config, tuple(parsed.patroni), as_json=parsed.json))


def _switchover(parsed: argparse.Namespace) -> int:
    from .switchover import command

    return command.switchover(_options(parsed), parsed.candidate)


def _restart_leader(parsed: argparse.Namespace) -> int:
    from .switchover import command

    return command.restart(_options(parsed))


def _options(parsed: argparse.Namespace) -> command.Options:
    from .switchover import command, coordinator

    limits = coordinator.Limits(parsed.pause_timeout, parsed.max_stall, parsed.max_transaction)
    return command.Options(
        parsed.config, tuple(parsed.patroni), tuple(parsed.agent), limits, check=parsed.check, as_json=parsed.json
    )


def _drill(parsed: argparse.Namespace) -> int:
    from . import patroni
    from .drill import command
    from .drill.happenings import LOAD
    from .drill.limits import Limits
    from .switchover.patroni_rest import Rest

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


def _doctor(parsed: argparse.Namespace) -> int:
    from .doctor import command

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


def _top(parsed: argparse.Namespace) -> int:
    from .top import command

    return command.top(
        command.Options(parsed.config, tuple(parsed.hosts), parsed.ssh, parsed.every, parsed.once, parsed.json)
    )


def _agent(parsed: argparse.Namespace) -> int:
    from .agent import main

    return main.run(parsed.file)


def _release_port(parsed: argparse.Namespace) -> int:
    from . import listeners

    listeners.release(parsed.pid, parsed.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
