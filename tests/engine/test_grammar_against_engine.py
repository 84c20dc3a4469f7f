"""Our readers and writers against PgBouncer itself: both take a file and mean the same by it, or both refuse it.

The engine runs with -v -v and so tells, name by name and value by value, what it has read.
"""

from __future__ import annotations

import ipaddress
import secrets
import string
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pooler import cnumbers, hba, ini, userlist
from pooler import settings as catalogue
from pooler.errors import InvalidError
from pooler.hba import Rule
from pooler.ini import Ini
from tests.engine import trial

VERSION = trial.version()
BASE = {
    "listen_addr": "*",
    "unix_socket_dir": "/mnt",
    "auth_file": "/mnt/userlist.txt",
    "auth_hba_file": "/mnt/hba.conf",
    "auth_ident_file": "/mnt/ident.conf",
    "admin_users": trial.ADMIN,
}
OPEN = BASE | {"auth_type": "any"}
BY_PASSWORD = BASE | {"auth_type": "plain"}
BY_RULE = BASE | {"auth_type": "hba"}

engine_settings = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

LINE = st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])
NAMES = st.text(string.ascii_letters + string.digits + "_.*-", min_size=1, max_size=63).filter(
    lambda name: name not in {"pgbouncer", "*"}
)
VALUES = st.one_of(
    st.text(LINE, min_size=1, max_size=40),
    st.text(string.printable.strip() + " '\\;#%$", min_size=1, max_size=30),
)
TEXTS = st.text(LINE, max_size=60).map(lambda text: text.strip(" \t\v\f"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trial.Engine]:
    with running(tmp_path_factory) as started:
        yield started


@pytest.fixture(scope="module")
def without_users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trial.Engine]:
    """One of its own: an engine never forgets a user it has read of, only the secret."""
    with running(tmp_path_factory) as started:
        yield started


@contextmanager
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trial.Engine]:
    place = tmp_path_factory.mktemp("engine")
    trial.put(place / "userlist.txt", "")
    trial.put(place / "hba.conf", "")
    trial.put(place / "ident.conf", "ops root app\n")
    with trial.engine(place, ini.render(Ini(OPEN))) as started:
        yield started


# The catalogue


def test_catalogue_knows_what_the_engine_knows(engine: trial.Engine) -> None:
    engine.reload(pgbouncer_ini=ini.render(Ini(OPEN)))

    shown = {str(row["key"]): row for row in engine.show("CONFIG")}
    known = {name: catalogue.get("pgbouncer", name) for name in catalogue.known("pgbouncer")}

    assert set(shown) == {name for name, setting in known.items() if setting.since <= VERSION}
    for name, row in shown.items():
        assert row["default"] == known[name].default_for(VERSION), name
        assert (row["changeable"] == "yes") == known[name].reloadable, name


@pytest.mark.parametrize("section", ["databases", "users", "peers"])
def test_settings_of_an_entry_are_known_alike(engine: trial.Engine, section: str) -> None:
    samples = {"pool_mode": "session", "load_balance_hosts": "disable"}
    host = " host=x" if section == "peers" else ""
    for name in (*catalogue.known(section), "nonsense"):
        text = samples.get(name, "1")

        said = engine.reload(pgbouncer_ini=f"[pgbouncer]\n[{section}]\n1 = {name}={text}{host}\n")

        assert said.refused == (catalogue.refused(section, name, text, VERSION) is not None), name


@pytest.mark.parametrize("name", catalogue.known("pgbouncer"))
def test_what_is_checked_is_what_the_engine_starts_with(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("start")
    setting = catalogue.get("pgbouncer", name)
    samples = {
        "boolean": "1",
        "enum": (setting.allowed or ("",))[-1],
        "list": (setting.allowed or ("x",))[-1],
        "octal": "0640",
        "path": "/mnt/x",
        "port": "7432",
        "seconds": "2.5",
    }
    text, problems = catalogue.check("pgbouncer", name, samples.get(setting.kind, "17"), place=name, version=VERSION)
    wanted = OPEN | {name: text}

    said = trial.first_words(place, "[pgbouncer]\n" + "".join(f"{key} = {value}\n" for key, value in wanted.items()))

    assert said.refused == bool(problems)


# pgbouncer.ini

ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dbname": VALUES,
        "host": VALUES,
        "port": st.integers(1, 65535).map(str),
        "user": VALUES,
        "password": VALUES,
        "connect_query": VALUES,
        "pool_size": st.integers(0, 10**9).map(str),
        "pool_mode": st.sampled_from(["session", "transaction", "statement"]),
    },
)
FILES = st.builds(
    Ini,
    pgbouncer=st.fixed_dictionaries(
        {},
        optional={
            "server_reset_query": TEXTS,
            "auth_query": TEXTS,
            "stats_users": TEXTS,
            "max_client_conn": st.integers(1, 2**31 - 1).map(str),
            "query_timeout": st.decimals(0, 10**6, places=3).map(str),
            "pool_mode": st.sampled_from(["session", "transaction"]),
            "log_stats": st.sampled_from(["0", "1"]),
        },
    ).map(lambda changed: {**OPEN, **changed}),
    databases=st.dictionaries(NAMES, ENTRIES, max_size=4),
    users=st.dictionaries(NAMES, st.fixed_dictionaries({"pool_size": st.integers(0, 10**9).map(str)}), max_size=3),
    peers=st.dictionaries(st.integers(1, 65535).map(str), st.fixed_dictionaries({"host": VALUES}), max_size=3),
)


@engine_settings
@given(wanted=FILES)
def test_engine_means_what_we_wrote(engine: trial.Engine, wanted: Ini) -> None:
    engine.reload(pgbouncer_ini=ini.render(Ini(OPEN)))  # a forced user outlives a RELOAD as long as its database does
    written = ini.render(wanted)

    said = engine.reload(pgbouncer_ini=written)

    assert not said.refused
    assert read_by_engine(said) == read_by_us(written)
    shown = {str(row["key"]): row["value"] for row in engine.show("CONFIG")}
    for name, text in wanted.pgbouncer.items():
        if catalogue.get("pgbouncer", name).reloadable:
            assert catalogue.same("pgbouncer", name, text, str(shown[name])), name
    databases = {str(row["name"]): row for row in engine.show("DATABASES") if row["name"] != "pgbouncer"}
    assert set(databases) == set(wanted.databases)
    for name, entry in wanted.databases.items():
        row = databases[name]
        assert (row["host"], row["database"]) == (entry.get("host"), entry.get("dbname", name))
        assert (str(row["port"]), row["pool_mode"]) == (entry.get("port", "5432"), entry.get("pool_mode"))
        # The engine keeps 127 bytes of a user's name.
        assert str(row["force_user"] or "") == entry.get("user", "").encode()[:127].decode("utf-8", "replace")


PIECES = st.sampled_from(
    [
        *("[pgbouncer]", "[databases]", "[users]", "[peers]", "[", "]", "=", " = ", "\r\n", "\t", "\v", " "),
        *(
            "'",
            "''",
            '"',
            ";",
            "#",
            "%",
            "app",
            "host=db",
            "host = db",
            "port=5432",
            "password='a b'",
            "pool_size=5",
            "é",
        ),
        *("max_client_conn", "6432", "0100", "1", "pool_mode", "session", "auth_query", "stats_users", "query_timeout"),
    ]
)
CONNECT_PIECES = st.sampled_from(
    ["host=", "host =", "port=5", "a", "'", "''", "'b c'", " ", "  ", "=", "\t", "\v", ";", "#", "\\", "é"]
)
CONNECT_STRINGS = st.lists(CONNECT_PIECES, max_size=7).map("".join)
LINES = st.one_of(
    st.lists(PIECES, max_size=6).map("".join),
    CONNECT_STRINGS.map("[databases]\napp ={}".format),
    CONNECT_STRINGS.map("[peers]\n1 = host=/x {}".format),
    st.lists(PIECES, max_size=3).map(lambda pieces: "[pgbouncer]\nauth_query =" + "".join(pieces)),
    st.sampled_from(["[databases]", "[users]", "[peers]", "; x", "a = host=x port=1"]),
)


@settings(engine_settings, max_examples=500)
@given(text=st.lists(LINES, max_size=8).map(lambda lines: "[pgbouncer]\n" + "\n".join(lines)))
def test_any_text_is_taken_or_refused_alike(engine: trial.Engine, text: str) -> None:
    said = engine.reload(pgbouncer_ini=text)

    refusal = refusal_of(lambda: ini.parse(text))
    if refusal:
        # We are stricter in one thing: a database without a name.
        assert said.refused or "the name is missing" in refusal
    else:
        assert not said.refused
        assert read_by_engine(said) == read_by_us(text)


@engine_settings
@given(
    name=st.sampled_from(["max_client_conn", "log_stats", "tcp_user_timeout", "query_timeout", "server_lifetime"]),
    text=st.one_of(
        st.text("0123456789abfxXpPeE.+-_ ", max_size=8),
        st.integers(-(2**66), 2**66).map(str),
        st.floats(allow_subnormal=False).map(str),
        st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False).map(float.hex),
        st.sampled_from(
            ["1e-400", "1e308", "1e309", "-1e-400", "nan(x)", "-nan", "INFINITY", "0b11", "0o7", "1_0", "٣"]
        ),
    ),
)
def test_numbers_are_read_alike(engine: trial.Engine, name: str, text: str) -> None:
    # A number in base two is known to a newer C library than another engine may have been built with.
    assume(not (trial.OTHER_ENGINE and text.lower().strip().lstrip("+-").startswith("0b")))
    said = engine.reload(pgbouncer_ini=f"[pgbouncer]\n{name} = {text}\n")

    text = text.strip(" ")
    assert said.refused == (catalogue.refused("pgbouncer", name, text) is not None)
    if said.refused or text.lower().lstrip("+-").startswith(("inf", "nan")):
        return
    (shown,) = (str(row["value"]) for row in engine.show("CONFIG") if row["key"] == name)
    if name in {"query_timeout", "server_lifetime"}:
        # The engine counts microseconds in 64 bits.
        assume(float(cnumbers.shown_time(text)) < 2**63 / 10**6)
        assert cnumbers.shown_time(text) == shown
    else:
        assert str(cnumbers.integer(text)) == shown


def test_second_header_resets_what_has_a_default(engine: trial.Engine) -> None:
    text = "[pgbouncer]\nmax_client_conn = 7\nauth_user = somebody\n[databases]\n[pgbouncer]\npool_mode = statement\n"

    engine.reload(pgbouncer_ini=text)

    shown = {str(row["key"]): row["value"] for row in engine.show("CONFIG")}
    assert ini.parse(text).pgbouncer == {"auth_user": "somebody", "pool_mode": "statement"}
    assert (shown["max_client_conn"], shown["auth_user"], shown["pool_mode"]) == ("100", "somebody", "statement")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "; nothing\n",
        "\ufeff[pgbouncer]\n",
        "listen_port = 1\n[pgbouncer]\n",
        *([] if VERSION >= ini.QUOTED_NAMES else ["[pgbouncer]\n[databases]\n'a b' = host=x\n"]),
        '[pgbouncer]\n[databases]\n"a b" = host=x\n',
        "[pgbouncer]\n[databases]\npgbouncer = host=x\n",
        "[pgbouncer]\n[databases]\n" + "n" * 64 + " = host=x\n",
        "[pgbouncer]\n%include /mnt/missing.ini\n",
        "[pgbouncer]\nauth_dbname = pgbouncer\n",
    ],
)
def test_file_that_the_engine_does_not_start_with(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    said = trial.first_words(tmp_path_factory.mktemp("refused"), text)

    assert said.refused


def test_included_databases_are_read_last(engine: trial.Engine) -> None:
    databases = {"app": {"host": "leader", "password": "it's a secret; #1"}}
    text = ini.render(Ini(OPEN, {"app": {"host": "old"}}, includes=("/mnt/databases.ini",)))

    said = engine.reload(databases_ini=ini.render_databases(databases), pgbouncer_ini=text)

    assert not said.refused
    assert [row["host"] for row in engine.show("DATABASES") if row["name"] == "app"] == ["leader"]
    assert ini.parse(text).includes == ("/mnt/databases.ini",)


def test_settings_of_a_removed_user_stay_until_a_restart(engine: trial.Engine) -> None:
    engine.reload(pgbouncer_ini="[pgbouncer]\n[users]\nlasting = pool_size=7\n")
    engine.reload(pgbouncer_ini="[pgbouncer]\n")

    assert [str(row["pool_size"]).strip() for row in engine.show("USERS") if row["name"] == "lasting"] == ["7"]


def test_fallback_database_is_read_when_it_is_used_and_stays_until_a_restart(without_users: trial.Engine) -> None:
    fallback = ini.render(Ini(OPEN)) + "[databases]\n* = nonsense=1\n"

    assert not without_users.reload(pgbouncer_ini=fallback).refused
    without_users.reload(pgbouncer_ini=ini.render(Ini(OPEN)))
    without_users.heard()
    without_users.greet("app", "nowhere", source=None)

    assert "unrecognized connection parameter: nonsense" in without_users.heard().texts("ERROR")
    with pytest.raises(InvalidError, match="nonsense"):
        ini.parse(fallback)


def read_by_engine(said: trial.Heard) -> list[str]:
    """Sections, entries and `key=value` pairs in the order in which the engine says that it read them."""
    marks = ("parse_ini_file: ", "cstr_get_pair: ")
    return [text for text in said.texts("DEBUG", "NOISE") if text.startswith(marks) and not text.endswith(" ok:1")]


def read_by_us(text: str) -> list[str]:
    lines, problems = ini.read(text, name="")
    assert not problems
    found = []
    for line in lines:
        if line.kind == "section":
            found.append(f"parse_ini_file: [{line.section}]")
        else:
            found.append(f"parse_ini_file: '{line.key}' = '{line.value}'")
            pairs = ini.connect_pairs(line.value) if line.section != "pgbouncer" else None
            found += [f'cstr_get_pair: "{key}"="{value}"' for key, value in pairs or ()]
    return found


# userlist.txt

USERS = st.text(LINE, min_size=1, max_size=60).filter(
    lambda name: name != trial.ADMIN and len(name.replace('"', '""').encode()) <= userlist.NAME_BYTES
)
PASSWORDS = st.one_of(st.text(LINE, min_size=1, max_size=40), st.text('"\\;#% $', min_size=1, max_size=20))


def let_in(engine: trial.Engine, name: str, secret: str) -> bool:
    """Whether a password is taken; there is no database, which is said only to those who have logged in."""
    answer = engine.greet(name, "nowhere", source=None, secret=secret)
    assert answer in {"no such database: nowhere", "password authentication failed"}, answer
    return answer.startswith("no such")


@engine_settings
@given(entries=st.dictionaries(USERS, PASSWORDS, max_size=5))
def test_users_log_in_with_the_secrets_we_wrote(engine: trial.Engine, entries: dict[str, str]) -> None:
    said = engine.reload(pgbouncer_ini=ini.render(Ini(BY_PASSWORD)), userlist_txt=userlist.render(entries))

    assert said.texts("ERROR") == []
    for name, secret in entries.items():
        assert let_in(engine, name, secret)
        assert not let_in(engine, name, secret + "x")


def test_longest_name_and_secret_log_in(engine: trial.Engine) -> None:
    name, secret = "n" * userlist.NAME_BYTES, secrets.token_hex(512)[:1000]
    entries = {name: secret, "short": "x" * userlist.SECRET_BYTES, "zz": "last"}

    engine.reload(pgbouncer_ini=ini.render(Ini(BY_PASSWORD)), userlist_txt=userlist.render(entries))

    assert let_in(engine, name, secret)
    assert let_in(engine, "short", entries["short"])
    assert let_in(engine, "zz", "last")


USERLIST_PIECES = st.sampled_from(
    ['"', '""', "a", "b", " ", "\n", ";", "#", "\t", '"a" "b"', '"a""c" "d"\n', "\\", "é"]
)


@settings(engine_settings, max_examples=400)
@given(text=st.lists(USERLIST_PIECES, max_size=14).map("".join))
def test_any_userlist_is_taken_or_refused_alike(engine: trial.Engine, text: str) -> None:
    said = engine.reload(pgbouncer_ini=ini.render(Ini(BY_PASSWORD)), userlist_txt=text)

    refusal = refusal_of(lambda: userlist.parse(text))
    if refusal:
        # Stricter than the engine: no name, or a name or secret that begins on one line and ends on another.
        across_lines = "no name in double quotes" in refusal or "no secret in double quotes" in refusal
        assert said.texts("ERROR") or "name is empty" in refusal or (across_lines and "\n" in text)
    else:
        assert said.texts("ERROR") == []
        for name, secret in userlist.parse(text).items():
            assert not secret or let_in(engine, name, secret)


@pytest.mark.parametrize(
    "broken",
    [
        "# x",
        'a "b"',
        '"a',
        '"a"',
        '"a" "b',
        '"a" "b""',
        '"' + "n" * 128 + '" "s"',
        '"' + '""' * 64 + '" "s"',
        '"s" "' + "x" * (2048 if VERSION < (1, 26) else 65536) + '"',
    ],
)
def test_line_that_locks_later_users_out_is_refused(engine: trial.Engine, broken: str) -> None:
    text = f'"first" "1"\n{broken}\n'

    engine.reload(pgbouncer_ini=ini.render(Ini(BY_PASSWORD)), userlist_txt=text + '"later" "2"\n')

    assert let_in(engine, "first", "1")
    assert not let_in(engine, "later", "2")
    with pytest.raises(InvalidError):
        userlist.parse(text)


# HBA

STRICTER = (
    "never match",
    "cannot match",
    "is a keyword that does not name a user",
    "cannot stand behind",
    "is not a network",
)
"""Lines that the engine keeps and we refuse: they cannot match, or not as they look."""

HBA_NAMES = ("ghost", "all", "sameuser", "replication", "a b", 'q"x', "+r", "@f", "é", "db")
HBA_SOURCES = (None, "127.0.0.1", "127.1.2.3", "::1")
ASKED = {
    "trust": '"trust" authentication failed',
    "reject": "login rejected",
    "md5": "md5",
    "password": "cleartext",
    "scram-sha-256": "sasl",
    "cert": "certificate authentication failed",
    "peer": "unix socket login rejected",
    None: "no authentication method is found",
}
"""What a client whom nobody knows is told, by the method of the rule that it meets."""


def written_names(keywords: Sequence[str]) -> st.SearchStrategy[tuple[str, ...]]:
    names = [f'"{name}"' if name in {"all", "+r", "@f"} else name for name in HBA_NAMES if name not in keywords]
    return st.lists(st.sampled_from([*names, *keywords, *keywords]), min_size=1, max_size=3).map(tuple)


DATABASE_NAMES = written_names(["all", "sameuser", "replication"])
USER_NAMES = written_names(["all"])
METHODS = st.sampled_from(hba.METHODS)
NETWORKS = st.sampled_from(
    ["all", "127.0.0.0/8", "127.0.0.1/32", "127.1.0.0/16", "::1/128", "::/0", "0.0.0.0/0", "10.0.0.0/8"]
)
RULES = st.one_of(
    st.builds(Rule, st.just("local"), DATABASE_NAMES, USER_NAMES, st.none(), METHODS),
    st.builds(Rule, st.sampled_from(["host", "hostssl", "hostnossl"]), DATABASE_NAMES, USER_NAMES, NETWORKS, METHODS),
)


def test_network_with_bits_behind_its_mask_never_matches(without_users: trial.Engine) -> None:
    rule = "host all all 127.0.0.1/8 trust\n"

    without_users.reload(pgbouncer_ini=ini.render(Ini(BY_RULE)), hba_conf=rule)

    assert without_users.greet("ghost", "db", source="127.0.0.1") == ASKED[None]
    with pytest.raises(InvalidError, match="never match"):
        hba.parse(rule)


def met(rules: Sequence[Rule], user: str, database: str, source: str | None) -> str | None:
    """The method of the first rule that fits a client without TLS."""

    def named(names: Sequence[str], name: str, keywords: set[str]) -> bool:
        plain = {
            word.strip('"') if word in {'"all"', '"+r"', '"@f"'} else word for word in names if word not in keywords
        }
        return "all" in names or name in plain

    for rule in rules:
        if source is None or rule.type == "local":
            here = source is None and rule.type == "local"
        elif rule.address == "all":
            here = True
        else:
            here = ipaddress.ip_address(source) in ipaddress.ip_network(str(rule.address))
        in_database = named(rule.databases, database, {"all", "sameuser", "replication"}) or (
            "sameuser" in rule.databases and user == database
        )
        if here and rule.type != "hostssl" and in_database and named(rule.users, user, {"all"}):
            return rule.method
    return None


@engine_settings
@given(
    rules=st.lists(RULES, max_size=5),
    clients=st.lists(st.tuples(*map(st.sampled_from, (HBA_NAMES, HBA_NAMES, HBA_SOURCES))), min_size=4, max_size=4),
)
def test_rules_decide_as_we_wrote_them(
    without_users: trial.Engine, rules: list[Rule], clients: list[tuple[str, str, str | None]]
) -> None:
    said = without_users.reload(pgbouncer_ini=ini.render(Ini(BY_RULE)), hba_conf=hba.render(rules))

    assert said.texts("WARNING") == []
    for user, database, source in clients:
        assert without_users.greet(user, database, source=source) == ASKED[met(rules, user, database, source)]


HBA_PIECES = st.sampled_from(
    [
        *("host", "hostssl", "hostgss", "local", "all", "sameuser", "samerole", "replication", "app", "+r", "@f", "é"),
        *(
            '"',
            '""',
            '"a b"',
            '"all"',
            ",",
            "#",
            "\t",
            "\v",
            "10.0.0.0/8",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/0",
        ),
        *(
            "10.0.0.0",
            "255.0.0.0",
            "255.0.255.0",
            "db1",
            "samenet",
            "md5",
            "trust",
            "reject",
            "plain",
            "map=ops",
            "map=x",
        ),
    ]
)
HBA_LINES = st.one_of(
    st.lists(HBA_PIECES, max_size=7).map(" ".join),
    st.tuples(
        st.sampled_from(["host", "local", "hostssl"]),
        *[st.one_of(st.just("all"), HBA_PIECES, st.tuples(HBA_PIECES, HBA_PIECES).map("".join))] * 3,
        st.one_of(st.sampled_from(["trust", "cert", "peer map=ops", "cert map=ops"]), HBA_PIECES),
    ).map(" ".join),
)


@settings(engine_settings, max_examples=500)
@given(lines=st.lists(HBA_LINES, min_size=1, max_size=10))
def test_every_line_that_the_engine_loses_is_refused_and_no_other(
    without_users: trial.Engine, lines: list[str]
) -> None:
    said = without_users.reload(pgbouncer_ini=ini.render(Ini(BY_RULE)), hba_conf="\n".join(lines))

    mark = "could not parse hba config line "
    lost = {int(text.removeprefix(mark)) for text in said.texts("WARNING") if text.startswith(mark)}
    for number, line in enumerate(lines, start=1):
        refusal = refusal_of(partial(hba.parse, line))
        if refusal:
            assert number in lost or any(words in refusal for words in STRICTER)
        else:
            # The only map that there is is called ops; which maps there are stands in another file.
            assert number not in lost or "map=x" in line


def refusal_of(parse: Callable[[], object]) -> str:
    """What our parser says against a text, an empty string when it takes it."""
    try:
        parse()
    except InvalidError as invalid:
        return str(invalid)
    return ""
