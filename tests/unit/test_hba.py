"""The HBA file: rules read back the same, and no rule that the engine would lose is written or taken."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler import hba
from pooler.errors import InvalidError
from pooler.hba import Rule

LINE = st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])
PLAIN = st.text(LINE, min_size=1, max_size=20).filter(lambda name: name[0] not in '"+@')
QUOTED = st.one_of(
    st.just('"all"'),
    st.text(LINE, max_size=10).map(lambda rest: '"' + ("+" + rest).replace('"', '""') + '"'),
)
NETWORKS = st.one_of(
    st.just("all"),
    st.tuples(st.ip_addresses(v=4), st.integers(0, 32)).map(lambda at: str(ipaddress.ip_network(at, strict=False))),
    st.tuples(st.ip_addresses(v=6), st.integers(0, 128)).map(lambda at: str(ipaddress.ip_network(at, strict=False))),
)
DATABASES = st.lists(
    st.one_of(PLAIN, QUOTED, st.sampled_from(["all", "sameuser", "replication"])), min_size=1, max_size=3
)
USERS = st.lists(st.one_of(PLAIN, QUOTED, st.just("all")), min_size=1, max_size=3)
METHODS = st.sampled_from(hba.METHODS)
RULES = st.one_of(
    st.builds(Rule, st.just("local"), DATABASES.map(tuple), USERS.map(tuple), st.none(), METHODS),
    st.builds(
        Rule,
        st.sampled_from(["host", "hostssl", "hostnossl"]),
        DATABASES.map(tuple),
        USERS.map(tuple),
        NETWORKS,
        METHODS,
    ),
)


def refused(text: str, version: tuple[int, ...] = (1, 24, 1)) -> str:
    with pytest.raises(InvalidError) as caught:
        hba.parse(text, name="h", version=version)
    return str(caught.value)


@given(st.lists(RULES, max_size=5).map(tuple))
def test_rendered_rules_read_back_the_same(rules: tuple[Rule, ...]) -> None:
    assert hba.parse(hba.render(rules)) == rules


TEXT = st.sampled_from(
    [
        *("host", "hostssl", "local", "all", "sameuser", "samerole", "replication", "app", "+r", "@f"),
        *('"', '""', '"a b"', ",", " ", "\t", "#", "\n"),
        *("10.0.0.0/8", "10.0.0.1/8", "::/0", "10.0.0.0", "255.0.0.0", "md5", "trust", "reject", "map=x"),
    ]
)


@given(st.lists(TEXT, max_size=12).map(" ".join))
def test_what_is_read_can_be_written_and_means_the_same(text: str) -> None:
    try:
        rules = hba.parse(text)
    except InvalidError:
        return
    assert hba.parse(hba.render(rules)) == rules


def test_file_is_one_that_people_can_read() -> None:
    rules = (
        Rule("local", ("all",), ("all",), None, "peer", "map=ops", comment="the console"),
        Rule("hostssl", ("app", "a b", '"all"'), ("replication", 'q"x'), "10.0.0.0/8", "scram-sha-256"),
        Rule("host", ("all",), ("all",), "all", "reject"),
    )

    assert hba.render(rules) == (
        "# the console\n"
        "local all all peer map=ops\n"
        'hostssl app,"a b","all" "replication","q""x" 10.0.0.0/8 scram-sha-256\n'
        "host all all all reject\n"
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("host all all 10.0.0.0 255.0.0.0 md5", Rule("host", ("all",), ("all",), "10.0.0.0/8", "md5")),
        ("host all all 0.0.0.0 0.0.0.0 md5", Rule("host", ("all",), ("all",), "0.0.0.0/0", "md5")),
        ("host all all fe80:: ffc0:: md5", Rule("host", ("all",), ("all",), "fe80::/10", "md5")),
        ("host a , b all all md5 # and so on", Rule("host", ("a", "b"), ("all",), "all", "md5")),
        ('host a"b"all md5', Rule("host", ("a",), ("b",), "all", "md5")),
        ("\tlocal all all\tpeer map=x\r", Rule("local", ("all",), ("all",), None, "peer", "map=x")),
        ('host "samerole" "sameuser" all md5', Rule("host", ("samerole",), ("sameuser",), "all", "md5")),
    ],
)
def test_text_means_what_the_engine_means(text: str, rule: Rule) -> None:
    assert hba.parse(text) == (rule,)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hostgss all all all trust", "did you mean 'hostssl'?"),
        ('"host" all all all trust', "connection type"),
        ("host all all 10.0.0.1 trust", "write 10.0.0.1/32"),
        ("host all all ::1 trust", "write ::1/128"),
        ("host all all 10.0.0.1/8 reject", "never match it (write 10.0.0.0/8)"),
        ("host all all 10.0.0.0/33 reject", "not a network"),
        ("host all all 10.0.0.0/ reject", "not a network"),
        ("host all all 10.0.0.0 255.0.255.0 reject", "not a network"),
        ("host all all 10.0.0.0 2.5.5.5.5 reject", "not a mask"),
        ("host all all 010.0.0.0/8 reject", "not a network"),
        ("host all all db1 reject", "no host names"),
        ("host all all samenet reject", "no host names"),
        ('host all all "10.0.0.0/8" reject', "no address"),
        ("host samerole all all reject", 'write "samerole"'),
        ("host all replication all reject", 'write "replication"'),
        ("host all sameuser all reject", 'write "sameuser"'),
        ("host all +admins all reject", "members of a role"),
        ("host @dbs all all reject", "names from a file"),
        ('host "" all all reject', "cannot match"),
        ("host all,,b all all reject", "no database"),
        ("host all", "no user"),
        ('host all "x all all reject', "not closed"),
        ("host all all all", "no method"),
        ("host all all all Reject", "did you mean 'reject'?"),
        ("host all all all plain", "write password"),
        ("host all all all pam", "one of trust"),
        ("host all all all any", "no method 'any'"),
        ("host all all all trust clientcert=1", "only cert and peer"),
        ("host all all all cert map=a map=b", "only cert and peer"),
        ('host all all all cert "map=a"', "can only be map=name"),
        ("local all all all trust", "no method 'all'"),
        ("host all all all trust\0", "NUL"),
    ],
)
def test_line_that_the_engine_would_lose_is_refused(line: str, said: str) -> None:
    message = refused(f"local all all peer\n{line}\n")

    assert message.startswith("h:2: ")
    assert said in message


def test_every_lost_line_is_told() -> None:
    assert refused("x\nhost all all all md5\ny\n").count("h:") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("host all all all md5", "0.0.0.0/0 and ::/0"),
        ("host replication all 0.0.0.0/0 md5", "needs PgBouncer 1.23.0"),
        ("local all all peer map=x", "needs PgBouncer 1.23.0"),
    ],
)
def test_what_came_with_1_23_is_refused_before(text: str, said: str) -> None:
    assert said in refused(text, (1, 22, 1))
    assert hba.parse(text, version=(1, 23, 0))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule("hostgss", ("all",), ("all",), "all", "md5"), "connection type"),
        (Rule("local", ("all",), ("all",), "all", "md5"), "no address"),
        (Rule("host", ("all",), ("all",), None, "md5"), "not a network"),
        (Rule("host", (), ("all",), "all", "md5"), "no database"),
        (Rule("host", ("all",), (), "all", "md5"), "no user"),
        (Rule("host", ("a\nb",), ("all",), "all", "md5"), "line break"),
        (Rule("host", ('"a',), ("all",), "all", "md5"), "not a quoted name"),
        (Rule("host", ("all",), ("all",), "10.0.0.1/8", "md5"), "write 10.0.0.0/8"),
        (Rule("host", ("all",), ("all",), "fe80::1%eth0/128", "md5"), "not a network"),
        (Rule("host", ("all",), ("all",), "all", "ldap"), "no method"),
        (Rule("host", ("all",), ("all",), "all", "md5", "map=x"), "only cert and peer"),
    ],
)
def test_rule_that_the_engine_would_lose_is_not_written(rule: Rule, said: str) -> None:
    with pytest.raises(InvalidError) as caught:
        hba.render([rule])
    assert str(caught.value).startswith("rule 1: ")
    assert said in str(caught.value)
