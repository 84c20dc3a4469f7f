"""What docs/migration.md says of each driver, as cases of its program: what is printed, as a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.engine.chain import PORT
from tests.lab.debian import Recipe


@dataclass(frozen=True)
class Case:
    """`words` are the case and its SQL; `told` is a pattern for all that is printed; `options` go into the URL."""

    words: tuple[str, ...]
    told: str
    database: str = "app"
    options: str = ""
    tracked: bool = True

    @property
    def name(self) -> str:
        return " ".join((*self.words, self.database, self.options, "" if self.tracked else "untracked")).strip()


@dataclass(frozen=True)
class Driver:
    """`build` is a shell command run once in the program's directory, `run` what comes before the URL and the case."""

    name: str
    package: str
    recipe: Recipe
    run: Sequence[str]
    url: str
    cases: Sequence[Case]
    build: str = "true"
    environment: dict[str, str] = field(default_factory=dict)


_UNKNOWN = r"(?s).*prepared statement .* does not exist.*"
_REFUSED = r"(?s).*unsupported startup parameter: {}.*"

_SESSIONS = (
    # What one client does, and what the next one finds.
    Case(("after", "SET statement_timeout = '4321ms'", "SHOW statement_timeout"), "4321ms", "single"),
    Case(("after", "SET statement_timeout = '4321ms'", "SHOW statement_timeout"), "0", "sessions"),
    Case(("after", "SELECT pg_advisory_lock(7)", "SELECT pg_try_advisory_lock(7)::text"), "true", "single"),
    Case(("after", "SELECT pg_advisory_lock(7)", "SELECT pg_try_advisory_lock(7)::text"), "false", "sessions"),
    Case(("after", "CREATE TEMP TABLE traces (n int)", "SELECT count(*)::text FROM traces"), "0", "single"),
    Case(
        ("after", "CREATE TEMP TABLE traces (n int)", "SELECT count(*)::text FROM traces"),
        r'(?s).*relation "traces" does not exist.*',
        "sessions",
    ),
    Case(("listen",), "first", "sessions"),
)
"""The same for all drivers: it is the engine's doing."""

_UNHEARD = Case(("listen",), "nothing")

_SHOW_PATH, _SHOW_NAME = ("query", "SHOW search_path"), ("query", "SHOW application_name")
_DEFAULT_PATH = '"\\$user", public'

JDBC = Driver(
    "jdbc",
    "libpostgresql-jdbc-java",
    # The JDK makes links to pages of a manual that is left out.
    Recipe(packages=("openjdk-21-jdk-headless", "libpostgresql-jdbc-java"), before="mkdir -p /usr/share/man/man1"),
    ("java", "-XX:TieredStopAtLevel=1", "-cp", "/mnt:/usr/share/java/postgresql.jar", "Pool"),
    f"jdbc:postgresql://127.0.0.1:{PORT}/{{}}?sslmode=verify-full&sslrootcert=/mnt/ca.crt{{}}",
    (
        *_SESSIONS,
        _UNHEARD,
        Case(("prepared",), "10"),
        Case(("prepared in a transaction",), "10"),
        # It prepares again by itself, where no transaction has failed by it.
        Case(("prepared",), "10", tracked=False),
        Case(("prepared in a transaction",), _UNKNOWN, tracked=False),
        Case(("prepared in a transaction",), "10", options="&prepareThreshold=0", tracked=False),
        Case(("batch",), "100"),
        Case(("copy",), "3"),
        Case(("fetch size",), "95"),
        Case(("timeout",), "ERROR: canceling statement due to user request; then 1"),
        Case(_SHOW_PATH, _DEFAULT_PATH, options="&options=-c%20search_path=mine"),
        Case(_SHOW_PATH, _REFUSED.format("search_path"), options="&currentSchema=mine"),
        Case(_SHOW_NAME, "billing", options="&ApplicationName=billing"),
    ),
    build="javac -d /mnt -cp /usr/share/java/postgresql.jar Pool.java",
)
NODE = Driver(
    "node",
    "node-pg",
    # It looks for a name in the certificate, and takes no address for one.
    Recipe(packages=("nodejs", "node-pg"), files={"/etc/hosts": "127.0.0.1 localhost\n"}),
    ("node", "pool.js"),
    f"postgresql://alice@localhost:{PORT}/{{}}?sslmode=verify-full&sslrootcert=/mnt/ca.crt{{}}",
    (
        *_SESSIONS,
        _UNHEARD,
        Case(("prepared",), "2"),
        Case(("prepared",), _UNKNOWN, tracked=False),
        Case(("parameters",), "2", tracked=False),
        Case(("timeout",), "Query read timeout; still running: 1", options="&query_timeout=1000"),
        Case(_SHOW_PATH, _DEFAULT_PATH, options="&options=-c%20search_path=mine"),
        Case(("query", "SELECT 1"), _REFUSED.format("statement_timeout"), options="&statement_timeout=1000"),
        Case(_SHOW_NAME, "billing", options="&application_name=billing"),
    ),
    environment={"NODE_PATH": "/usr/share/nodejs"},
)
PGX = Driver(
    "pgx",
    "golang-github-jackc-pgx-v4-dev",
    Recipe(packages=("golang-go", "golang-github-jackc-pgx-v4-dev", "ca-certificates")),
    ("/mnt/pool",),
    f"postgresql://alice@127.0.0.1:{PORT}/{{}}?sslmode=verify-full&sslrootcert=/mnt/ca.crt{{}}",
    (
        *_SESSIONS,
        _UNHEARD,
        Case(("prepared",), "2"),
        Case(("prepared",), _UNKNOWN, tracked=False),
        Case(("prepared",), "2", options="&statement_cache_mode=describe", tracked=False),
        Case(("prepared",), "2", options="&prefer_simple_protocol=true", tracked=False),
        Case(("batch",), "190"),
        Case(("copy",), "3"),
        Case(("timeout",), "timeout: context deadline exceeded; closed: true"),
        Case(_SHOW_PATH, _DEFAULT_PATH, options="&options=-c%20search_path=mine"),
        Case(_SHOW_PATH, _REFUSED.format("search_path"), options="&search_path=mine"),
        Case(_SHOW_NAME, "billing", options="&application_name=billing"),
    ),
    build="go build -o pool main.go",
    environment={"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "HOME": "/tmp"},
)
SQLX = Driver(
    "sqlx",
    "librust-sqlx-dev",
    Recipe(packages=("cargo", "librust-sqlx-dev", "librust-sqlx-postgres-dev", "librust-tokio-dev")),
    ("/mnt/target/debug/pool",),
    f"postgresql://alice@127.0.0.1:{PORT}/{{}}?sslmode=verify-full&sslrootcert=/mnt/ca.crt{{}}",
    (
        *_SESSIONS,
        # Not the listener is told but whoever has its server connection next, in the middle of a query.
        Case(("listen",), "(?s).*unexpected message: NotificationResponse.*"),
        Case(("prepared",), "2"),
        Case(("prepared",), _UNKNOWN, tracked=False),
        Case(("not persistent",), "2", tracked=False),
        Case(("copy",), "3"),
        Case(("timeout",), "given up: true; still running: 1"),
        Case(_SHOW_PATH, _DEFAULT_PATH, options="&options[search_path]=mine"),
        Case(_SHOW_NAME, "billing", options="&application_name=billing"),
    ),
    build=(
        """cargo --config 'source.crates-io.replace-with="debian"' """
        """--config 'source.debian.directory="/usr/share/cargo/registry"' build --offline --quiet"""
    ),
    # The machine's authorities, which it reads first, are not in the root.
    environment={"HOME": "/tmp", "SSL_CERT_FILE": "/mnt/ca.crt"},
)
DRIVERS = (JDBC, NODE, PGX, SQLX)
