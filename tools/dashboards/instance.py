"""One PgBouncer process."""

from __future__ import annotations

from .board import Board, Panel, Query, Question, curve, number

_IT = '{instance="$instance"}'
_RATE = '{instance="$instance"}[$__rate_interval]'


def _of_transactions(name: str) -> str:
    total = f"sum by (database) (rate(pgbouncer_stats_{name}_total{_RATE}))"
    return f"{total} / sum by (database) (rate(pgbouncer_stats_sql_transactions_pooled_total{_RATE}))"


BOARD = Board(
    "instance",
    "PgBouncer instance",
    (
        Question(
            "Is it up?",
            (
                number("Answers", f"pgbouncer_up{_IT}", unit="bool_yes_no"),
                number("Reaches a server that takes writes", f"pgfleet_instance_ready{_IT}", unit="bool_yes_no"),
                number("Paused", f"max(pgfleet_instance_paused{_IT})", unit="bool_yes_no"),
                number("Runs its files", f"1 - pgfleet_instance_outdated{_IT}", unit="bool_yes_no"),
                number("Engine", f"pgbouncer_version_info{_IT}", "{{version}}"),
                number("Peers", f"pgfleet_instance_peers{_IT}"),
            ),
        ),
        Question(
            "Who waits?",
            (
                curve("Longest wait", f"pgfleet_instance_longest_wait_seconds{_IT}", unit="s"),
                curve(
                    "Clients that wait", f"pgbouncer_pools_client_waiting_connections{_IT}", "{{user}} in {{database}}"
                ),
                curve("Wait of a transaction", _of_transactions("client_wait_seconds"), "{{database}}", "s"),
            ),
        ),
        Question(
            "How full is it?",
            (
                Panel(
                    "Clients",
                    (
                        Query(f"pgbouncer_used_clients{_IT}", "clients"),
                        Query(f"pgbouncer_config_max_client_connections{_IT}", "most"),
                    ),
                ),
                Panel(
                    "Server connections of pools",
                    (
                        Query(f"pgbouncer_pools_server_active_connections{_IT}", "{{user}} in {{database}}: in use"),
                        Query(f"pgbouncer_pools_server_idle_connections{_IT}", "{{user}} in {{database}}: free"),
                        Query(f"pgbouncer_databases_pool_size{_IT}", "{{name}}: size"),
                    ),
                ),
                Panel(
                    "Descriptors",
                    (
                        Query(f"pgfleet_instance_descriptors{_IT}", "in use"),
                        Query(f"pgfleet_instance_descriptors_limit{_IT}", "limit"),
                    ),
                ),
            ),
        ),
        Question(
            "What is slow?",
            (
                curve(
                    "Transactions",
                    f"rate(pgbouncer_stats_sql_transactions_pooled_total{_RATE})",
                    "{{database}}",
                    "ops",
                ),
                curve(
                    "Mean time of a transaction", _of_transactions("server_in_transaction_seconds"), "{{database}}", "s"
                ),
                curve(
                    "Mean time of a query",
                    f"rate(pgbouncer_stats_queries_duration_seconds_total{_RATE})"
                    f" / rate(pgbouncer_stats_queries_pooled_total{_RATE})",
                    "{{database}}",
                    "s",
                ),
                Panel(
                    "Bytes",
                    (
                        Query(f"rate(pgbouncer_stats_received_bytes_total{_RATE})", "from clients of {{database}}"),
                        Query(f"rate(pgbouncer_stats_sent_bytes_total{_RATE})", "to clients of {{database}}"),
                    ),
                    "Bps",
                ),
            ),
        ),
        Question(
            "Who are the clients?",
            (
                curve(
                    "By application",
                    f"sum by (application_name) (pgbouncer_client_connections{_IT})",
                    "{{application_name}}",
                ),
                curve("By user", f"sum by (user) (pgbouncer_client_connections{_IT})", "{{user}}"),
                curve("Prepared statements", f"pgfleet_instance_prepared_statements{_IT}", "of {{side}}s"),
                curve("RELOADs by the agent", f"pgfleet_reloads_total{_IT}"),
            ),
        ),
    ),
    variable="instance",
    of="pgbouncer_up",
)
