"""The commands of `pooler` and their options; what each does is in `running` and `rendering`."""

from __future__ import annotations

import argparse

from .. import __version__
from ..agent.config import CONFIG
from . import rendering, running


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="pooler", description="PgBouncer in front of Patroni.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("scram", help="make a SCRAM-SHA-256 verifier of a password")
    command.add_argument("--iterations", type=int, default=4096)
    command.set_defaults(run=running.scram)

    command = commands.add_parser("lint", help="check a pgbouncer.ini, a userlist or an HBA file")
    command.add_argument("files", nargs="+", metavar="FILE")
    command.add_argument("--kind", choices=["ini", "userlist", "hba"], help="when the file's name does not tell")
    command.add_argument(
        "--engine", default="1.24.1", metavar="VERSION", help="PgBouncer's version (default %(default)s)"
    )
    written = command.add_mutually_exclusive_group()
    written.add_argument("--json", action="store_true")
    written.add_argument("--sarif", action="store_true", help="for code hosts, which show it beside the lines")
    command.set_defaults(run=running.lint)

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
    command.set_defaults(run=running.adopt)

    command = commands.add_parser("size", help="pool sizes and limits for so many clients and so many connections")
    _size_options(command)
    command.set_defaults(run=running.size)

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
    command.set_defaults(run=rendering.render)

    command = commands.add_parser("prepare", help="make roles, databases and the function for logins in PostgreSQL")
    command.add_argument("file", metavar="FILE", help="JSON, as `render compose` writes it")
    command.set_defaults(run=running.prepare)

    command = commands.add_parser("drain", help="let clients leave the instance in this container, before it ends")
    command.add_argument("console", type=int)
    command.add_argument("port", type=int)
    for name, meaning in (
        ("--notice", "until no new clients come in"),
        ("--clients", "in which they leave by themselves"),
        ("--transactions", "in which they are closed between transactions"),
    ):
        command.add_argument(name, type=float, required=True, metavar="S", help=meaning)
    command.set_defaults(run=running.drain)

    command = commands.add_parser("console", help="send a command to the consoles of instances")
    command.add_argument(
        "hosts", nargs="+", metavar="HOST", help="a libpq connection string, HOST:PORT, or a socket directory"
    )
    command.add_argument("--command", "-c", default="SHOW POOLS")
    command.add_argument("--json", action="store_true")
    command.set_defaults(run=running.console)

    for name, run, meaning in (
        ("leader", running.leader, "who leads"),
        ("connections", running.connections, "for PostgreSQL's max_connections"),
    ):
        command = commands.add_parser(name, help=f"ask Patroni {meaning}, as one line of JSON")
        command.add_argument("urls", nargs="+", metavar="URL")
        command.add_argument("--ca", metavar="FILE")
        command.add_argument("--cert", metavar="FILE")
        command.add_argument("--key", metavar="FILE")
        command.set_defaults(run=run)

    command = commands.add_parser("cluster", help="show the members of the cluster, as Patroni sees them")
    _beside_agent(command)
    command.set_defaults(run=running.cluster)

    command = commands.add_parser("switchover", help="make another member the leader while all clients wait")
    command.add_argument("--candidate", metavar="NAME", help="the member to lead (default: the fittest)")
    _behind_pause(command)
    command.set_defaults(run=running.switchover)

    command = commands.add_parser("restart-leader", help="restart PostgreSQL where it leads while all clients wait")
    _behind_pause(command)
    command.set_defaults(run=running.restart_leader)

    command = commands.add_parser("drill", help="load on a pool, and what its clients feel of an event")
    _drill_options(command)
    command.set_defaults(run=running.drill)

    command = commands.add_parser("doctor", help="check hosts from end to end, each check with evidence and remedy")
    _doctor_options(command)
    command.set_defaults(run=running.doctor)

    command = commands.add_parser("top", help="a live board of instances: clients, waiting, servers, rates, leader")
    _top_options(command)
    command.set_defaults(run=running.top)

    command = commands.add_parser("agent", help="the daemon beside the instances of a host; ends at SIGTERM")
    command.add_argument("file", nargs="?", default=CONFIG, metavar="FILE", help="default %(default)s")
    command.set_defaults(run=running.agent)

    command = commands.add_parser("release-port", help="end listening on a port for all holders of the socket")
    command.add_argument("pid", type=int)
    command.add_argument("port", type=int)
    command.set_defaults(run=running.release_port)
    return top


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
