"""What has to be so before anybody is made to wait; decided from what Patroni and the leader say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import InvalidError, Problem, nearest
from ..patroni import Cluster, Member


@dataclass(frozen=True)
class Transaction:
    """A transaction that runs on the leader. `age` is in seconds since it began."""

    pid: int
    user: str
    state: str
    age: float


@dataclass(frozen=True)
class Activity:
    """`hidden` are open transactions of roles that ours may not look at, by number; when they began is not known."""

    transactions: tuple[Transaction, ...] = ()
    hidden: Mapping[str, Transaction] = field(default_factory=dict)


def leader(cluster: Cluster) -> Member:
    """The one running leader of a cluster that nobody else is about to change. Raises InvalidError, all problems."""
    problems = _cluster(cluster)
    if problems:
        raise InvalidError(problems)
    return next(member for member in cluster.members if member.leads)


def candidate(cluster: Cluster, name: str | None, *, synchronous: bool) -> Member:
    """The member to be the next leader: the one named, or of those that may be it the one that lags least.

    `synchronous`: the cluster's commits wait for a replica, so that only such a replica has all of them.
    Raises InvalidError that says of the member named, or of each one, why it may not.
    """
    others = [member for member in cluster.members if not member.leads]
    if name is not None:
        chosen = cluster.member(name)
        if chosen is None:
            names = [member.name for member in others]
            known = nearest(name, names) or f"its replicas are {', '.join(names) or 'none'}"
            raise InvalidError([Problem("candidate", f"the cluster has no member {name!r}", known)])
        problems = _candidate(chosen, synchronous)
        if problems:
            raise InvalidError(problems)
        return chosen
    fit = [member for member in others if not _candidate(member, synchronous)]
    if fit:
        return min(fit, key=lambda member: member.lag or 0)
    reasons = [problem for member in others for problem in _candidate(member, synchronous)]
    raise InvalidError(reasons or [Problem("candidate", "the cluster has no replica", "add one first")])


def transactions(activity: Activity, limit: float) -> None:
    """Raises InvalidError that names each transaction older than `limit` seconds: PAUSE would wait for it."""
    old = sorted((each for each in activity.transactions if each.age > limit), key=lambda each: -each.age)
    if old:
        remedy = f"wait for it, end it with pg_terminate_backend, or allow more than {limit:g} s"
        raise InvalidError(
            [
                Problem(
                    "transactions", f"process {each.pid} of {each.user}, {each.state}, for {each.age:.0f} s", remedy
                )
                for each in old
            ]
        )


def lasting(first: Activity, later: Activity, seconds: float) -> Activity:
    """The transactions of `later`; of the hidden ones those that were open in `first` too, so many seconds before."""
    seen = [replace(each, age=seconds) for number, each in later.hidden.items() if number in first.hidden]
    return Activity((*later.transactions, *seen))


def _cluster(cluster: Cluster) -> Sequence[Problem]:
    leaders = [member for member in cluster.members if member.leads]
    problems = []
    if cluster.paused:
        problems.append(Problem("cluster", "Patroni is in maintenance mode", "patronictl resume"))
    if cluster.scheduled:
        problems.append(
            Problem("cluster", f"a switchover is scheduled: {cluster.scheduled}", "patronictl flush CLUSTER switchover")
        )
    if not leaders:
        standby = [member.name for member in cluster.members if member.role == "standby_leader"]
        what = f"{standby[0]} leads a standby cluster, which takes no writes" if standby else "it has no leader now"
        problems.append(Problem("cluster", what))
    if len(leaders) > 1:
        problems.append(Problem("cluster", f"more than one leads: {', '.join(member.name for member in leaders)}"))
    problems += [
        Problem("leader", f"{member.name} is {member.state}, not running", "another switchover may be under way")
        for member in leaders
        if member.state != "running"
    ]
    problems += [
        Problem("leader", f"{member.name} has not said where its PostgreSQL is")
        for member in leaders
        if not member.host
    ]
    return problems


def _candidate(member: Member, synchronous: bool) -> Sequence[Problem]:
    problems = []
    if member.leads:
        return [Problem("candidate", f"{member.name} is the leader already")]
    if member.never_leads:
        problems.append(Problem("candidate", f"{member.name} is tagged so that it never leads", "nofailover"))
    if member.state != "streaming":
        problems.append(Problem("candidate", f"{member.name} is {member.state or 'silent'}, not streaming"))
    if synchronous and not member.synchronous:
        problems.append(
            Problem("candidate", f"{member.name} is no synchronous standby", "commits might be missing there")
        )
    # How large the lag is cannot be judged here: leader and replicas tell etcd their positions at different times, so
    # that under load there always seems to be some.
    if member.lag is None:
        problems.append(Problem("candidate", f"{member.name}: Patroni does not know how far it is behind"))
    if not member.host:
        problems.append(Problem("candidate", f"{member.name} has not said where its PostgreSQL is"))
    return problems
