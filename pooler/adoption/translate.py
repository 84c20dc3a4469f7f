"""An installation as the options of the `pgbouncer` module; every place where they say something else has a reason."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .. import bundle, cnumbers, scram, settings, values, variables
from ..errors import InvalidError
from ..model import AUTH_DATABASE, DIVIDED, Pooler
from .installation import Installation, default

Fate = Literal["moved", "changed", "lost"]
"""moved: another way to the same end. changed: works, but not as before. lost: somebody has to do something."""

_RULES = {
    "cert": ("hostssl all all all cert",),
    "md5": ("host all all all md5", "local all all md5"),
    "plain": ("host all all all password", "local all all password"),
    "scram-sha-256": ("host all all all scram-sha-256", "local all all scram-sha-256"),
    "trust": ("host all all all trust", "local all all trust"),
}
_INTEGERS = {"integer", "port", "bytes", "milliseconds", "whole seconds"}
_WITHOUT_KEYS = {"any", "cert", "trust"}
"""Methods in which no client shows the engine a password."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Reason:
    """Why something is not as it was, and what to do about it."""

    fate: Fate
    why: str


@dataclass(frozen=True)
class Translation:
    """`options` are those of the module, secrets included, and `pooler` what they mean.

    `reasons` are by place: a setting's name, `databases.NAME.KEY`, `users.NAME` or `users.NAME.KEY`. `instance` is the
    index of the one that stands for the process that was read.
    """

    options: Mapping[str, Any] = field(repr=False)
    pooler: Pooler
    reasons: Mapping[str, Reason]
    instance: int = 0


def translate(old: Installation) -> Translation:
    """Raises InvalidError only when what is left after all that cannot be said still makes no sense."""
    return _Translator(old).translation()


class _Translator:
    def __init__(self, old: Installation) -> None:
        self.old = old
        self.reasons: dict[str, Reason] = {}

    def translation(self) -> Translation:
        instance, instances = self.instances()
        server = self.server()
        pushed = self.asked_for_each_database(server)
        options: Entry = {
            "image": "localhost/pgfleet/pooler:0.1.0",
            "port": int(self.value("pgbouncer", "listen_port", self.said("listen_port")) or 6432),
            "listen": self.listen(),
            "instances": instances,
        }
        if server:
            options |= {"server": server[0], "server_port": server[1], "agent": {"enabled": False}}
        if self.said("auth_user") and not pushed:
            options["auth_query"] = self.auth_query()
        else:
            options["userlist_only"] = True
        options |= {
            "hba": self.hba(),
            "settings": self.settings(instances),
            "databases": self.databases(instances, server, pushed),
            "users": self.users(instances),
        }
        pooler = self.settled(options)
        return Translation(options, pooler, self.reasons, instance)

    def said(self, name: str) -> str:
        """A setting of [pgbouncer], or its default in the engine until now."""
        return self.old.ini.pgbouncer.get(name, default(name, self.old.engine))

    def reason(self, place: str, fate: Fate, why: str) -> None:
        self.reasons.setdefault(place, Reason(fate, why))

    def instances(self) -> tuple[int, int]:
        """Index of this process, and how many there are: as many as [peers] has on this host."""
        peers = self.old.ini.peers
        own = self.said("peer_id")
        local = all(entry.get("host", "").startswith("/") for entry in peers.values())
        if (
            len(peers) > 1
            and local
            and set(peers) == {str(number + 1) for number in range(len(peers))}
            and own in peers
        ):
            for peer in peers:
                self.reason(f"peers.{peer}", "moved", "peers follow from the number of instances")
            return int(own) - 1, len(peers)
        for peer in peers:
            why = "peers are the instances of one host here; cancel requests that reach another host find nobody"
            self.reason(f"peers.{peer}", "lost", why)
        return 0, 1

    def listen(self) -> list[str]:
        given = [item for item in values.items(self.said("listen_addr")) if item]
        if not given:
            why = "it could be reached by its unix socket only; instances listen on the loopback address"
            self.reason("listen_addr", "changed", why)
            return ["127.0.0.1"]
        if "*" in given:
            return ["*"]
        addresses = ["127.0.0.1" if each == "localhost" else each for each in given]
        if addresses != given:
            self.reason("listen_addr", "moved", "systemd listens, and takes addresses only")
        kept = [each for each in addresses if _is_address(each)]
        if kept != addresses:
            names = ", ".join(each for each in addresses if each not in kept)
            self.reason("listen_addr", "lost", f"systemd listens, and takes no names: give the addresses of {names}")
        return kept or ["127.0.0.1"]

    def server(self) -> tuple[str, int] | None:
        """Where most databases are: those follow the option `server`."""
        places = Counter(filter(None, map(_place, self.old.ini.databases.values())))
        return places.most_common(1)[0][0] if places else None

    def asked_for_each_database(self, server: tuple[str, int] | None) -> Entry:
        """How the engine asks for verifiers, in each database, where one place to ask at cannot be named."""
        own = {name: self.old.ini.pgbouncer[name] for name in _ASKING if self.old.ini.pgbouncer.get(name)}
        asks = any("auth_user" in entry for entry in self.old.ini.databases.values())
        if "auth_user" in own and server and not asks:
            return {}
        if "auth_user" not in own and not asks:
            for name in own:
                self.reason(name, "changed", "it was of no use without auth_user")
            return {}
        for name in own:
            self.reason(name, "moved", "it stands with each database")
        return own

    def auth_query(self) -> Entry:
        dbname = self.said("auth_dbname")
        asked = self.old.ini.databases.get(dbname, {}).get("dbname", dbname) if dbname else "postgres"
        role = self.said("auth_user")
        how = (
            f"{role!r} logs in with a certificate, no longer with a password: PostgreSQL needs a line `hostssl … cert`"
        )
        self.reason("auth_dbname", "changed", f"passwords are asked for in {asked!r}, for all databases; {how}")
        if self.said("server_tls_sslmode").lower() in ("disable", "allow"):
            why = f"{role!r} logs in with a certificate, for which TLS is needed: set it to require or more"
            self.reason("server_tls_sslmode", "lost", why)
        self.reason(f"databases.{AUTH_DATABASE}", "moved", "the entry through which passwords are asked for")
        return {"role": role, "query": self.said("auth_query"), "dbname": asked}

    def hba(self) -> list[str]:
        method = self.said("auth_type").lower()
        if method == "hba":
            if not self.old.rules:
                self.reason("auth_type", "lost", "there are no rules, so everybody logs in by SCRAM over TLS")
            return list(self.old.rules)
        if method not in _RULES:
            why = f"{method} cannot be said in rules; everybody logs in by SCRAM over TLS"
            self.reason("auth_type", "lost", why)
            return []
        self.reason("auth_type", "moved", f"rules ask everybody for the same: {method}")
        return list(_RULES[method])

    def settings(self, instances: int) -> Entry:
        """What the file says, and what the engine or we would otherwise take for unsaid."""
        texts = {name: text for name, text in self.old.ini.pgbouncer.items() if name not in variables.OWNED}
        for name in settings.known("pgbouncer"):
            setting = settings.get("pgbouncer", name)
            unsaid = bundle.DEFAULTS.get(name, default(name, settings.ENGINE))
            if name in texts or name in variables.OWNED or setting.since > settings.ENGINE:
                continue
            if default(name, self.old.engine) != unsaid:
                texts[name] = default(name, self.old.engine)
        return {name: self.given("pgbouncer", name, text, instances) for name, text in sorted(texts.items())}

    def databases(self, instances: int, server: tuple[str, int] | None, pushed: Entry) -> list[Entry]:
        found = []
        for name, entry in sorted(self.old.ini.databases.items()):
            texts = {_RENAMED.get(key, key): text for key, text in entry.items()}
            for key in pushed.keys() - entry.keys():
                texts[key] = pushed[key]
                if key != "auth_user":
                    self.reason(f"databases.{name}.{key}", "moved", "as it was said for all databases")
            if server and _place(texts) == server:
                texts = {key: text for key, text in texts.items() if key not in ("host", "port")}
            elif "host" not in texts:
                texts["host"] = self.said("unix_socket_dir") or "/tmp"
                why = f"{texts['host']} on its host, which a container does not see: give the server's address"
                self.reason(f"databases.{name}.host", "lost", f"its server was reached by a unix socket in {why}")
            elif texts["host"].startswith(("/", "@")):
                why = "a container does not see the server's unix socket: give the server's address"
                self.reason(f"databases.{name}.host", "lost", why)
            if texts.get("dbname") == name:
                del texts["dbname"]
            self.forced(name, texts)
            found.append({"name": name} | self.entry("databases", name, texts, instances))
        return found

    def forced(self, name: str, texts: Mapping[str, str]) -> None:
        """Roles that the engine logs in as by itself: no password is on a pooler host to do that with."""
        if asker := texts.get("auth_user"):
            why = f"{asker!r} logs in with a certificate, no longer with a password: PostgreSQL needs `hostssl … cert`"
            self.reason(f"databases.{name}.auth_user", "changed", why)
        user = texts.get("user")
        if user and self.said("auth_type").lower() not in _WITHOUT_KEYS:
            why = (
                f"all its clients are {user!r} to PostgreSQL, for whom the engine has no password here: let {user!r} "
                "log in by certificate, or leave `user` out"
            )
            self.reason(f"databases.{name}.user", "lost", why)

    def users(self, instances: int) -> list[Entry]:
        admins, stats = (
            [each for each in values.items(self.said(name)) if each] for name in ("admin_users", "stats_users")
        )
        both = set(admins) & set(stats)
        if both:
            self.reason("stats_users", "moved", f"{', '.join(sorted(both))}: admins may do all that")
        names = dict.fromkeys([*admins, *stats, *sorted(self.old.ini.users.keys() | self.old.users.keys())])
        found = []
        for name in names:
            user: Entry = {"name": name}
            if name in admins or name in stats:
                user["console"] = "admin" if name in admins else "stats"
            secret = self.secret(name)
            if secret and user.get("console") == "stats":
                secret = {"certificate": True}
                why = "its seat is taken with a client certificate, not by a password (CVE-2026-107350)"
                self.reason(f"users.{name}", "changed", why)
            user |= secret
            texts = self.old.ini.users.get(name, {})
            user |= self.entry("users", name, texts, instances)
            if name in self.old.ini.users and not texts and name not in self.old.users:
                self.reason(f"users.{name}", "moved", "an entry without settings is not written")
            if len(user) > 1:
                found.append(user)
        return found

    def secret(self, name: str) -> Entry:
        secret = self.old.users.get(name)
        place = f"users.{name}"
        if name == self.said("auth_user") and secret is not None:
            self.reason(place, "moved", "it logs in with a certificate, so that no password of it is kept")
            return {}
        if secret is None:
            return {}
        if scram.is_verifier(secret):
            return {"verifier": secret}
        hashed = re.fullmatch(r"md5[0-9a-f]{32}", secret)
        if not secret or (hashed and self.said("auth_type").lower() in _WITHOUT_KEYS):
            # The engine lets nobody in of whom it has no line, by whatever rule (PgBouncer 1.24.1).
            self.reason(place, "moved", "the line has a verifier of a password that nobody knows")
            return {"verifier": scram.verifier(secrets.token_urlsafe(32))}
        if hashed:
            why = "an MD5 hash is not adopted: give a password or a SCRAM verifier, or let PostgreSQL be asked for it"
            self.reason(place, "changed" if self.said("auth_user") else "lost", why)
            return {}
        why = (
            "a verifier is made of the password; for a role of PostgreSQL give PostgreSQL's own verifier instead "
            "(rolpassword of pg_authid), or let PostgreSQL be asked for it"
        )
        self.reason(f"{place}.password", "changed", why)
        return {"password": secret}

    def entry(self, section: str, name: str, texts: Mapping[str, str], instances: int) -> Entry:
        given = {key: self.given(section, key, text, instances) for key, text in texts.items()}
        for key, value in given.items():
            if isinstance(value, int) and value < 0:
                self.reason(f"{section}.{name}.{key}", "moved", "a negative number is as good as none")
        return {key: value for key, value in given.items() if not (isinstance(value, int) and value < 0)}

    def given(self, section: str, name: str, text: str, instances: int) -> Any:
        """An inventory's value. Limits are the host's there, and one process's in the file."""
        value = self.value(section, name, text)
        return value * instances if name in DIVIDED and isinstance(value, int) else value

    def value(self, section: str, name: str, text: str) -> Any:
        """What the engine makes of a text, so that 0x10 is 16; a text that it keeps as such stays."""
        kind = settings.get(section, name).kind
        if kind == "boolean":
            return bool(cnumbers.integer(text))
        if kind in _INTEGERS:
            return cnumbers.integer(text) if section == "pgbouncer" else cnumbers.leading(text)
        if kind == "seconds" and re.fullmatch(r"[0-9]{1,15}", text):
            return int(text)
        if kind == "seconds" and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
            shown = cnumbers.shown_time(text)
            return float(shown) if cnumbers.is_time(shown) and "n" not in shown else text
        return text

    def settled(self, options: Entry) -> Pooler:
        """What the options mean, once those that an inventory cannot say are out."""
        while True:
            try:
                return variables.read(options)
            except InvalidError as invalid:
                # One at a time: the places of the others may be different ones without it.
                if not any(self.removed(options, problem.place, str(problem)) for problem in invalid.problems):
                    raise

    def removed(self, options: Entry, place: str, why: str) -> bool:
        """Whether there was something at the place to take away."""
        section, _dot, key = place.partition(".")
        if section == "settings":
            self.reasons[key] = Reason("lost", why)
            return options["settings"].pop(key, None) is not None
        for section in ("databases", "users"):
            for index, entry in enumerate(options[section]):
                name = f"{section}.{entry['name']}"
                for prefix in (f"{section}[{index}]", name):
                    key = place.removeprefix(f"{prefix}.")
                    if key != place and key != "name" and key in entry:
                        del entry[key]
                        self.reasons[f"{name}.{key}"] = Reason("lost", why)
                        return True
                    if place in (prefix, f"{prefix}.name"):
                        del options[section][index]
                        self.reasons[name] = Reason("lost", why)
                        return True
        return False


_ASKING = ("auth_user", "auth_query", "auth_dbname")
_RENAMED = {"reserve_pool": "reserve_pool_size"}


def _place(entry: Mapping[str, str]) -> tuple[str, int] | None:
    """Host and port of an entry that has one host, reached by TCP."""
    host = entry.get("host", "")
    if not host or host.startswith(("/", "@")) or any(character.isspace() or character in ",='" for character in host):
        return None
    port = cnumbers.leading(entry.get("port", "5432"))
    return (host, port) if 0 < port < 65536 else None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
