"""Manifests of Kubernetes: valid for three versions, the same each time, no secret in them, and within "restricted"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pooler import cli, scram, userlist
from pooler.errors import InvalidError
from pooler.targets import kubernetes, manifest

VERSIONS = ("1.29", "1.33", "1.37")
CUSTOM = ("Kustomization", "PodMonitor")
"""Kinds that Kubernetes itself has no schema for."""

GIVEN: dict[str, Any] = {
    "namespace": "apps",
    "pgbouncer": {
        "databases": [{"name": "app", "pool_size": 10}],
        "patroni": ["https://db1.example:8008", "https://db2.example:8009"],
        "drain_timeout": 40,
        "transaction_timeout": 20,
    },
}


def documents(**changes: Any) -> dict[str, dict[str, Any]]:
    return kubernetes.documents(kubernetes.read(GIVEN | changes))


def pod(**changes: Any) -> dict[str, Any]:
    template: dict[str, Any] = documents(**changes)["deployment.yaml"]["spec"]["template"]["spec"]
    return template


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid(version: str) -> None:
    found = [each for each in documents().values() if each["kind"] not in CUSTOM]
    assert len(found) == 5
    for document in found:
        assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.parametrize("version", VERSIONS)
def test_the_validation_finds_what_is_wrong(version: str) -> None:
    document = documents()["deployment.yaml"]
    document["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_pod_is_within_the_restricted_standard() -> None:
    """Pod Security Standards, profile "restricted", of Kubernetes 1.29 and later."""
    found = pod()
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(found)
    assert found["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    assert {next(iter(each.keys() - {"name"})) for each in found["volumes"]} <= {"configMap", "secret", "emptyDir"}
    for container in [*found["containers"], *found["initContainers"]]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True


def test_there_are_two_pods_on_different_nodes_of_which_one_may_go() -> None:
    found = documents()
    spec = found["deployment.yaml"]["spec"]
    assert spec["replicas"] == 2
    (apart,) = spec["template"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert apart["labelSelector"] == spec["selector"]
    assert found["poddisruptionbudget.yaml"]["spec"] == {"maxUnavailable": 1, "selector": spec["selector"]}
    with pytest.raises(InvalidError, match="replicas: 1 is not 2 or more"):
        documents(replicas=1)


def test_probes_ask_the_agent() -> None:
    agent = pod()["containers"][-1]
    asked = {kind: agent[f"{kind}Probe"]["exec"]["command"][-1] for kind in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/live", "liveness": "/live", "readiness": "/ready"}


def test_each_instance_is_drained_before_it_ends_and_has_the_time_for_it() -> None:
    found = pod()
    instances = found["containers"][:-1]
    assert len(instances) == 2
    for console, container in zip((50001, 50002), instances, strict=True):
        drain = f"pooler drain {console} 6432 --notice 5 --clients 40 --transactions 20"
        assert container["lifecycle"]["preStop"]["exec"]["command"] == drain.split()
    assert found["terminationGracePeriodSeconds"] > 5 + 40 + 20


def test_the_same_variables_are_the_same_manifests() -> None:
    assert manifest.text(documents()) == manifest.text(documents())


def test_what_pods_read_has_another_name_when_it_is_other() -> None:
    def name(**changes: Any) -> str:
        config = documents(**changes)["configmap.yaml"]
        mounted = [each["configMap"]["name"] for each in pod(**changes)["volumes"] if "configMap" in each]
        assert mounted == [config["metadata"]["name"]]
        return str(config["metadata"]["name"])

    ops = {"users": [{"name": "ops", "verifier": scram.verifier("x"), "console": "admin"}]}
    names = [name(), name(pgbouncer=GIVEN["pgbouncer"] | {"settings": {"default_pool_size": 7}})]
    names.append(name(pgbouncer=GIVEN["pgbouncer"] | ops))
    assert len({*names}) == 3


def test_no_verifier_is_in_a_manifest() -> None:
    verifier = scram.verifier("x")
    users = [{"name": "ops", "verifier": verifier, "console": "admin"}]
    given = GIVEN | {"pgbouncer": GIVEN["pgbouncer"] | {"users": users}}
    fleet = kubernetes.read(given)
    assert "SCRAM-SHA-256$" not in manifest.text(kubernetes.documents(fleet))
    assert userlist.parse(kubernetes.userlist(fleet).content.decode())["ops"] == verifier


def test_the_line_of_our_own_role_is_a_verifier_that_fits_no_password() -> None:
    listed = userlist.parse(kubernetes.userlist(kubernetes.read(GIVEN)).content.decode())
    assert scram.is_verifier(listed["pgbouncer"])
    assert not any(scram.verifies(listed["pgbouncer"], password) for password in ("x", "pgbouncer", "0" * 32))


def test_out_go_only_names_postgresql_and_patroni() -> None:
    spec = documents()["networkpolicy.yaml"]["spec"]
    assert sorted(each["port"] for rule in spec["egress"] for each in rule["ports"]) == [53, 53, 5432, 8008, 8009]
    assert [each["port"] for rule in spec["ingress"] for each in rule["ports"]] == [6432, 9127]


def test_metrics_are_asked_for_by_the_name_in_the_certificate() -> None:
    (endpoint,) = documents()["podmonitor.yaml"]["spec"]["podMetricsEndpoints"]
    assert endpoint["tlsConfig"]["serverName"] == "pooler.apps.svc"
    assert endpoint["port"] in [port["name"] for port in pod()["containers"][-1]["ports"]]


def test_pools_of_all_pods_are_held_against_max_connections() -> None:
    tight = GIVEN["pgbouncer"] | {"capacity": {"max_connections": 60}}
    with pytest.raises(InvalidError, match="x 2 instances x 3 hosts"):
        documents(replicas=3, pgbouncer=tight)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"replica": 2}, "replica: is not known .did you mean 'replicas'"),
        ({"name": "Pooler"}, "name: 'Pooler' is no name"),
        ({"secrets": {"tls": "x"}}, "secrets.tls: is not known"),
        ({"pgbouncer": {"dispatch": "socket"}}, "pgbouncer.dispatch: follows from something else"),
        (
            {"pgbouncer": {"users": [{"name": "a", "password": "hidden"}]}},
            "users.0..password: would be another verifier",
        ),
        ({"pgbouncer": GIVEN["pgbouncer"] | {"agent": {"enabled": False}}}, "pgbouncer.agent: is switched off"),
        ({"pgbouncer": GIVEN["pgbouncer"] | {"auth_query": {"password": "hidden"}}}, "has a password of our own role"),
        ({"pgbouncer": GIVEN["pgbouncer"] | {"capacity": {"users": 2}}}, "capacity.max_connections: is missing"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError, match=words) as refused:
        documents(**changes)
    assert "hidden" not in str(refused.value)


def test_render_writes_manifests_and_the_file_of_the_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = tmp_path / "pooler.yml"
    given.write_text(yaml.safe_dump(GIVEN))
    assert cli.main(["render", "kubernetes", str(given), "--output", str(tmp_path / "out")]) == 0
    written = {path.name: path for path in (tmp_path / "out").iterdir()}
    listed = yaml.safe_load(written["kustomization.yaml"].read_text())["resources"]
    assert {*listed, "kustomization.yaml", "userlist.txt"} == {*written}
    assert written["userlist.txt"].stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(written["deployment.yaml"].read_text()) == documents()["deployment.yaml"]
    capsys.readouterr()
    assert cli.main(["render", "kubernetes", str(given)]) == 0
    printed = capsys.readouterr().out
    assert len(list(yaml.safe_load_all(printed))) == 7
    assert "SCRAM" not in printed
