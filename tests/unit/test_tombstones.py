"""Users who are gone: what the userlist says of them, for how long, and what follows for the instances."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import bundle, plan, scram, tombstones, userlist, variables
from pooler.bundle import Bundle, Facts
from pooler.model import Pooler
from pooler.observed import FoundFile, Instance, Observed
from pooler.plan import Effect
from pooler.server import Server
from pooler.tombstones import Tombstone

FACTS = Facts(Server("10.0.0.1"), "/etc/pgbouncer/tls/server/01", "/etc/pgbouncer/tls/client/02")
ALICE, BOB = ({"name": name, "verifier": scram.verifier(name)} for name in ("alice", "bob"))
BY_PASSWORD, TRUSTING = ["local all all scram-sha-256"], ["local all all trust"]
BEGUN = {50001: "a1", 50002: "b2"}
NAMES = st.text(min_size=1, max_size=12).filter(lambda text: not set(text) & set("\n\r\0"))
IDS = st.frozensets(st.text("0123456789abcdef", min_size=32, max_size=32), min_size=1, max_size=3)


def pooler(*users: dict[str, Any], **changed: Any) -> Pooler:
    given = {
        "image": "localhost/pgfleet/pooler:0.1.0",
        "patroni": ["https://db1:8008"],
        "databases": [{"name": "app"}],
        "agent": {"enabled": False},
        "userlist_only": True,
        "hba": BY_PASSWORD,
        "users": users,
    }
    return variables.read(given | changed)


def host(made: Bundle, version: str = "1.25.2", begun: dict[int, str] | None = None) -> Observed:
    """A host with the files of a bundle, whose instances say of themselves their version only."""
    return Observed(
        release=made.release,
        files={file.path: FoundFile(file.content, file.mode, file.owner) for file in made.files},
        instances={
            console: Instance(console, active=True, version=version, invocation=invocation)
            for console, invocation in (begun or BEGUN).items()
        },
    )


def built(wanted: Pooler, found: Observed) -> Bundle:
    facts = replace(
        FACTS,
        release=found.release,
        verifiers=found.verifiers(),
        tombstones=found.tombstones(),
        running=found.running(),
        remembering=found.remembering(),
    )
    return bundle.build(wanted, facts)


def lines(made: Bundle) -> str:
    (text,) = (file.content.decode() for file in made.release_files if file.secret)
    return text


def restarted_for(wanted: Pooler, made: Bundle, found: Observed) -> dict[int | None, str]:
    """The instances to be restarted so that a user is forgotten, and that user."""
    changes = plan.plan(wanted, made, found).changes
    return {change.instance: change.what for change in changes if "forgotten by a restart" in change.why}


@given(
    st.dictionaries(NAMES, st.just(ALICE["verifier"]), max_size=4),
    st.dictionaries(NAMES, st.builds(Tombstone, IDS, st.sampled_from(["", str(BOB["verifier"])])), max_size=4),
)
def test_what_is_written_is_read(listed: dict[str, str], gone: dict[str, Tombstone]) -> None:
    gone = {name: stone for name, stone in gone.items() if name not in listed}
    text = tombstones.render(listed, gone)
    assert tombstones.read(text).gone == gone
    assert set(userlist.parse(text)) == {*listed, *(name for name, stone in gone.items() if stone.secret)}


@pytest.mark.parametrize("text", ["", '"a" "b"\n', '"a" "b" whatever\n', '; "a" is gone\n', "; gone\n"])
def test_other_words_in_a_userlist_are_no_tombstones(text: str) -> None:
    assert tombstones.read(text).gone == {}


@pytest.mark.parametrize(("version", "by_line"), [("1.24.1", False), ("1.25.0", True), ("1.26.0", True)])
def test_a_line_stands_for_a_user_where_the_engine_keeps_what_it_has_made_of_his(version: str, by_line: bool) -> None:
    found = host(bundle.build(pooler(ALICE, BOB), FACTS), version)
    made = built(pooler(BOB), found)
    assert ("alice" in userlist.parse(lines(made))) == by_line
    assert userlist.parse(lines(made)).get("alice") != ALICE["verifier"]
    assert tombstones.read(lines(made)).gone["alice"].knowing == {"a1", "b2"}
    (why,) = (change.why for change in plan.plan(pooler(BOB), made, found).changes if change.what == "user alice")
    assert ("stands for him" in why) == by_line


def test_the_second_run_finds_the_same_userlist() -> None:
    made = built(pooler(BOB), host(bundle.build(pooler(ALICE, BOB), FACTS)))
    assert built(pooler(BOB), host(made)) == made


def test_a_tombstone_stays_until_every_process_that_knew_the_user_is_gone_and_leaves_with_the_next_change() -> None:
    made = built(pooler(BOB), host(bundle.build(pooler(ALICE, BOB), FACTS)))
    changed = pooler(BOB, settings={"default_pool_size": 7})
    one, both = {50001: "c3", 50002: "b2"}, {50001: "c3", 50002: "d4"}
    assert "alice" in lines(built(changed, host(made, begun=one)))
    assert built(pooler(BOB), host(made, begun=both)) == made
    assert "alice" not in lines(built(changed, host(made, begun=both)))


def test_a_user_who_comes_back_has_a_line_of_his_own() -> None:
    made = built(pooler(BOB), host(bundle.build(pooler(ALICE, BOB), FACTS)))
    again = lines(built(pooler(ALICE, BOB), host(made)))
    assert userlist.parse(again)["alice"] == ALICE["verifier"]
    assert tombstones.read(again).gone == {}


@pytest.mark.parametrize("version", ["1.24.1", "1.25.2"])
def test_no_line_stands_for_a_user_whom_a_rule_asks_for_no_password(version: str) -> None:
    """It would let him in; a restart makes the engine forget him."""
    found = host(bundle.build(pooler(ALICE, BOB, hba=TRUSTING), FACTS), version)
    wanted = pooler(BOB, hba=TRUSTING)
    made = built(wanted, found)
    assert set(userlist.parse(lines(made))) == {"bob"}
    assert restarted_for(wanted, made, found) == {50001: "user alice", 50002: "user alice"}
    later = host(made, version, {50001: "c3", 50002: "b2"})
    assert restarted_for(wanted, built(wanted, later), later) == {50002: "user alice"}


@pytest.mark.parametrize("version", ["1.24.1", "1.25.2"])
def test_who_left_earlier_is_forgotten_when_a_rule_begins_to_ask_for_no_password(version: str) -> None:
    found = host(built(pooler(BOB), host(bundle.build(pooler(ALICE, BOB), FACTS), version)), version)
    wanted = pooler(BOB, hba=TRUSTING)
    made = built(wanted, found)
    assert "alice" not in userlist.parse(lines(made))
    assert restarted_for(wanted, made, found) == {50001: "user alice", 50002: "user alice"}


@pytest.mark.parametrize(
    ("rules", "restarts"),
    [
        (["local all bob trust"], False),
        (["local all alice,bob reject", "local all all trust"], False),
        (["host all all all scram-sha-256", "hostssl all all all cert"], False),
        (["hostssl all all all scram-sha-256", "host all all all trust"], True),
        (["local app all scram-sha-256", "local all all trust"], True),
        (["host all all 10.0.0.0/8 scram-sha-256", "host all alice all trust"], True),
        (["local all all scram-sha-256", "hostssl all alice all cert"], True),
    ],
)
def test_only_a_rule_that_can_let_the_user_in_restarts(rules: list[str], restarts: bool) -> None:
    found = host(bundle.build(pooler(ALICE, BOB), FACTS))
    wanted = pooler(BOB, hba=rules)
    assert bool(restarted_for(wanted, built(wanted, found), found)) == restarts


@pytest.mark.parametrize(("version", "warned"), [("1.24.1", 0), ("1.25.0", 1), ("1.25.2", 1), ("1.26.0", 0)])
def test_a_person_is_told_of_engines_that_lock_users_out(version: str, warned: int) -> None:
    found = host(bundle.build(pooler(ALICE), FACTS), version)
    assert len(plan.warnings(pooler(ALICE), found)) == warned
    assert plan.warnings(pooler(), found) == ()


def test_a_user_is_out_before_any_instance_is_restarted() -> None:
    found = host(bundle.build(pooler(ALICE, BOB), FACTS))
    wanted = pooler(BOB, settings={"pkt_buf": 16384})
    todo = plan.plan(wanted, built(wanted, found), found)
    assert (todo.effect, todo.expel, todo.reload) == (Effect.ROLLING_RESTART, ("alice",), (50001, 50002))
