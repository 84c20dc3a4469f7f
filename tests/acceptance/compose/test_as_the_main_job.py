"""What holds for clients of the main job holds for those of a Compose project: the very same tests."""

from tests.acceptance.converged.test_agent import test_nobody_is_obeyed_without_the_poolers_certificate
from tests.acceptance.converged.test_instances import (
    test_a_cancel_through_the_shared_port_reaches_its_query_every_time,
    test_both_instances_serve_the_one_port,
    test_console_ports_are_on_loopback_only,
    test_each_instance_answers_on_its_own_unix_socket,
)
from tests.acceptance.converged.test_logins import (
    refused_roles,
    test_a_database_with_the_longest_name_works,
    test_a_role_that_may_not_come_in_is_refused_as_if_there_were_none,
    test_a_wrong_password_is_refused,
    test_an_unknown_database_is_no_secret_to_those_alone_who_proved_who_they_are,
    test_an_unknown_database_is_refused,
    test_an_unknown_role_is_refused,
    test_another_authority_is_not_trusted_by_clients,
    test_old_tls_is_refused,
    test_plain_tcp_is_refused,
    test_present_tls_is_taken,
    test_scram_over_verified_tls_works,
    test_the_database_for_logins_is_closed_to_clients,
    test_the_role_of_the_pooler_is_refused,
)
from tests.acceptance.converged.test_secrets import (
    test_no_secret_is_found_on_a_host,
    test_the_search_finds_what_is_there,
)

__all__ = [
    "refused_roles",
    "test_a_cancel_through_the_shared_port_reaches_its_query_every_time",
    "test_a_database_with_the_longest_name_works",
    "test_a_role_that_may_not_come_in_is_refused_as_if_there_were_none",
    "test_a_wrong_password_is_refused",
    "test_an_unknown_database_is_no_secret_to_those_alone_who_proved_who_they_are",
    "test_an_unknown_database_is_refused",
    "test_an_unknown_role_is_refused",
    "test_another_authority_is_not_trusted_by_clients",
    "test_both_instances_serve_the_one_port",
    "test_console_ports_are_on_loopback_only",
    "test_each_instance_answers_on_its_own_unix_socket",
    "test_no_secret_is_found_on_a_host",
    "test_nobody_is_obeyed_without_the_poolers_certificate",
    "test_old_tls_is_refused",
    "test_plain_tcp_is_refused",
    "test_present_tls_is_taken",
    "test_scram_over_verified_tls_works",
    "test_the_database_for_logins_is_closed_to_clients",
    "test_the_role_of_the_pooler_is_refused",
    "test_the_search_finds_what_is_there",
]
