"""Where a rendered host says something else than the files it was adopted from: found by comparing, not by memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .. import bundle, cnumbers, ini, settings
from .installation import Installation, default
from .translate import Reason, Translation

_UNSEEN = "conffile"
"""Where the file itself lies."""

_TLS = "the leaf that the role `certificates` makes; whoever checks it needs the authority's ca.crt"
_SERVER_TLS = (
    "the directory `client` below tls_directory; its ca.crt must be of the authority of PostgreSQL's certificate"
)
_REASONS = {
    "admin_users": Reason("moved", "written from users[].console"),
    "auth_dbname": Reason("moved", "written from auth_query"),
    "auth_file": Reason("moved", "written from users"),
    "auth_hba_file": Reason("moved", "written from hba"),
    "auth_query": Reason("moved", "written from auth_query"),
    "auth_type": Reason("moved", "written from hba"),
    "auth_user": Reason("moved", "written from auth_query"),
    "client_tls_ca_file": Reason("changed", _TLS),
    "client_tls_cert_file": Reason("changed", _TLS),
    "client_tls_key_file": Reason("changed", _TLS),
    "disable_pqexec": Reason("lost", "the console would refuse every command, so it cannot be set"),
    "job_name": Reason("changed", "what comes from an instance is told apart by its unit"),
    "logfile": Reason("moved", "messages go to the journal of the unit"),
    "peer_id": Reason("moved", "the number of the instance"),
    "pidfile": Reason("moved", "systemd knows the process"),
    "server_tls_ca_file": Reason("changed", _SERVER_TLS),
    "server_tls_cert_file": Reason("changed", _SERVER_TLS),
    "server_tls_key_file": Reason("changed", _SERVER_TLS),
    "so_reuseport": Reason("moved", "the instances of a host share its port"),
    "stats_users": Reason("moved", "written from users[].console"),
    "unix_socket_dir": Reason("changed", "the sockets are the console's and the agent's: clients connect by TCP"),
    "unix_socket_group": Reason("changed", "the sockets are the console's and the agent's: clients connect by TCP"),
    "unix_socket_mode": Reason("changed", "the sockets are the console's and the agent's: clients connect by TCP"),
    "user": Reason("moved", "the container runs as the option uid says"),
}
_UNKNOWN = Reason("lost", "the new configuration says something else")


@dataclass(frozen=True)
class Difference:
    """`before` and `after` are the engine's texts, None where there is nothing; secrets are not shown."""

    place: str
    before: str | None = field(repr=False)
    after: str | None = field(repr=False)
    reason: Reason


def differences(old: Installation, new: Translation) -> list[Difference]:
    """All of them, and what `new` has a reason to tell although no file shows it."""
    facts = bundle.Facts(
        leader=new.pooler.server,
        server_leaf=f"{new.pooler.tls_directory}/server/current",
        client_leaf=f"{new.pooler.tls_directory}/client/current",
    )
    made = bundle.build(new.pooler, facts)
    name = f"{new.pooler.consoles[new.instance]}.ini"
    (text,) = (file.content.decode() for file in made.release_files if file.path.endswith(f"/{name}"))
    rendered = ini.parse(text, name=name, version=new.pooler.engine_version)
    hosts = ini.parse(made.databases.content.decode(), name="databases.ini", version=new.pooler.engine_version)
    found = [
        *_config(old, rendered),
        *_entries("databases", old.ini.databases, hosts.databases),
        *_entries("users", _users(old), _seen(new)),
        *_entries("peers", old.ini.peers, rendered.peers),
    ]
    told = {_place(each, new.reasons) for each in found}
    rest = [Difference(place, None, None, why) for place, why in new.reasons.items() if place not in told]
    return [Difference(each.place, each.before, each.after, _why(each, new.reasons)) for each in found] + rest


def _config(old: Installation, rendered: ini.Ini) -> Iterator[Difference]:
    for name in settings.known("pgbouncer"):
        setting = settings.get("pgbouncer", name)
        if name == _UNSEEN or (setting.since > settings.ENGINE and name not in old.ini.pgbouncer):
            continue
        before = old.ini.pgbouncer.get(name, default(name, old.engine))
        after = rendered.pgbouncer.get(name, default(name, settings.ENGINE))
        if not settings.same("pgbouncer", name, before, _decimal(name, after)):
            yield Difference(name, before, after, _REASONS.get(name, _UNKNOWN))


def _decimal(name: str, text: str) -> str:
    """A number as the engine shows it."""
    number = cnumbers.integer(text)
    return text if settings.get("pgbouncer", name).kind != "octal" or number is None else str(number)


def _entries(
    section: str, old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]
) -> Iterator[Difference]:
    for name in sorted(old.keys() | new.keys()):
        place = f"{section}.{name}"
        if name not in old or name not in new:
            reason = _ADDED if name not in old else _UNKNOWN
            yield Difference(place, "there" if name in old else None, "there" if name in new else None, reason)
            continue
        before, after = (_effective(section, name, each[name]) for each in (old, new))
        for key in sorted(before.keys() | after.keys()):
            texts = before.get(key), after.get(key)
            if texts[0] != texts[1]:
                shown = [None if text is None or key == "password" else text for text in texts]
                yield Difference(f"{place}.{key}", shown[0], shown[1], _UNKNOWN)


_ADDED = Reason("moved", "our own")


def _effective(section: str, name: str, entry: Mapping[str, str]) -> dict[str, str]:
    """What the engine makes of the entry: numbers as it reads them, negative ones being none, and what goes unsaid."""
    texts = {}
    for key, text in entry.items():
        kind = settings.get(section, key).kind
        numeric = kind in {"integer", "port", "whole seconds"}
        if numeric and cnumbers.leading(text) < 0:
            continue
        texts["reserve_pool_size" if key == "reserve_pool" else key] = str(cnumbers.leading(text)) if numeric else text
    if section == "databases":
        texts = ({} if name == "*" else {"dbname": name}) | {"port": "5432"} | texts
    return texts


def _seen(new: Translation) -> dict[str, Mapping[str, str]]:
    """The users of whom the files tell: a seat at the console alone is no entry."""
    return {user.name: user.settings for user in new.pooler.users if user.listed or user.settings}


def _users(old: Installation) -> dict[str, Mapping[str, str]]:
    return {name: old.ini.users.get(name, {}) for name in old.users.keys() | old.ini.users.keys()}


def _place(difference: Difference, reasons: Mapping[str, Reason]) -> str:
    """Where the reasons speak of it: at its own place, or at that of the whole entry."""
    entry = difference.place.rpartition(".")[0]
    return entry if difference.place not in reasons and entry in reasons else difference.place


def _why(difference: Difference, reasons: Mapping[str, Reason]) -> Reason:
    return reasons.get(_place(difference, reasons), difference.reason)
