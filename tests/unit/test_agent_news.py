"""What is told again and again makes the agent think only when it is another than before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pooler.agent.consoles import Console, Facts, Link
from pooler.agent.decide import Word
from pooler.agent.instances import Instance
from pooler.agent.members import Answer

FACTS = Facts(1.0, {"app": ("10.0.0.1", 5432)}, frozenset(), frozenset((Link("app", "10.0.0.1", 5432, False),)))
INSTANCE = Instance(Console(50001, 6432), FACTS, "")
ANSWER = Answer(1.0, Word(writable=True, timeline=3))


def test_the_same_a_second_later_is_no_news() -> None:
    assert replace(ANSWER, at=2.0).repeats(ANSWER)
    assert replace(INSTANCE, facts=replace(FACTS, at=2.0)).repeats(INSTANCE)
    silent = Instance(INSTANCE.console, error="no such file")
    assert silent.repeats(silent)


@pytest.mark.parametrize(
    "change",
    [{"word": None, "error": "gone"}, {"word": Word(writable=False)}, {"word": Word(True, 4)}, {"misses": 1}],
)
def test_whatever_a_server_says_otherwise_is_news(change: dict[str, Any]) -> None:
    assert not replace(ANSWER, at=2.0, **change).repeats(ANSWER)


def test_each_silence_is_news() -> None:
    first = replace(ANSWER, at=2.0, word=None, misses=1, silences=1, error="no answer")
    assert not replace(first, at=3.0, misses=2, silences=2).repeats(first)


@pytest.mark.parametrize(
    "change", [{"hosts": {"app": ("10.0.0.2", 5432)}}, {"paused": frozenset("*")}, {"links": frozenset()}]
)
def test_whatever_an_instance_says_otherwise_is_news(change: dict[str, Any]) -> None:
    assert not replace(INSTANCE, facts=replace(FACTS, at=2.0, **change)).repeats(INSTANCE)


def test_that_an_instance_comes_goes_or_fails_otherwise_is_news() -> None:
    silent = Instance(INSTANCE.console, error="no such file")
    assert not silent.repeats(INSTANCE)
    assert not INSTANCE.repeats(silent)
    assert not replace(silent, error="refused").repeats(silent)
