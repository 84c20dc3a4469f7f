"""Poolers as a Deployment of Kubernetes: each pod is what a pooler host is elsewhere, without systemd.

Nothing in it is by chance: the same variables are the same manifests, so that only what has changed is rolled out. Of
secrets there are names only. A pod is never changed in place: its ConfigMap is named by its content, so another content
is another pod, and the old one is drained first.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .. import __version__, bundle, units, variables
from ..agent.config import CONFIG, HOSTS_DIRECTORY, STATE
from ..bundle import CONFIGURATION, CURRENT, RELEASES, RUNTIME, Bundle
from ..errors import InvalidError, Problem, nearest
from ..files import File
from ..model import Agent, Pooler
from .first_boot import leader

USERLIST = "userlist.txt"
"""The one key of its Secret, and the file beside the manifests from which that is made."""

_TLS = "/etc/tls"
_SERVER, _CLIENT = f"{_TLS}/server", f"{_TLS}/client"
_NOTICE = 5
"""Seconds until every node knows that a pod that is about to end gets no new clients."""

_MARGIN = 15
_OPTIONS = ("name", "namespace", "replicas", "secrets", "clients", "monitoring", "pgbouncer")
_SECRETS = ("server_tls", "client_tls", "metrics_tls", "userlist")
_OURS = {
    "dispatch": "nothing: no systemd hands out sockets",
    "tls_directory": "secrets",
    "state": "kubectl",
    "verifiers": "users",
}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")

# Nobody knows a key of which this is the digest, so nobody logs in with it; the engine only has to know the name.
_LOCKED = "SCRAM-SHA-256$4096:{0}${1}:{1}".format(
    base64.b64encode(bytes(16)).decode(), base64.b64encode(bytes(32)).decode()
)


@dataclass(frozen=True)
class Fleet:
    """`secrets` are names of Secrets by what is in them; `clients` and `monitoring` are peers of a NetworkPolicy."""

    pooler: Pooler
    agent: Agent
    name: str
    namespace: str | None
    replicas: int
    secrets: Mapping[str, str]
    clients: tuple[Mapping[str, Any], ...]
    monitoring: tuple[Mapping[str, Any], ...]

    @property
    def host_name(self) -> str:
        """By which clients find it, and which its certificate has to have."""
        return f"{self.name}.{self.namespace}.svc" if self.namespace else self.name


def read(given: Mapping[str, Any]) -> Fleet:
    """Raises InvalidError with every problem."""
    problems = [Problem(name, "is not known", nearest(name, _OPTIONS)) for name in given if name not in _OPTIONS]
    name, namespace = str(given.get("name") or "pooler"), given.get("namespace")
    for place, text in (("name", name), ("namespace", namespace)):
        if text is not None and not _NAME.fullmatch(str(text)):
            problems.append(Problem(place, f"{text!r} is no name", "at most 40 lower-case letters, digits and hyphens"))
    replicas = given.get("replicas", 2)
    if isinstance(replicas, bool) or not str(replicas).isdecimal() or int(str(replicas)) < 2:
        problems.append(
            Problem("replicas", f"{replicas!r} is not 2 or more", "one alone has nobody to leave clients to")
        )
        replicas = 2
    secrets = {kind: f"{name}-{kind.replace('_', '-')}" for kind in _SECRETS} | dict(given.get("secrets") or {})
    problems += [
        Problem(f"secrets.{kind}", "is not known", nearest(kind, _SECRETS)) for kind in {*secrets} - {*_SECRETS}
    ]
    options = dict(given.get("pgbouncer") or {})
    problems += [
        Problem(f"pgbouncer.{option}", "follows from something else", f"see {owner}")
        for option, owner in _OURS.items()
        if option in options
    ]
    problems += [
        Problem(
            f"pgbouncer.users[{number}].password", "would be another verifier each time", "`pooler scram` makes one"
        )
        for number, user in enumerate(options.get("users") or ())
        if isinstance(user, Mapping) and user.get("password") is not None
    ]
    if problems:
        raise InvalidError(problems)
    options |= {"dispatch": "engine", "drain_notice": options.get("drain_notice", _NOTICE)}
    if options.get("capacity"):
        if options["capacity"].get("max_connections") is None:
            raise InvalidError([Problem("pgbouncer.capacity.max_connections", "is missing", "nobody is asked for it")])
        options["capacity"] = {"hosts": replicas, **options["capacity"]}
    pooler = variables.read({"image": f"localhost/pgfleet/pooler:{__version__}", **options})
    if pooler.agent is None or not pooler.agent.tls:
        raise InvalidError(
            [Problem("pgbouncer.agent", "is switched off, or its TLS", "probes and metrics are its own")]
        )
    if pooler.passwords or pooler.agent.patroni_password:
        raise InvalidError([Problem("pgbouncer", "has a password of our own role", "certificates are in Secrets")])
    return Fleet(
        pooler=pooler,
        agent=pooler.agent,
        name=name,
        namespace=None if namespace is None else str(namespace),
        replicas=int(str(replicas)),
        secrets={kind: str(secret) for kind, secret in secrets.items()},
        clients=tuple(given.get("clients") or ({"podSelector": {}},)),
        monitoring=tuple(given.get("monitoring") or ({"namespaceSelector": {}},)),
    )


def userlist(fleet: Fleet) -> File:
    """What the Secret is made from."""
    (found,) = (file for file in _built(fleet).release_files if file.path.endswith(f"/{USERLIST}"))
    return found


def documents(fleet: Fleet) -> dict[str, dict[str, Any]]:
    """The manifests by the names of their files, and a kustomization of them all."""
    made = _built(fleet)
    found = {
        "configmap.yaml": _config_map(fleet, made),
        "deployment.yaml": _deployment(fleet, made),
        "service.yaml": _service(fleet),
        "poddisruptionbudget.yaml": _budget(fleet),
        "networkpolicy.yaml": _network_policy(fleet),
        "podmonitor.yaml": _pod_monitor(fleet),
    }
    listed = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(found)}
    return {**found, "kustomization.yaml": listed}


def _built(fleet: Fleet) -> Bundle:
    pooler = fleet.pooler
    server, problems = leader(None, pooler)
    if problems:
        raise InvalidError(problems)
    facts = bundle.Facts(leader=server, server_leaf=_SERVER, client_leaf=_CLIENT, verifiers={fleet.agent.role: _LOCKED})
    return bundle.build(pooler, facts)


def _labels(fleet: Fleet) -> dict[str, str]:
    return {"app.kubernetes.io/name": "pgbouncer", "app.kubernetes.io/instance": fleet.name}


def _object(fleet: Fleet, kind: str, version: str, spec: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name or fleet.name, "labels": _labels(fleet)}
    if fleet.namespace:
        metadata["namespace"] = fleet.namespace
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **spec}


def _content(fleet: Fleet, made: Bundle) -> dict[str, str]:
    """What a pod copies to its places, by key: of the release, beside the userlist, and the two files of the agent."""
    assert made.agent is not None
    files = [file for file in made.release_files if not file.path.endswith(f"/{USERLIST}")]
    return {file.path.rpartition("/")[2]: file.content.decode() for file in (*files, made.databases, made.agent)}


def _config_name(fleet: Fleet, made: Bundle) -> str:
    text = "\0".join(f"{key}\0{text}" for key, text in sorted(_content(fleet, made).items()))
    return f"{fleet.name}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _config_map(fleet: Fleet, made: Bundle) -> dict[str, Any]:
    spec = {"immutable": True, "data": _content(fleet, made)}
    return _object(fleet, "ConfigMap", "v1", spec, _config_name(fleet, made))


def _deployment(fleet: Fleet, made: Bundle) -> dict[str, Any]:
    pooler, labels = fleet.pooler, _labels(fleet)
    anti_affinity = [{"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}]
    pod = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": anti_affinity}},
        "terminationGracePeriodSeconds": (
            pooler.drain_notice + pooler.drain_timeout + pooler.transaction_timeout + _MARGIN
        ),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": pooler.uid,
            "runAsGroup": pooler.uid,
            "fsGroup": pooler.uid,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "initContainers": [_files(fleet, made)],
        "containers": [*(_instance(pooler, console) for console in pooler.consoles), _agent(fleet)],
        "volumes": [
            {"name": "config", "configMap": {"name": _config_name(fleet, made)}},
            *(
                {"name": kind.replace("_", "-"), "secret": {"secretName": fleet.secrets[kind], "defaultMode": 0o444}}
                for kind in ("userlist", "server_tls", "client_tls")
            ),
            *({"name": name, "emptyDir": {}} for name in ("etc", "sockets", "state")),
        ],
    }
    spec = {
        "replicas": fleet.replicas,
        "selector": {"matchLabels": labels},
        # No pod more than there are: the sum of their pools was held against max_connections.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
        "template": {"metadata": {"labels": labels}, "spec": pod},
    }
    return _object(fleet, "Deployment", "apps/v1", {"spec": spec})


def _container(pooler: Pooler, name: str, command: list[str], mounts: Mapping[str, str]) -> dict[str, Any]:
    """`mounts` are volumes and places; one that ends with `:ro` is read only."""
    return {
        "name": name,
        "image": pooler.image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": volume, "mountPath": place.removesuffix(":ro")}
            | ({"readOnly": True} if place[-3:] == ":ro" else {})
            for volume, place in mounts.items()
        ],
    }


def _files(fleet: Fleet, made: Bundle) -> dict[str, Any]:
    """A userlist that is not the one which belongs to this release keeps the pod from starting."""
    release = f"{RELEASES}/{made.release}"
    (listed,) = (file for file in made.release_files if file.path.endswith(f"/{USERLIST}"))
    digest = hashlib.sha256(listed.content).hexdigest()
    instances = " ".join(f"{console}.ini" for console in fleet.pooler.consoles)
    sockets = " ".join(f"{RUNTIME}/{console}" for console in fleet.pooler.consoles)
    script = (
        "umask 077\n"
        f"echo '{digest}  /userlist/{USERLIST}' | sha256sum --check --status || {{\n"
        f"  echo 'Secret {fleet.secrets['userlist']} is not of this rendering: make it from its {USERLIST}'\n"
        "  exit 1\n"
        "}\n"
        f"mkdir -p {release} {HOSTS_DIRECTORY} {CONFIG.rpartition('/')[0]} {sockets}\n"
        f"cd /config && cp {instances} hba.conf /userlist/{USERLIST} {release}/\n"
        f"cp databases.ini {HOSTS_DIRECTORY}/ && cp agent.json {CONFIG}\n"
        f"ln -sfn releases/{made.release} {CURRENT}\n"
    )
    mounts = {"config": "/config:ro", "userlist": "/userlist:ro", "etc": CONFIGURATION, "sockets": RUNTIME}
    small = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "32Mi"}}
    return _container(fleet.pooler, "files", ["sh", "-euc", script], mounts) | {"resources": small}


def _instance(pooler: Pooler, console: int) -> dict[str, Any]:
    memory = f"{units.memory_max(pooler)}Mi"
    mounts = {"etc": f"{CONFIGURATION}:ro", "sockets": RUNTIME, "state": STATE} | _leaves()
    drain = ["pooler", "drain", str(console), str(pooler.port), "--notice", str(pooler.drain_notice)]
    drain += ["--clients", str(pooler.drain_timeout), "--transactions", str(pooler.transaction_timeout)]
    return _container(pooler, f"pgbouncer-{console}", ["pgbouncer", f"{CURRENT}/{console}.ini"], mounts) | {
        # All of them listen on the one port; it is named once.
        **({"ports": [{"name": "pgbouncer", "containerPort": pooler.port}]} if console == pooler.consoles[0] else {}),
        "resources": {"requests": {"cpu": "100m", "memory": memory}, "limits": {"memory": memory}},
        "lifecycle": {"preStop": {"exec": {"command": drain}}},
    }


def _agent(fleet: Fleet) -> dict[str, Any]:
    mounts = {"etc": CONFIGURATION, "sockets": f"{RUNTIME}:ro", "state": STATE} | _leaves()
    return _container(fleet.pooler, "agent", ["pooler", "agent", CONFIG], mounts) | {
        "ports": [{"name": "agent", "containerPort": fleet.agent.port}],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "128Mi"}},
        "startupProbe": _probe("/live", period=2, failures=30),
        "livenessProbe": _probe("/live", period=10, failures=3),
        "readinessProbe": _probe("/ready", period=5, failures=2),
    }


def _leaves() -> dict[str, str]:
    return {"server-tls": f"{_SERVER}:ro", "client-tls": f"{_CLIENT}:ro"}


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    """By a command: podman plays it too, and no policy of the network stands in its way."""
    command = ["python3", "-m", "pooler.agent.ask", path]
    return {"exec": {"command": command}, "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures}


def _service(fleet: Fleet) -> dict[str, Any]:
    ports = [
        {"name": name, "port": port, "targetPort": name}
        for name, port in (("pgbouncer", fleet.pooler.port), ("agent", fleet.agent.port))
    ]
    return _object(fleet, "Service", "v1", {"spec": {"selector": _labels(fleet), "ports": ports}})


def _budget(fleet: Fleet) -> dict[str, Any]:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _labels(fleet)}}
    return _object(fleet, "PodDisruptionBudget", "policy/v1", {"spec": spec})


def _network_policy(fleet: Fleet) -> dict[str, Any]:
    """Clients and monitoring come in; out go names, PostgreSQL and Patroni."""
    pooler = fleet.pooler

    def tcp(*ports: int) -> list[dict[str, Any]]:
        return [{"protocol": "TCP", "port": port} for port in ports]

    spec = {
        "podSelector": {"matchLabels": _labels(fleet)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": list(fleet.clients), "ports": tcp(pooler.port)},
            {"from": list(fleet.monitoring), "ports": tcp(fleet.agent.port)},
        ],
        "egress": [
            {"ports": [{"protocol": "UDP", "port": 53}, *tcp(53)]},
            {"ports": tcp(*sorted({*_servers(pooler)}))},
        ],
    }
    return _object(fleet, "NetworkPolicy", "networking.k8s.io/v1", {"spec": spec})


def _servers(pooler: Pooler) -> Iterator[int]:
    """Ports of PostgreSQL and of Patroni."""
    yield pooler.server.port if pooler.server else 5432
    for url in pooler.patroni:
        yield urlsplit(url).port or 8008
    for database in pooler.databases:
        yield int(database.settings.get("port", "5432"))


def _pod_monitor(fleet: Fleet) -> dict[str, Any]:
    """Metrics name databases and users, so whoever asks for them shows a certificate of the same authority."""
    secret = fleet.secrets["metrics_tls"]
    tls = {
        "serverName": fleet.host_name,
        "ca": {"secret": {"name": secret, "key": "ca.crt"}},
        "cert": {"secret": {"name": secret, "key": "tls.crt"}},
        "keySecret": {"name": secret, "key": "tls.key"},
    }
    endpoint = {"port": "agent", "path": "/metrics", "scheme": "https", "tlsConfig": tls}
    spec = {"selector": {"matchLabels": _labels(fleet)}, "podMetricsEndpoints": [endpoint]}
    return _object(fleet, "PodMonitor", "monitoring.coreos.com/v1", {"spec": spec})
