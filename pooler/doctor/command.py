"""`pooler doctor`: beside an agent, on other hosts over ssh, and as a client from here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import beside
from ..drill import target
from ..errors import PoolerError
from ..over_ssh import arguments
from . import client, report
from .finding import EXIT_STATUS, Finding, unknown, worst
from .gather import gather
from .report import Report

_SECONDS = 60.0
"""For one host."""


@dataclass(frozen=True)
class Options:
    """`hosts` are asked over ssh; without any, the agent beside which this runs, by its file `config`.

    `login` is the connection string of a client; with it alone nothing else is looked at.
    """

    config: str
    hosts: tuple[str, ...] = ()
    ssh: str = "ssh"
    login: str = ""
    password_file: str = ""
    as_json: bool = False


def doctor(options: Options) -> int:
    """Exit status by the worst verdict: 0 ok, 1 warning, 2 failed, 3 unknown. Raises PoolerError for wrong usage."""
    where = target.parse(options.login) if options.login else None
    password = target.password(options.password_file) if where else ""
    reports, findings = asyncio.run(_examine(options))
    if where:
        findings += asyncio.run(client.log_in(where, password))
    if options.as_json and len(reports) == 1 and not options.hosts and not where:
        print(json.dumps({"verdict": worst(findings), **reports[0].data()}))
    else:
        print(report.to_json(findings) if options.as_json else report.text(findings))
    return EXIT_STATUS[worst(findings)]


async def _examine(options: Options) -> tuple[list[Report], list[Finding]]:
    if options.hosts:
        answers = await asyncio.gather(*(_far(options.ssh, host) for host in options.hosts))
        reports = [each for each in answers if isinstance(each, Report)]
        findings = [each for found in reports for each in found.findings]
        findings += [each for each in answers if isinstance(each, Finding)]
        return reports, findings + report.fleet(reports)
    if options.login and not Path(options.config).exists():
        return [], []
    found = Report.of(await gather(beside.config(options.config)))
    return [found], list(found.findings)


async def _far(ssh: str, host: str) -> Report | Finding:
    trouble = ""
    try:
        async with asyncio.timeout(_SECONDS):
            said, trouble = await _run(arguments(ssh, host, ("doctor", "--json")))
        return Report.from_data(json.loads(said))
    except TimeoutError:
        why = f"no answer within {_SECONDS:g} s"
    except ValueError:
        why = trouble or "ended without a word"
    except (OSError, PoolerError) as error:
        why = str(error)
    return unknown("reachability", host, f"could not be examined over ssh: {why}", f"ssh {host} sudo podman ps")


async def _run(words: Sequence[str]) -> tuple[bytes, str]:
    """What it prints, and the last line of its trouble."""
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, trouble = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        raise
    return said, trouble.decode("utf-8", "replace").strip().rpartition("\n")[2]
