"""The bundle against what a host says of itself: what differs, what each difference does to connections, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from . import ini, settings, tombstones
from .agent.config import CONFIG
from .bundle import ANY_DATABASE, RELEASES, Bundle, lets_in_unasked, without_hosts
from .files import File
from .model import Pooler
from .observed import Instance, Observed, admins_of
from .tombstones import Tombstone
from .units import AGENT, LOGINS_SERVICE, LOGINS_SOCKET, SOCKET


class Effect(IntEnum):
    """What a change does to connections, mildest first."""

    NONE = 0
    RELOAD = 1
    RECYCLE = 2
    ROLLING_RESTART = 3
    DISRUPTIVE = 4

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Change:
    """One difference: `what` differs, on which instance if on one, its effect, and how it differs."""

    what: str
    effect: Effect
    why: str
    instance: int | None = None

    def __str__(self) -> str:
        return f"instance {self.instance}: {self.what} {self.why}" if self.instance else f"{self.what} {self.why}"


@dataclass(frozen=True)
class Plan:
    """What to do on one host. `reload`, `start`, `restart` and `remove` name instances by console port.

    `agent`: start the agent anew, which no client notices. `back`: the host is no longer marked as taken out.

    `reconnect` names databases whose server connections are replaced, `expel` users whose sessions end.

    `together`: all restarts stop first and start afterwards, since old and new cannot hold the port side by side.
    """

    changes: tuple[Change, ...] = ()
    write: tuple[File, ...] = ()
    delete: tuple[str, ...] = ()
    switch: bool = False
    units: bool = False
    reload: tuple[int, ...] = ()
    reconnect: tuple[str, ...] = ()
    expel: tuple[str, ...] = ()
    start: tuple[int, ...] = ()
    restart: tuple[int, ...] = ()
    remove: tuple[int, ...] = ()
    together: bool = False
    agent: bool = False
    back: bool = False

    @property
    def effect(self) -> Effect:
        return max((change.effect for change in self.changes), default=Effect.NONE)

    def steps(self) -> tuple[str, ...]:
        """The order of work, in words."""
        words = [f"write {file.path}" for file in self.write]
        words += [f"delete {path}" for path in self.delete]
        words += ["switch to the new files"] * self.switch
        words += ["let systemd read its units anew"] * self.units
        for verb, numbers in (
            ("reload", self.reload),
            ("start", self.start),
            ("restart", self.restart),
            ("stop and remove", self.remove),
        ):
            words += [f"{verb} instance {number}" for number in numbers]
        words += [f"replace the server connections of database {name}" for name in self.reconnect]
        words += [f"end the sessions of user {name}" for name in self.expel]
        words += ["start the agent anew"] * self.agent
        words += ["take away the mark that the host is taken out"] * self.back
        return tuple(words)


def plan(pooler: Pooler, bundle: Bundle, observed: Observed) -> Plan:
    """Everything that must happen for the host to be as the bundle says. Nothing differs: an empty plan."""
    changes: list[Change] = []
    write = tuple(file for file in bundle.files if _differs(file, observed))
    switch = observed.release != bundle.release
    unit_paths = {file.path for file in bundle.units}
    wanted = {
        console: ini.parse(_instance_file(bundle, console), version=pooler.engine_version)
        for console in pooler.consoles
    }
    databases = _databases(pooler, bundle)

    # The kernel shares a port among sockets of one uid only: systemd's are root's, the engine's are not.
    together = bool(observed.instances) and (SOCKET in observed.files) != (SOCKET in unit_paths)
    left = observed.unfinished
    users = tombstones.read(_userlist(bundle))
    gone = users.gone
    expel = tuple(sorted({*_stale_users(bundle, users.listed, observed), *left.expel}))
    reload, start, restart = [], [], []
    for console in pooler.consoles:
        instance = observed.instances.get(console)
        if instance is None or not instance.active:
            start.append(console)
            changes.append(Change("the process", Effect.NONE, "is not running", console))
            continue
        found = tuple(_instance_changes(instance, bundle, observed, wanted[console], databases))
        if bundle.databases in write and not any(change.effect >= Effect.RELOAD for change in found):
            # SHOW DATABASES tells neither of an entry `*` nor of every key.
            found = (*found, Change("databases", Effect.RELOAD, "differ from their file", console))
        if console in left.drains:
            found = (*found, Change("its drain", Effect.ROLLING_RESTART, "was broken off", console))
        if left.expel or left.reconnect:
            found = (*found, Change("what an earlier run has begun", Effect.RELOAD, "was not finished", console))
        if "*" not in databases and _any_database(instance):
            found = (*found, Change("databases", Effect.ROLLING_RESTART, "are no longer made as clients ask", console))
        if named := _still_known(pooler, gone, instance):
            found = (*found, Change(f"user {named}", Effect.ROLLING_RESTART, "is forgotten by a restart only", console))
        if together:
            found = (*found, Change("who opens the port", Effect.DISRUPTIVE, "changes", console))
        changes += found
        effect = max((change.effect for change in found), default=Effect.NONE)
        if effect >= Effect.ROLLING_RESTART:
            restart.append(console)
        elif effect >= Effect.RELOAD:
            reload.append(console)
    if expel:
        # Who goes is out before the first instance is drained. A process that is to lose its entry `*` says by the
        # files it has read that it has one, and would say it no longer.
        reload += [n for n in restart if "*" in databases or not _any_database(observed.instances[n])]
    reconnect = tuple(
        sorted({*_stale_databases(databases, observed, _AT_LOGIN), *(set(left.reconnect) & set(databases))})
    )
    recycled = sorted({*reconnect, *_stale_databases(databases, observed, _RECYCLED)})
    changes += [Change(f"database {name}", Effect.RECYCLE, "gets new server connections") for name in recycled]
    buried = {name for name, stone in gone.items() if stone.secret}
    changes += [Change(f"user {name}", Effect.RELOAD, _out(pooler, name in buried)) for name in expel]
    remove = tuple(sorted(set(observed.instances) - set(pooler.consoles)))
    changes += [Change("the process", Effect.ROLLING_RESTART, "is more than wanted", console) for console in remove]
    changes += [Change(path, Effect.NONE, "is written") for path in _written(write, observed)]
    agent = tuple(_agent_changes(bundle, observed))
    changes += agent
    if observed.draining:
        changes.append(Change("the host", Effect.NONE, "is no longer marked as taken out"))
    hidden = any(not observed.instances[console].enabled for console in set(pooler.consoles) & set(observed.instances))
    wanted_paths = {file.path for file in bundle.files}
    ours = (SOCKET, AGENT, CONFIG, LOGINS_SOCKET, LOGINS_SERVICE)
    delete = tuple(path for path in ours if path in observed.files and path not in wanted_paths)
    changes += [Change(path, Effect.NONE, "is deleted") for path in delete]
    return Plan(
        changes=tuple(changes),
        write=write,
        delete=delete,
        switch=switch,
        units=any(file.path in unit_paths for file in write) or bool(start or remove or delete or hidden),
        reload=tuple(reload),
        reconnect=reconnect,
        expel=expel,
        start=tuple(start),
        restart=tuple(restart),
        remove=remove,
        together=together,
        agent=bool(agent and bundle.agent),
        back=observed.draining,
    )


LOCKS_OUT = ((1, 25, 0), (1, 26, 0))
"""From the first of these releases on, and before the second, a wrong password that comes before the right one keeps
a user of the userlist out of PostgreSQL until the engine reads the userlist anew."""


def warnings(pooler: Pooler, observed: Observed) -> tuple[str, ...]:
    """What a person has to know of the engines that run, and no plan can mend."""
    first, last = LOCKS_OUT
    versions = {settings.parse_version(each.version) for each in observed.instances.values() if each.version}
    if not any(user.listed for user in pooler.users):
        return ()
    return tuple(
        f"PgBouncer {settings.spelled(version)} keeps a user of the userlist out of PostgreSQL when a wrong password "
        "has come before the right one, until the configuration changes next; "
        f"{settings.spelled(last)} does not, nor does any with auth_query"
        for version in sorted(versions)
        if first <= version < last
    )


def withdrawal(observed: Observed) -> Plan:
    """Take the host out: no instance runs, everything else stays for the way back."""
    consoles = tuple(sorted(n for n, instance in observed.instances.items() if instance.active or instance.socket))
    changes = [Change("the process", Effect.ROLLING_RESTART, "is drained and stops", console) for console in consoles]
    return Plan(changes=tuple(changes), remove=consoles)


def trial_changes(pooler: Pooler, bundle: Bundle, instance: Instance) -> tuple[Change, ...]:
    """How an instance that was started on trial differs from what the bundle wants; nothing when it is as planned."""
    wanted = ini.parse(_instance_file(bundle, instance.console), version=pooler.engine_version)
    return tuple(config_changes(instance, wanted, _databases(pooler, bundle)))


def needs_trial(bundle: Bundle, observed: Observed, plan: Plan) -> bool:
    """Whether the engine is to accept the files first: always, but when nothing but servers' addresses differ."""
    if plan.switch or plan.restart or plan.start:
        return bool(plan.write)
    found = observed.files.get(bundle.databases.path)
    return found is not None and _without_hosts(found.content) != _without_hosts(bundle.databases.content)


_AT_LOGIN = ("password", "application_name", "client_encoding", "datestyle", "timezone")
"""Keys of a connect string that server connections take when they are made, and a RELOAD does not replace."""


_RECYCLED = ("host", "port", "dbname", "load_balance_hosts", "connect_query", "auth_query", "auth_dbname")
"""Keys of a connect string whose change makes the engine replace server connections by itself (PgBouncer 1.24.1)."""

_RECYCLING = tuple(
    f"server_tls_{name}" for name in ("sslmode", "protocols", "ciphers", "cert_file", "key_file", "ca_file")
)
"""Settings of which the same is true, for all databases."""


def _stale_databases(
    databases: dict[str, dict[str, str]], observed: Observed, keys: tuple[str, ...]
) -> tuple[str, ...]:
    """Databases that differ from the file in force in one of these keys; `*` the engine sees to by itself."""
    found = observed.databases()
    return tuple(
        name
        for name, entry in sorted(databases.items())
        if name != "*" and name in found and any(entry.get(key) != found[name].get(key) for key in keys)
    )


def _stale_users(bundle: Bundle, wanted: Mapping[str, str], observed: Observed) -> tuple[str, ...]:
    """Users of the userlist in force that are gone from it or have another verifier, and former admins."""
    stale = {name for name, verifier in observed.verifiers().items() if wanted.get(name) != verifier}
    admins = {name for file in bundle.release_files if not file.secret for name in admins_of(file.content.decode())}
    return tuple(sorted(stale | (observed.admins() - admins)))


def _out(pooler: Pooler, buried: bool) -> str:
    """What becomes of a user who goes, or whose password or seat changes."""
    words = ["is out at once, sessions included"]
    if buried:
        words.append("a line that nobody can log in by stands for him as long as an instance runs that knew him")
    if pooler.auth_query:
        when = "after a restart and the next change" if buried else "after a restart"
        words.append(f"{when} auth_query lets him in, if PostgreSQL does")
    return "; ".join(words)


def _still_known(pooler: Pooler, gone: Mapping[str, Tombstone], instance: Instance) -> str:
    """A user who is gone, where a rule lets him in without a password: the engine knows his name until it ends."""
    known = (name for name, stone in sorted(gone.items()) if instance.invocation in stone.knowing)
    return next((name for name in known if lets_in_unasked(pooler, name)), "")


def _userlist(bundle: Bundle) -> str:
    (text,) = (file.content.decode() for file in bundle.release_files if file.secret)
    return text


def _any_database(instance: Instance) -> bool:
    """Whether a process has an entry `*`, by the name of the release it has read; it keeps it through every RELOAD."""
    return instance.config.get("auth_file", "").rpartition("/")[0].endswith(ANY_DATABASE)


def _without_hosts(databases: bytes) -> dict[str, dict[str, str]]:
    return without_hosts(ini.parse(databases.decode(), version=settings.NEWEST).databases)


def removal(observed: Observed) -> Plan:
    """Take the instances away; the files of this module go with them."""
    consoles = tuple(sorted(observed.instances))
    changes = [Change("the process", Effect.DISRUPTIVE, "is not wanted", console) for console in consoles]
    changes += [Change(path, Effect.NONE, "is deleted") for path in sorted(observed.files)]
    return Plan(changes=tuple(changes), remove=consoles)


def _databases(pooler: Pooler, bundle: Bundle) -> dict[str, dict[str, str]]:
    text = bundle.databases.content.decode()
    return ini.parse(text, name=bundle.databases.path, version=pooler.engine_version).databases


def _instance_file(bundle: Bundle, console: int) -> str:
    (content,) = (file.content for file in bundle.release_files if file.path.endswith(f"/{console}.ini"))
    return content.decode()


def _written(write: tuple[File, ...], observed: Observed) -> Iterator[str]:
    """What a person is told of files that are written: of a new release its directory, once."""
    told = set()
    for file in write:
        directory, _slash, _name = file.path.rpartition("/")
        if directory.startswith(RELEASES) and file.path not in observed.files:
            if directory not in told:
                told.add(directory)
                yield directory
        else:
            yield file.path


def _differs(file: File, observed: Observed) -> bool:
    found = observed.files.get(file.path)
    return found is None or (found.content, found.mode, found.owner) != (file.content, file.mode, file.owner)


def _agent_changes(bundle: Bundle, observed: Observed) -> Iterator[Change]:
    found = observed.agent
    if bundle.agent is None:
        if found:
            yield Change("the agent", Effect.NONE, "is not wanted")
    elif found is None or not found.active:
        yield Change("the agent", Effect.NONE, "is not running")
    elif found.unit_digest != bundle.agent_digest:
        yield Change("the agent", Effect.NONE, "is not the one that its files describe")
    elif observed.image_id and found.image_id != observed.image_id:
        yield Change("the agent", Effect.NONE, "was started from another image")


def _instance_changes(
    instance: Instance, bundle: Bundle, observed: Observed, wanted: ini.Ini, databases: dict[str, dict[str, str]]
) -> Iterator[Change]:
    """How a running instance differs from what it is to be, by its own words."""
    by_socket = SOCKET in {file.path for file in bundle.units}
    yield from process_changes(instance, bundle.unit_digest, observed.image_id, by_socket=by_socket)
    if instance.answers:
        yield from config_changes(instance, wanted, databases)


def process_changes(instance: Instance, unit_digest: str, image_id: str, *, by_socket: bool) -> Iterator[Change]:
    """How a running instance was not started as its unit says, or does not answer. No `image_id`: it is not known."""
    number = instance.console
    if instance.unit_digest != unit_digest:
        yield Change("the unit", Effect.ROLLING_RESTART, "is not the one it was started from", number)
    if by_socket and not instance.socket:
        yield Change("the socket unit", Effect.ROLLING_RESTART, "is not active", number)
    if not instance.enabled:
        yield Change("the process", Effect.NONE, "would not start with the host", number)
    if image_id and instance.image_id != image_id:
        yield Change("the image", Effect.ROLLING_RESTART, "is not the one it was started from", number)
    if not instance.answers:
        yield Change("the console", Effect.ROLLING_RESTART, "does not answer", number)


def config_changes(instance: Instance, wanted: ini.Ini, databases: dict[str, dict[str, str]]) -> Iterator[Change]:
    """How what an instance says at its console differs from the files it is to run."""
    number = instance.console
    if any(instance.config.get(name) != wanted.pgbouncer[name] for name in _RELEASED):
        yield Change("the files", Effect.RELOAD, "are not the ones it has read", number)
    for name, shown in instance.config.items():
        text = wanted.pgbouncer.get(name, instance.defaults[name])
        if name in _GIVEN or name not in settings.known("pgbouncer") or settings.same("pgbouncer", name, text, shown):
            continue
        if name in _ADDRESS:
            yield Change(name, Effect.DISRUPTIVE, f"{shown!r} becomes {text!r}", number)
        elif name not in wanted.pgbouncer and settings.get("pgbouncer", name).default is None:
            yield Change(name, Effect.ROLLING_RESTART, f"{shown!r} is taken back, which a RELOAD does not do", number)
        elif settings.get("pgbouncer", name).reloadable:
            effect = Effect.RECYCLE if name in _RECYCLING else Effect.RELOAD
            yield Change(name, effect, f"{shown!r} becomes {text!r}", number)
        else:
            yield Change(name, Effect.ROLLING_RESTART, f"{shown!r} becomes {text!r}, read at start only", number)
    for name in sorted(set(databases) - {"*"}):
        if why := _shown_otherwise(databases[name], instance.databases.get(name), _SHOWN):
            yield Change(f"database {name}", Effect.RELOAD, why, number)
        forced = instance.databases.get(name, {}).get("force_user")
        if forced and forced != databases[name].get("user"):
            # The engine keeps a forced user, or his settings, whatever it reads (PgBouncer 1.24.1, objects.c).
            yield Change(f"database {name}", Effect.ROLLING_RESTART, f"no longer logs in as {forced!r}", number)
    for name, entry in wanted.users.items() if instance.users else ():
        # A size of 0 is none to the engine, and it prints the sizes of another user for one who has none (1.24.1).
        sized = {key: text for key, text in entry.items() if text != "0"}
        if why := _shown_otherwise(sized, instance.users.get(name), _USER_SHOWN):
            yield Change(f"user {name}", Effect.RELOAD, why, number)
    if "*" not in databases:
        for name in sorted(set(instance.databases) - set(databases) - {"pgbouncer"}):
            yield Change(f"database {name}", Effect.RELOAD, "is not wanted", number)


_RELEASED = ("auth_file", "auth_hba_file")
"""Settings whose paths name the release that the process has read."""

_ADDRESS = ("listen_addr", "listen_port")
"""Settings that say where clients find the instance."""

_GIVEN = frozenset({"conffile", *_RELEASED})
"""What SHOW CONFIG shows of the command line, not of the file, and what is compared by itself."""

_SHOWN = {"host": "host", "port": "port", "dbname": "database", "pool_size": "pool_size", "pool_mode": "pool_mode"}
"""Keys of a connect string and their columns in SHOW DATABASES."""

_USER_SHOWN = {
    name: name
    for name in ("pool_size", "reserve_pool_size", "pool_mode", "max_user_connections", "max_user_client_connections")
}
"""The same of [users] and SHOW USERS; timeouts are not in it."""


def _shown_otherwise(wanted: Mapping[str, str], shown: Mapping[str, str] | None, columns: Mapping[str, str]) -> str:
    if shown is None:
        return "is missing"
    for key, column in columns.items():
        if key in wanted and shown.get(column, "") != wanted[key]:
            return f"{key} {shown.get(column, '')!r} becomes {wanted[key]!r}"
    return ""
