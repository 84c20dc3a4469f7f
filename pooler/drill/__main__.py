"""`python -m pooler.drill`: settings as one line of JSON on standard input, then `mark WORDS`, `again`, `become JSON`
and `stop`.

Prints one line of JSON when every client is warm, one for each `again` when every client has had a success since, and
the report when it has stopped. `become` gives the clients another user and password. The end of standard input is
a stop as well, so that the load never outlives whoever started it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace

from ..errors import PoolerError
from .load import load
from .run import Run
from .settings import Settings


def main() -> int:
    try:
        report = asyncio.run(_run())
    except PoolerError as error:
        print(error, file=sys.stderr)
        return 1
    print(report)
    return 0


async def _run() -> str:
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    run = Run(Settings.from_json((await commands.readline()).decode()))
    listening = asyncio.create_task(_listen(commands, run))
    try:
        return (await load(run, lambda: print(json.dumps({"warm": True}), flush=True))).to_json()
    finally:
        listening.cancel()


async def _listen(commands: asyncio.StreamReader, run: Run) -> None:
    while line := (await commands.readline()).decode().strip():
        command, _blank, words = line.partition(" ")
        if command == "mark":
            run.book.mark(words)
        elif command == "again":
            print(json.dumps({"again": await run.again()}), flush=True)
        elif command == "become":
            login = json.loads(words)
            run.settings = replace(run.settings, user=str(login["user"]), password=str(login["password"]))
        elif command == "stop":
            break
    run.stop.set()


if __name__ == "__main__":
    sys.exit(main())
