"""What an instance's console answers to the questions of a scrape, and what it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from ..agent import wire
from ..agent.consoles import CONSOLE, Console
from ..agent.wire import Table
from ..errors import PoolerError

QUESTIONS = ("VERSION", "LISTS", "CONFIG", "CLIENTS", "SERVERS", "DATABASES", "STATS_TOTALS", "POOLS")

SECONDS = 2.0
"""For one instance; all are asked at once. Prometheus by its own default waits for ten."""


@dataclass(frozen=True)
class Answers:
    """Tables by question, and why there is none to the others; `CONSOLE` among those when nobody is there to ask."""

    tables: Mapping[str, Table] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)


async def ask(console: Console, seconds: float = SECONDS, questions: Sequence[str] = QUESTIONS) -> Answers:
    """In one session of a moment: while it lasts it is a client, for which a drain would wait."""
    tables: dict[str, Table] = {}
    missing: dict[str, str] = {}
    try:
        async with asyncio.timeout(seconds):
            with closing(await wire.over_socket(console.socket, CONSOLE, CONSOLE)) as session:
                for question in questions:
                    session.send(f"SHOW {question}")
                    table, refusal = await session.answer()
                    if refusal:
                        missing[question] = refusal
                    else:
                        tables[question] = table
    except TimeoutError:
        return _cut_off(questions, tables, missing, f"no answer within {seconds:g} s")
    except PoolerError as error:
        return _cut_off(questions, tables, missing, str(error))
    return Answers(tables, missing)


def _cut_off(questions: Sequence[str], tables: Mapping[str, Table], missing: Mapping[str, str], why: str) -> Answers:
    left = [question for question in questions if question not in tables and question not in missing]
    return Answers(tables, {**missing, **dict.fromkeys(left if tables or missing else ("CONSOLE",), why)})
