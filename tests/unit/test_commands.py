"""What instances are told, given what they say."""

from __future__ import annotations

import pytest

from pooler.commands import Answers, Command, statements, undo


def saying(*, paused: str = "no", databases: tuple[tuple[str, str, str], ...] = (("app", "0", "0"),)) -> Answers:
    return {
        "STATE": [{"key": "active", "value": "yes"}, {"key": "paused", "value": paused}],
        "DATABASES": [{"name": name, "paused": held, "disabled": off} for name, held, off in databases],
        "CLIENTS": [{"user": "u", "id": "7"}, {"user": "v", "id": "8"}, {"user": "u", "id": "9"}],
    }


def test_pause_is_not_repeated() -> None:
    assert statements(Command("PAUSE"), saying()) == ("PAUSE",)
    assert statements(Command("PAUSE"), saying(paused="yes")) == ()
    assert statements(Command("PAUSE", "app"), saying(databases=(("app", "1", "0"),))) == ()


def test_resume_names_the_databases_that_a_global_resume_would_leave_paused() -> None:
    answers = saying(databases=(("app", "1", "0"), ("b", "0", "0")))
    assert statements(Command("RESUME"), answers) == ('RESUME "app"',)
    answers = saying(paused="yes", databases=(("app", "1", "0"),))
    assert statements(Command("RESUME"), answers) == ("RESUME", 'RESUME "app"')
    assert statements(Command("RESUME"), saying()) == ()


def test_only_the_sessions_of_the_user_are_ended() -> None:
    assert statements(Command("KILL_CLIENT", user="u"), saying()) == ("KILL_CLIENT 7", "KILL_CLIENT 9")


@pytest.mark.parametrize(
    ("verb", "off", "told"), [("DISABLE", "0", True), ("DISABLE", "1", False), ("ENABLE", "1", True)]
)
def test_a_database_is_disabled_once(verb: str, off: str, told: bool) -> None:
    command = Command("DISABLE" if verb == "DISABLE" else "ENABLE", "app")
    assert bool(statements(command, saying(databases=(("app", "0", off),)))) is told


def test_names_are_quoted_for_the_console() -> None:
    assert statements(Command("RECONNECT", 'a"b'), saying()) == ('RECONNECT "a""b"',)


def test_what_some_have_done_can_be_taken_back() -> None:
    assert undo(Command("PAUSE", "app")) == ('RESUME "app"',)
    assert undo(Command("RELOAD")) == ()
