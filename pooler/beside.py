"""What is asked by those who run beside an agent: its configuration, and its own word of the host."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

from .agent.config import AgentConfig
from .agent.rest import Api
from .errors import PoolerError
from .server import Server

SECONDS = 3.0


def config(path: str) -> AgentConfig:
    """Raises PoolerError."""
    try:
        return AgentConfig.from_json(Path(path).read_text(encoding="utf-8"), name=path)
    except OSError as error:
        raise PoolerError(f"{path}: {error.strerror}: is this beside an agent? Else name hosts, for ssh") from None


async def status(config: AgentConfig) -> dict[str, Any]:
    """The answer to GET /status. Raises PoolerError when there is none."""
    host = "127.0.0.1" if "*" in config.listen else config.listen[0]
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Whether the certificate is right is another question, and the doctor's.
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    at = Server(host, config.health_port)
    try:
        found = json.loads(await Api(f"{'https' if config.tls else 'http'}://{at}", tls).get("/status", SECONDS))
    except TimeoutError:
        raise PoolerError(f"no answer within {SECONDS:g} s") from None
    except (OSError, ValueError) as error:
        raise PoolerError(str(error) or type(error).__name__) from None
    if not isinstance(found, dict):
        raise PoolerError("its answer is not understood")
    return found
