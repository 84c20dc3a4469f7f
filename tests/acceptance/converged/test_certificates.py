"""Every certificate of the fleet anew, under a transaction that lasts."""

from __future__ import annotations

import hashlib
import re

from pooler import served
from tests.acceptance import clients
from tests.acceptance.playbook import run
from tests.acceptance.remote import Remote
from tests.acceptance.scenario import DATABASE, POOLER, PORT, Scenario
from tests.secret_search import search


def test_check_mode_tells_what_new_certificates_do_to_clients(lab: Scenario) -> None:
    serial = "readlink /etc/pgbouncer/tls/server/current"
    before = Remote(lab, POOLER).sh(serial)

    told = run(lab, "pgfleet.pooler.poolers", "--check", "--diff", variables={"certificates_renew": True})

    assert told.status == 0, told.tail()
    assert told.recap(POOLER)["changed"] == 1
    assert "issued because: asked for" in told.output
    assert re.search(r"^reload +client_tls_cert_file '", told.output, re.MULTILINE)
    assert re.search(r"^recycle +server_tls_cert_file '", told.output, re.MULTILINE)
    assert Remote(lab, POOLER).sh(serial) == before


def test_leaves_change_under_a_transaction_and_every_port_shows_the_new_ones(lab: Scenario) -> None:
    def shown() -> bytes:
        return served.shown(lab.addresses[POOLER], PORT, "postgresql")

    before, backend = shown(), "SELECT pg_backend_pid()"
    with clients.connect(lab) as session, session.transaction():
        serves = session.execute(backend).fetchone()

        done = run(lab, "pgfleet.pooler.rotate_certificates", variables={"rotate_certificates": "leaves"})

        assert done.status == 0, done.tail()
        assert session.execute(backend).fetchone() == serves
    after = shown()
    assert after != before
    assert hashlib.sha256(after).hexdigest() == served.fingerprint(
        Remote(lab, POOLER).sh("cat /etc/pgbouncer/tls/server/current/tls.crt")
    )
    for host in (DATABASE, POOLER):
        assert search(Remote(lab, host).sh, lab.tokens) == set()
