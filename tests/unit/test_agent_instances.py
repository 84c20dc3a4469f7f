"""What is heard of an instance from its console and through its pool at the same time is all kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from pooler.agent.config import AgentConfig
from pooler.agent.consoles import Console, Facts
from pooler.agent.instances import Instance, Instances, Served

FACTS = Facts(1.0, {"app": ("10.0.0.1", 5432)}, frozenset(), frozenset())
CONFIG = AgentConfig(6432, (50001,), server_leaf="", client_leaf="", role="pgbouncer", dbname="postgres")


def test_an_answer_through_the_pool_is_kept_that_comes_while_the_console_is_asked() -> None:
    served = Served(1.0, writable=True)

    async def looked_at() -> Instance:
        looked = asyncio.Event()
        instances = Instances(CONFIG, lambda _facts: False, lambda _news: looked.set())

        class Slow(Console):
            async def facts(self) -> Facts:
                instances.seen[50001] = replace(instances.seen[50001], leader_pool=served)
                return FACTS

        instances.seen[50001] = Instance(Slow(50001, 6432))
        looking = asyncio.create_task(instances._watch(50001))
        await looked.wait()
        looking.cancel()
        return instances.seen[50001]

    instance = asyncio.run(looked_at())
    assert (instance.facts, instance.leader_pool) == (FACTS, served)
