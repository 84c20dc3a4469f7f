"""An EC2 that lives as long as this process: moto's, with a book of what it was asked and a way to have it refuse.

`GET /pgfleet/book` gives what was asked so far, in order; `POST /pgfleet/refuse` makes the next call of an action end
with an error as EC2 words it. A quota cannot be used up otherwise, and a run cannot be broken at a chosen point.
"""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message>'
    "</Error></Errors><RequestID>00000000-0000-0000-0000-000000000000</RequestID></Response>"
)
_StartResponse = Callable[..., Any]


class Cloud:
    """A WSGI application before moto's."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._book: list[dict[str, str]] = []
        self._refusals: list[dict[str, str]] = []

    def __call__(self, environ: dict[str, Any], start_response: _StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        path = environ.get("PATH_INFO", "")
        if path == "/pgfleet/book":
            return _answer(start_response, "200 OK", json.dumps(self._book))
        if path == "/pgfleet/refuse":
            self._refusals.append(json.loads(body))
            return _answer(start_response, "200 OK", "{}")
        asked = {name: values[0] for name, values in parse_qs(body.decode(errors="replace")).items()}
        refusal = self._note(asked)
        if refusal:
            return _answer(start_response, "400 Bad Request", _ERROR.format(**refusal))
        answer: Iterable[bytes] = self._moto(environ, start_response)
        return answer

    def _note(self, asked: dict[str, str]) -> dict[str, str] | None:
        action = asked.get("Action")
        if action is None:
            return None
        with self._lock:
            self._book.append(asked)
            refusal = next((each for each in self._refusals if each["action"] == action), None)
            if refusal:
                self._refusals.remove(refusal)
            return refusal


def _answer(start_response: _StartResponse, status: str, text: str) -> list[bytes]:
    content = text.encode()
    start_response(status, [("Content-Length", str(len(content)))])
    return [content]


def serve(port: int) -> None:
    """Serve on 127.0.0.1 until killed; says so on standard output once it listens."""
    server = make_server("127.0.0.1", port, Cloud(), threaded=True)
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
