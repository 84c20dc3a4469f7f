"""The command line: `python -m tests.lab`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import hosts, images, life, network, requirements, spec, state
from .errors import LabError


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        requirements.check()
        _act(chosen)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


def _act(chosen: argparse.Namespace) -> None:
    match chosen.action:
        case "prepare":
            life.prepare()
        case "image-root":
            print(images.image(chosen.name).root)
        case "image-archive":
            print(images.pooler.archive())
        case "up":
            life.up(spec.load(chosen.file))
        case "down":
            for name in sorted(life.known()) if chosen.all else [chosen.name]:
                life.down(name)
        case "status":
            _status()
        case "path":
            print(getattr(state.Paths(state.read_spec(chosen.name).name), chosen.what))
        case "exec":
            command = hosts.enter(chosen.name, chosen.host, chosen.command)
            os.execvp(command[0], command)
        case "netns":
            state.read_spec(chosen.name)
            command = ["ip", "netns", "exec", network.lab_namespace(chosen.name), *chosen.command]
            os.execvp(command[0], command)
        case "kill":
            life.kill(chosen.name, chosen.host)
        case "boot":
            life.boot(chosen.name, chosen.host)
        case "ignite":
            life.ignite(chosen.name, chosen.host, chosen.option, os.environ)
        case "link":
            network.set_link(chosen.name, state.read_spec(chosen.name).host(chosen.host).name, up=chosen.state == "up")


def _status() -> None:
    for name in sorted(life.known()):
        try:
            lab = state.read_spec(name)
            links = network.links(name)
        except LabError:
            print(f"{name}: broken (python -m tests.lab down {name})")
            continue
        print(f"{name}: {lab.subnet}, namespace {network.lab_namespace(name)}")
        for host in lab.hosts:
            life_sign = "running" if life.is_running(name, host.name) else "dead"
            cable = "" if links.get(host.name, True) else ", link down"
            print(f"  {host.name:15} {host.address:15} {life_sign}{cable}  {' '.join(host.groups)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)

    actions.add_parser("prepare", help="build the host root and all images, or find them in the cache")
    action = actions.add_parser("image-root", help="print where an image's files lie as a plain directory")
    action.add_argument("name")
    actions.add_parser("image-archive", help="print where the pooler image's OCI archive is")
    action = actions.add_parser("up", help="boot the lab that a YAML file describes")
    action.add_argument("file", type=Path)
    action = actions.add_parser("down", help="remove every trace of a lab")
    which = action.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?")
    which.add_argument("--all", action="store_true", help="every lab on this machine")
    actions.add_parser("status", help="labs and their hosts")

    action = actions.add_parser("path", help="print where a file of the lab is")
    action.add_argument("name")
    action.add_argument("what", choices=("inventory", "ssh_config", "known_hosts", "key", "directory"))
    action = actions.add_parser("exec", help="run a command as root inside a host")
    action.add_argument("name")
    action.add_argument("host")
    action.add_argument("command", nargs=argparse.REMAINDER)
    action = actions.add_parser("netns", help="run a command on the controller's side of the lab's network")
    action.add_argument("name")
    action.add_argument("command", nargs=argparse.REMAINDER)

    for name, meaning in (("kill", "power loss of a host"), ("boot", "boot a host again after kill")):
        action = actions.add_parser(name, help=meaning)
        action.add_argument("name")
        action.add_argument("host")
    action = actions.add_parser("ignite", help="first boot of a host whose system is coreos")
    action.add_argument("name")
    action.add_argument("host")
    action.add_argument("option", nargs=argparse.REMAINDER, help="of Ignition, such as -platform aws")
    action = actions.add_parser("link", help="plug a host's cable in or out")
    action.add_argument("name")
    action.add_argument("host")
    action.add_argument("state", choices=("up", "down"))
    return parser
