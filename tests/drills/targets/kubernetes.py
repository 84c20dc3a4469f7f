"""The pod of the Deployment, played by podman: its probes, its confinement, and a drain with clients in it."""

from __future__ import annotations

import base64
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import yaml

from pooler.targets import manifest
from tests.acceptance import health
from tests.drills.figures import Figure
from tests.lab import hosts

from .stage import Stage

PORT, AGENT_PORT = 7432, 9227
"""Of the pod, as the host publishes them; the project has the usual ones."""

NOTICE, CLIENTS, TRANSACTIONS = 1, 4, 10
HELD = 6.0
"""Seconds that a transaction takes which is open when the drain begins: longer than clients may stay by themselves."""

_POD = "pooler-pod"
_PAUSE = "localhost/lab/pause"
_INSTANCES = (50001, 50002)


def rows(stage: Stage, *, short: bool) -> list[Figure]:
    pod = _play(stage)
    ready = stage.until("a pod that is ready", lambda: _probe(stage, pod, "readinessProbe"))
    stage.until("a first login to the pod", lambda: stage.logs_in(PORT))
    figures = [
        Figure("kubernetes: from `kube play` to ready", ready, "s"),
        Figure("kubernetes: what a process of the pod can do beyond the restricted standard", _beyond(stage), "", 0),
        *_probes(stage, pod, short=short),
        *_drain(stage, pod),
    ]
    stage.podman("kube", "down", "-", said=_text(stage))
    return figures


def _play(stage: Stage) -> dict[str, Any]:
    """The manifests as they are rendered, with Secrets and without limits of memory. The pod's specification."""
    given = stage.place / "kubernetes.yml"
    given.write_text(
        yaml.safe_dump(
            {
                "pgbouncer": {
                    "databases": [{"name": "app", "pool_size": 5}],
                    "server": "postgresql",
                    "capacity": {"max_connections": 100},
                    "drain_notice": NOTICE,
                    "drain_timeout": CLIENTS,
                    "transaction_timeout": TRANSACTIONS,
                }
            }
        )
    )
    stage.render("kubernetes", given, stage.place / "kubernetes")
    # podman brings its own for this as a rule, which a lab host lacks.
    stage.podman("commit", "--quiet", "--change", 'ENTRYPOINT ["sleep","infinity"]', "pgbouncer-agent", _PAUSE)
    stage.sh(
        "mkdir -p /etc/containers/containers.conf.d\n"
        f"printf '[engine]\\ninfra_image = \"{_PAUSE}\"\\n' > /etc/containers/containers.conf.d/pause.conf\n"
    )
    published = [f"--publish={outside}:{inside}" for outside, inside in ((PORT, 6432), (AGENT_PORT, 9127))]
    stage.podman("kube", "play", "--network=project_default", *published, "-", said=_text(stage))
    found: dict[str, Any] = yaml.safe_load((stage.place / "kubernetes/deployment.yaml").read_text())
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


def _text(stage: Stage) -> str:
    place = stage.place / "kubernetes"
    config, deployment = (yaml.safe_load((place / f"{name}.yaml").read_text()) for name in ("configmap", "deployment"))
    pod = deployment["spec"]["template"]["spec"]
    for container in (*pod["containers"], *pod["initContainers"]):
        del container["resources"]
    secrets = [
        _secret("pooler-userlist", {"userlist.txt": place / "userlist.txt"}),
        _secret("pooler-server-tls", _leaf(stage, "server")),
        _secret("pooler-client-tls", _leaf(stage, "client")),
    ]
    return "---\n".join(manifest.text(document) for document in (*secrets, config, deployment))


def _secret(name: str, files: dict[str, Path]) -> dict[str, Any]:
    data = {key: base64.b64encode(path.read_bytes()).decode() for key, path in files.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def _leaf(stage: Stage, kind: str) -> dict[str, Path]:
    """The project's, whose authority PostgreSQL trusts."""
    (place,) = (stage.project / "files/pgbouncer/tls" / kind).iterdir()
    return {name: place / name for name in ("tls.crt", "tls.key", "ca.crt")}


def _probe(stage: Stage, pod: dict[str, Any], kind: str) -> bool:
    """As the kubelet does it: the command of the manifest, in the container."""
    return stage.asks("podman", "exec", f"{_POD}-agent", *pod["containers"][-1][kind]["exec"]["command"])


def _beyond(stage: Stage) -> int:
    """Counted over all containers, by what the kernel says of their first processes."""
    beyond = 0
    for name in (*(f"pgbouncer-{console}" for console in _INSTANCES), "agent"):
        inside = ("exec", f"{_POD}-{name}")
        lines = stage.podman(*inside, "cat", "/proc/1/status").splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        capabilities = {int(status[each], 16) for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
        beyond += not stage.tried(f"{name}: is 6432", {*status["Uid"].split(), *status["Gid"].split()} == {"6432"})
        beyond += not stage.tried(f"{name}: has no capability", capabilities == {0})
        beyond += not stage.tried(f"{name}: gets no new privileges", status["NoNewPrivs"] == "1")
        beyond += not stage.tried(f"{name}: is under seccomp", status["Seccomp"] == "2")
        writes = [
            place for place in ("/", "/usr", "/etc") if stage.asks("podman", *inside, "touch", f"{place}/written")
        ]
        beyond += not stage.tried(f"{name}: writes nowhere in its image", not writes)
    return beyond


def _probes(stage: Stage, pod: dict[str, Any], *, short: bool) -> list[Figure]:
    """Each says yes when all is well and no when it is not."""
    failed = 0
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        failed += not stage.tried(f"{kind} succeeds", _probe(stage, pod, kind))
    consoles = [f"{_POD}-pgbouncer-{console}" for console in _INSTANCES]
    stage.podman("pause", *consoles)
    failed += not stage.tried("not ready without an instance", _within(10, stage, pod, "readinessProbe", said=False))
    failed += not stage.tried("alive all the same", _probe(stage, pod, "livenessProbe"))
    stage.podman("unpause", *consoles)
    failed += not stage.tried("ready again", _within(20, stage, pod, "readinessProbe", said=True))
    figures = [Figure("kubernetes: probes that say something else than they should", failed, "", 0)]
    if not short:
        # podman starts it anew itself, by the very liveness probe.
        began = _pid(stage, "agent")
        stage.podman("kill", "--signal=STOP", f"{_POD}-agent")
        hung = stage.until("another process of the agent", lambda: _pid(stage, "agent") not in (began, 0))
        stage.until("a pod that is ready again", lambda: _probe(stage, pod, "readinessProbe"))
        figures.append(Figure("kubernetes: an agent that hangs is started anew after", hung, "s", 90))
    return figures


def _pid(stage: Stage, container: str) -> int:
    """0 while there is none."""
    return int(stage.podman("inspect", "--format", "{{.State.Pid}}", f"{_POD}-{container}"))


def _within(seconds: float, stage: Stage, pod: dict[str, Any], kind: str, *, said: bool) -> bool:
    return health.until(lambda: _probe(stage, pod, kind) is said, seconds)


def _drain(stage: Stage, pod: dict[str, Any]) -> list[Figure]:
    """preStop in all instances at once, as the kubelet runs it when a pod is deleted."""
    idle, busy = stage.connect(PORT), stage.connect(PORT)
    idle.execute("SELECT 1")
    outcome: list[object] = []

    def work() -> None:
        with busy.transaction():
            outcome.extend(busy.execute("SELECT 1, pg_sleep(%s)", [HELD]).fetchone() or ())

    client = threading.Thread(target=work)
    client.start()
    began = time.monotonic()
    drains = [
        subprocess.Popen(
            hosts.enter(
                stage.lab, stage.host, ["podman", "exec", f"{_POD}-{container['name']}", *_pre_stop(container)]
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for container in pod["containers"]
        if "lifecycle" in container
    ]
    refused = stage.until("a pod that is not ready", lambda: not _probe(stage, pod, "readinessProbe"))
    client.join()
    said = b" ".join(drain.communicate()[0] for drain in drains).decode()
    seconds = time.monotonic() - began
    kept = stage.tried(f"the transaction is done ({said!r})", outcome[:1] == [1])
    closed = stage.tried("a client without one is gone", _gone(idle))
    busy.close()
    return [
        Figure("kubernetes: not ready after the drain began", refused, "s", NOTICE + 5),
        Figure("kubernetes: transactions that a drain broke", int(not kept), "of 1", 0),
        Figure("kubernetes: clients that outlived the drain", int(not closed), "of 1", 0),
        Figure("kubernetes: the drain took", seconds, "s", NOTICE + CLIENTS + TRANSACTIONS),
    ]


def _pre_stop(container: dict[str, Any]) -> list[str]:
    command: list[str] = container["lifecycle"]["preStop"]["exec"]["command"]
    return command


def _gone(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.Error:
        return True
    return False
