"""All pooler hosts at a glance."""

from __future__ import annotations

from .board import Board, Panel, Query, Question, curve, number

_OURS = 'database!~"pgbouncer|pgbouncer_agent.*"'

BOARD = Board(
    "fleet",
    "PgBouncer fleet",
    (
        Question(
            "Is it up?",
            (
                number("Hosts that serve", 'sum(pgfleet_ready{target="leader"})'),
                number("Instances that answer", "sum(pgbouncer_up)"),
                number("Instances", "count(pgbouncer_up)"),
                number("Hosts being taken out", "sum(pgfleet_draining)"),
                number("Targets that are silent", "count(up == 0) or vector(0)"),
                number("Alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)'),
            ),
        ),
        Question(
            "Who waits?",
            (
                curve("Longest wait", "pgfleet_instance_longest_wait_seconds", "{{instance}}", "s"),
                curve(
                    "Clients that wait",
                    "sum by (instance) (pgbouncer_pools_client_waiting_connections)",
                    "{{instance}}",
                ),
                curve(
                    "Clients that wait, on average",
                    "sum by (instance) (rate(pgbouncer_stats_client_wait_seconds_total[$__rate_interval]))",
                    "{{instance}}",
                    about="Seconds waited in each second: also what is too short for the eye.",
                ),
                curve("Paused", "pgfleet_instance_paused", "{{instance}} by {{by}}", "bool_yes_no"),
            ),
        ),
        Question(
            "Who is let in?",
            (
                curve(
                    "Logins refused",
                    "sum by (reason) (rate(pgfleet_instance_failed_logins_total[$__rate_interval]))",
                    "{{reason}}",
                    "ops",
                ),
                curve(
                    "Logins refused, by instance",
                    "sum by (instance) (rate(pgfleet_instance_failed_logins_total[$__rate_interval]))",
                    "{{instance}}",
                    "ops",
                ),
            ),
        ),
        Question(
            "How full is it?",
            (
                curve("Clients", "pgbouncer_used_clients", "{{instance}}"),
                Panel(
                    "Server connections, and what they may become",
                    (
                        Query("sum(pgfleet_instance_server_connections)", "now"),
                        Query("sum(pgfleet_instance_server_connections_limit)", "what the pools allow"),
                        Query("max(pgfleet_leader_max_connections)", "what the leader takes"),
                    ),
                ),
                curve(
                    "Pools in use",
                    f"sum by (instance, database) (pgbouncer_pools_server_active_connections{{{_OURS}}})",
                    "{{database}} on {{instance}}",
                ),
                curve(
                    "Descriptors in use",
                    "pgfleet_instance_descriptors / pgfleet_instance_descriptors_limit",
                    "{{instance}}",
                    "percentunit",
                ),
            ),
        ),
        Question(
            "What is slow?",
            (
                curve(
                    "Transactions",
                    "sum by (instance) (rate(pgbouncer_stats_sql_transactions_pooled_total[$__rate_interval]))",
                    "{{instance}}",
                    "ops",
                ),
                curve(
                    "Mean time of a query",
                    "sum by (instance) (rate(pgbouncer_stats_queries_duration_seconds_total[$__rate_interval]))"
                    " / sum by (instance) (rate(pgbouncer_stats_queries_pooled_total[$__rate_interval]))",
                    "{{instance}}",
                    "s",
                ),
                curve(
                    "Longest hold of a server connection",
                    "max by (instance, database) (pgfleet_database_held_seconds) or vector(0)",
                    "{{database}} on {{instance}}",
                    "s",
                    "By a client that is idle in a transaction, or whose query takes long.",
                ),
                curve("Time to ask the instances", "pgfleet_scrape_seconds", "{{node}}", "s"),
            ),
        ),
        Question(
            "Who leads?",
            (
                curve("Leader, by each host", "pgfleet_leader_info", "{{leader}} by {{node}}", "bool_yes_no"),
                number("It leads since", "max(pgfleet_leader_since_timestamp_seconds) * 1000", "", "dateTimeFromNow"),
                curve("Changes of the leader", "sum by (cause) (pgfleet_leader_changes_total)", "{{cause}}"),
                curve(
                    "Seconds paused by the agent",
                    "sum by (node, reason) (pgfleet_paused_seconds_total)",
                    "{{node}}: {{reason}}",
                ),
                curve("Behind the leader", "max by (server) (pgfleet_replica_lag_bytes)", "{{server}}", "bytes"),
            ),
        ),
        Question(
            "What expires?",
            (
                number(
                    "Certificates end",
                    "min by (node) (pgfleet_certificate_expiry_timestamp_seconds) * 1000",
                    "{{node}}",
                    "dateTimeFromNow",
                ),
                number(
                    "Certificates of servers end",
                    "min by (server) (pgfleet_server_certificate_expiry_timestamp_seconds) * 1000",
                    "{{server}}",
                    "dateTimeFromNow",
                ),
                number("Engines", "count by (version) (pgbouncer_version_info)", "{{version}}"),
                number("Holes in engines", "count by (cve) (pgfleet_instance_vulnerability) or vector(0)", "{{cve}}"),
                number("Instances with an old configuration", "sum(pgfleet_instance_outdated)"),
            ),
        ),
    ),
)
