"""Patroni and etcd of a lab, asked and told from the controller's side, or from a member."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pooler import certificates

from .remote import Remote
from .scenario import Scenario

SERVERS = ("db1", "db2", "db3")
_LEAF = "/etc/pgfleet/tls/patroni/current"


@dataclass(frozen=True)
class Leaf:
    """A client's certificate on the controller."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Cluster:
    scenario: Scenario

    def members(self) -> dict[str, dict[str, Any]]:
        """By name, what the first who answers says of each."""
        for server in SERVERS:
            try:
                return {entry["name"]: entry for entry in self.get(server, "/cluster")["members"]}
            except OSError:
                continue
        raise AssertionError("no member answers")

    def leader(self) -> str:
        (name,) = (name for name, member in self.members().items() if member["role"] == "leader")
        return name

    def replicas(self) -> list[str]:
        return [name for name, member in self.members().items() if member["role"] != "leader"]

    def well(self) -> bool:
        """Three members, two of whom follow the third."""
        try:
            return sorted(member["state"] for member in self.members().values()) == [
                "running",
                "streaming",
                "streaming",
            ]
        except AssertionError:
            return False

    def get(self, server: str, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.ask(server, "GET", path)[1])
        return answer

    def ask(self, server: str, method: str, path: str, body: Any = None, leaf: Leaf | None = None) -> tuple[int, str]:
        """From the controller's side, with that certificate or with none."""
        tls = ssl.create_default_context(cafile=str(self.scenario.root))
        return _ask(self.scenario.addresses[server], 8008, tls, method, path, body, leaf)

    def ask_etcd(self, server: str, path: str, body: Any, leaf: Leaf) -> tuple[int, str]:
        tls = ssl.create_default_context(cafile=str(self.scenario.root.parent / "etcd" / "ca.crt"))
        return _ask(self.scenario.addresses[server], 2379, tls, "POST", path, body, leaf)

    def tell(self, server: str, method: str, path: str, body: Any) -> str:
        """As somebody does who is on a member; gives Patroni's words."""
        curl = f"curl -sS --cacert {_LEAF}/ca.crt --cert {_LEAF}/tls.crt --key {_LEAF}/tls.key -X {method} -d @-"
        url = f"https://{self.scenario.addresses[server]}:8008{path}"
        return Remote(self.scenario, server).sh(
            f"podman exec -i spilo {curl} {url} <<'END OF BODY'\n{json.dumps(body)}\nEND OF BODY\n"
        )

    def since(self) -> dict[str, str]:
        """When PostgreSQL was started on each member."""
        return {server: str(self.get(server, "/patroni")["postmaster_start_time"]) for server in SERVERS}

    def journal(self) -> str:
        """The last that etcd and Patroni have said of elections, demotions and failures on each member."""
        words = "demot|promot|elected|leader changed|lost|failsafe|accessible|timed out|shutting down|too long"
        found = f"grep -iE '{words}' | grep -v 'TCP streaming' | cut -c1-300 | tail -n 60"
        script = f"journalctl --no-pager --since=-4min -u etcd -u spilo | {found}"
        return "\n".join(f"{server}:\n{Remote(self.scenario, server).sh(script)}" for server in SERVERS)

    def setting(self, name: str) -> dict[str, str]:
        """What is in force on each member."""
        return {server: Remote(self.scenario, server).sql(f"SHOW {name}") for server in SERVERS}

    def leaf(self, authority: Path, directory: Path) -> Leaf:
        """A client's certificate with the poolers' name, of the authority in that directory."""
        key = certificates.unlock(
            (authority / "ca.key").read_bytes(), str(self.scenario.variables["certificates_passphrase"])
        )
        signer = certificates.Authority((authority / "ca.crt").read_text(), key)
        request = certificates.LeafRequest("pgbouncer", usages=frozenset({"client"}))
        issued = certificates.issue(signer, request, datetime.now(UTC))
        leaf = Leaf(directory / f"{authority.name}.crt", directory / f"{authority.name}.key")
        leaf.key.touch(mode=0o600)
        leaf.key.write_bytes(issued.key_pem)
        leaf.certificate.write_text(issued.certificate_pem)
        return leaf


def _ask(
    address: str, port: int, tls: ssl.SSLContext, method: str, path: str, body: Any, leaf: Leaf | None
) -> tuple[int, str]:
    """Status and words. Raises OSError when the other side ends the connection."""
    if leaf:
        tls.load_cert_chain(leaf.certificate, leaf.key)
    connection = http.client.HTTPSConnection(address, port, timeout=20, context=tls)
    try:
        connection.request(method, path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()
