"""What must be so before anybody is made to wait, from what Patroni 4.0 answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pooler import patroni as clusters
from pooler.errors import InvalidError, PoolerError
from pooler.switchover import preconditions
from pooler.switchover.preconditions import Activity, Transaction

Values = dict[str, Any]


def member(name: str, **values: Any) -> Values:
    number = name[-1]
    return {
        "name": name,
        "role": "replica",
        "state": "streaming",
        "api_url": f"https://10.0.0.{number}:8008/patroni",
        "host": f"10.0.0.{number}",
        "port": 5432,
        "timeline": 3,
        "lag": 0,
        **values,
    }


def leading(name: str = "db1", **values: Any) -> Values:
    found = member(name, role="leader", state="running", **values)
    del found["lag"]
    return found


def cluster(*members: Values, **values: Any) -> clusters.Cluster:
    return clusters.parse(json.dumps({"members": members, "scope": "demo", **values}))


HEALTHY = (leading(), member("db2", role="sync_standby"), member("db3"))


def test_leader_and_synchronous_standby_are_found() -> None:
    found = cluster(*HEALTHY)
    assert preconditions.leader(found).name == "db1"
    assert preconditions.candidate(found, None, synchronous=True).name == "db2"


def test_a_synchronous_standby_may_be_named_and_no_other_replica() -> None:
    found = cluster(*HEALTHY)
    assert preconditions.candidate(found, "db2", synchronous=True).server.host == "10.0.0.2"
    with pytest.raises(InvalidError, match="candidate: db3 is no synchronous standby"):
        preconditions.candidate(found, "db3", synchronous=True)
    assert preconditions.candidate(found, "db3", synchronous=False).name == "db3"


def test_a_quorum_standby_is_synchronous() -> None:
    found = cluster(leading(), member("db2", role="quorum_standby"))
    assert preconditions.candidate(found, None, synchronous=True).name == "db2"


def test_of_several_the_one_that_lags_least_is_taken() -> None:
    found = cluster(leading(), member("db2", lag=900), member("db3", lag=7))
    assert preconditions.candidate(found, None, synchronous=False).name == "db3"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"state": "running"}, "db2 is running, not streaming"),
        ({"state": "in archive recovery"}, "db2 is in archive recovery, not streaming"),
        ({"tags": {"nofailover": True}}, "db2 is tagged so that it never leads"),
        ({"tags": {"failover_priority": 0}}, "db2 is tagged so that it never leads"),
        ({"lag": "unknown"}, "db2: Patroni does not know how far it is behind"),
        ({"host": None}, "db2 has not said where its PostgreSQL is"),
    ],
)
def test_a_replica_that_cannot_lead_is_refused_with_the_reason(values: Values, words: str) -> None:
    found = cluster(leading(), member("db2", role="sync_standby", **values))
    for name in ("db2", None):
        with pytest.raises(InvalidError, match=f"candidate: {words}"):
            preconditions.candidate(found, name, synchronous=True)


def test_when_no_replica_may_lead_each_is_told_with_its_reason() -> None:
    found = cluster(leading(), member("db2", state="stopped"), member("db3", tags={"nofailover": True}))
    with pytest.raises(InvalidError) as error:
        preconditions.candidate(found, None, synchronous=False)
    assert "db2 is stopped" in str(error.value)
    assert "db3 is tagged" in str(error.value)


def test_an_unknown_candidate_is_told_the_nearest_name_or_all() -> None:
    with pytest.raises(InvalidError, match=r"no member 'db22' \(did you mean 'db2'\?\)"):
        preconditions.candidate(cluster(*HEALTHY), "db22", synchronous=True)
    with pytest.raises(InvalidError, match="its replicas are db2, db3"):
        preconditions.candidate(cluster(*HEALTHY), "x", synchronous=True)


def test_the_leader_is_no_candidate() -> None:
    with pytest.raises(InvalidError, match="db1 is the leader already"):
        preconditions.candidate(cluster(*HEALTHY), "db1", synchronous=True)


def test_a_cluster_of_one_has_no_candidate() -> None:
    with pytest.raises(InvalidError, match="the cluster has no replica"):
        preconditions.candidate(cluster(leading()), None, synchronous=True)


@pytest.mark.parametrize(
    ("members", "values", "words"),
    [
        (HEALTHY, {"pause": True}, "cluster: Patroni is in maintenance mode"),
        (
            HEALTHY,
            {"scheduled_switchover": {"at": "2030-01-01T00:00:00+00:00", "from": "db1"}},
            "cluster: a switchover is scheduled: at 2030-01-01T00:00:00",
        ),
        (HEALTHY[1:], {}, "cluster: it has no leader now"),
        ((leading(), leading("db2")), {}, "cluster: more than one leads: db1, db2"),
        ((leading() | {"state": "stopping"},), {}, "leader: db1 is stopping, not running"),
        ((leading() | {"role": "standby_leader"},), {}, "cluster: db1 leads a standby cluster"),
    ],
)
def test_a_cluster_that_somebody_else_changes_is_left_alone(
    members: tuple[Values, ...], values: Values, words: str
) -> None:
    with pytest.raises(InvalidError, match=words):
        preconditions.leader(cluster(*members, **values))


def test_all_problems_of_a_cluster_are_told_at_once() -> None:
    with pytest.raises(InvalidError) as error:
        preconditions.leader(cluster(leading() | {"state": "starting"}, pause=True))
    assert len(error.value.problems) == 2


def test_old_transactions_are_named_the_oldest_first_and_young_ones_are_not() -> None:
    activity = Activity(
        (
            Transaction(11, "app", "active", 4.9),
            Transaction(12, "batch", "idle in transaction", 61.0),
            Transaction(13, "report", "active", 3600.0),
        )
    )
    preconditions.transactions(activity, 3600.0)
    with pytest.raises(InvalidError) as error:
        preconditions.transactions(activity, 5.0)
    assert [problem.what for problem in error.value.problems] == [
        "process 13 of report, active, for 3600 s",
        "process 12 of batch, idle in transaction, for 61 s",
    ]


def test_a_transaction_that_we_may_not_look_at_is_as_old_as_we_have_seen_it() -> None:
    first = Activity(hidden={"3/17": Transaction(21, "app", "?", 0.0), "4/8": Transaction(22, "app", "?", 0.0)})
    later = Activity(hidden={"3/18": Transaction(21, "app", "?", 0.0), "4/8": Transaction(22, "app", "?", 0.0)})
    preconditions.transactions(preconditions.lasting(first, later, 5.0), 5.0)
    with pytest.raises(InvalidError) as error:
        preconditions.transactions(preconditions.lasting(first, later, 5.1), 5.0)
    assert [problem.what for problem in error.value.problems] == ["process 22 of app, ?, for 5 s"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"members": [{"name": "db1"}]}', '{"members": 1}'])
def test_an_answer_that_is_no_cluster_is_an_error_of_ours(text: str) -> None:
    with pytest.raises(PoolerError, match="is not what Patroni answers"):
        clusters.parse(text)
