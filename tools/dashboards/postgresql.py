"""The cluster behind the pool: PostgreSQL, Patroni, etcd and their hosts."""

from __future__ import annotations

from .board import Board, Panel, Query, Question, curve, number

_USERS = 'datname!~"template.*|"'

BOARD = Board(
    "postgresql",
    "PostgreSQL behind the pool",
    (
        Question(
            "Is it up?",
            (
                number("PostgreSQL answers", "pg_up", "{{node}}", "bool_yes_no"),
                number("Patroni runs it", "patroni_postgres_running", "{{node}}", "bool_yes_no"),
                number("etcd has a leader", "etcd_server_has_leader", "{{node}}", "bool_yes_no"),
                number("Poolers reach it", "min by (server) (pgfleet_server_up)", "{{server}}", "bool_yes_no"),
            ),
        ),
        Question(
            "Who leads?",
            (
                curve("Leader", "patroni_primary", "{{node}}", "bool_yes_no"),
                curve("Timeline", "patroni_postgres_timeline", "{{node}}"),
                curve("Last word of etcd", "time() - patroni_dcs_last_seen", "{{node}}", "s"),
                curve("Leaders of etcd seen", "etcd_server_leader_changes_seen_total", "{{node}}"),
            ),
        ),
        Question(
            "How full is it?",
            (
                Panel(
                    "Connections",
                    (
                        Query("sum by (node) (pg_stat_database_numbackends)", "{{node}}"),
                        Query("max(pg_settings_max_connections)", "max_connections"),
                    ),
                ),
                curve("By state", "sum by (node, state) (pg_stat_activity_count)", "{{node}}: {{state}}"),
                curve(
                    "Size of databases",
                    f"max by (datname) (pg_database_size_bytes{{{_USERS}}})",
                    "{{datname}}",
                    "bytes",
                ),
                curve(
                    "Free space",
                    'min by (node) (node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs"} / node_filesystem_size_bytes)',
                    "{{node}}",
                    "percentunit",
                ),
            ),
        ),
        Question(
            "What is slow?",
            (
                curve(
                    "Transactions",
                    f"sum by (node) (rate(pg_stat_database_xact_commit{{{_USERS}}}[$__rate_interval]))",
                    "{{node}}",
                    "ops",
                ),
                curve(
                    "Rolled back",
                    f"sum by (node) (rate(pg_stat_database_xact_rollback{{{_USERS}}}[$__rate_interval]))",
                    "{{node}}",
                    "ops",
                ),
                curve("Oldest transaction", "max by (node) (pg_stat_activity_max_tx_duration)", "{{node}}", "s"),
                curve("Locks", "sum by (node, mode) (pg_locks_count)", "{{node}}: {{mode}}"),
                curve("Load of the host", "node_load1", "{{node}}"),
            ),
        ),
        Question(
            "How far behind are replicas?",
            (
                curve("Not replayed", "pg_replication_lag_seconds", "{{node}}", "s"),
                curve("Not received", "max by (server) (pgfleet_replica_lag_bytes)", "{{server}}", "bytes"),
                curve("Serves readers", "min by (server) (pgfleet_replica_serves)", "{{server}}", "bool_yes_no"),
            ),
        ),
    ),
)
