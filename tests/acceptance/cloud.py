"""What a host asks of EC2 before its first boot, in the lab's network: instance metadata, and moto's S3 behind TLS.

`python -m tests.acceptance.cloud DIRECTORY` serves until it is killed, and writes into the directory what its callers
need: `cloud.json` (bucket, region, keys of who may upload) and `cloud.crt` (the authority of its certificate).
moto checks signatures and policies from the moment the file is there: only the role of the instance may read.
"""

from __future__ import annotations

import json
import secrets
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import boto3
import requests
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from pooler import certificates

ADDRESS = "169.254.169.254"
REGION = "eu-central-1"
BUCKET = "pgfleet-lab"
ROLE = "pooler"
SERVICES = ("s3", "iam", "sts")
NAMES = (
    *(f"{service}.{REGION}.amazonaws.com" for service in SERVICES),
    *(f"{service}.amazonaws.com" for service in SERVICES),
    f"{BUCKET}.s3.{REGION}.amazonaws.com",
    f"{BUCKET}.s3.amazonaws.com",
    f"{BUCKET}.s3.dualstack.{REGION}.amazonaws.com",
)
_READABLE = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}],
}
_EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
_WHO = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


class _Metadata(BaseHTTPRequestHandler):
    """Instance metadata, version 2: nothing without the token that is given for a PUT."""

    token: ClassVar[str] = secrets.token_urlsafe(24)
    directory: ClassVar[Path]
    credentials: ClassVar[dict[str, Any]]

    def do_PUT(self) -> None:
        if self.path == "/latest/api/token":
            self._answer(200, self.token, {"X-aws-ec2-metadata-token-ttl-seconds": "21600"})
        else:
            self._answer(404, "")

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") != self.token:
            self._answer(401, "")
            return
        _slash, _version, _rest = self.path.split("/", 2)
        answers: dict[str, Callable[[], str]] = {
            "user-data": lambda: (self.directory / "user-data").read_text(encoding="utf-8"),
            "meta-data/placement/region": lambda: REGION,
            "meta-data/placement/availability-zone": lambda: f"{REGION}a",
            "dynamic/instance-identity/document": lambda: json.dumps({"region": REGION}),
            "meta-data/iam/info": lambda: json.dumps({"Code": "Success"}),
            "meta-data/iam/security-credentials/": lambda: ROLE,
            f"meta-data/iam/security-credentials/{ROLE}": lambda: json.dumps(self.credentials),
        }
        answer = answers.get(_rest)
        if answer:
            self._answer(200, answer())
        else:
            self._answer(404, "")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: there are credentials in what is asked."""

    def _answer(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        content = text.encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


class _Regional:
    """moto, and what S3 does with those who may not read a bucket: they are told its region nevertheless."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.closed = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.closed and "HTTP_AUTHORIZATION" not in environ:
            start_response("403 Forbidden", [("x-amz-bucket-region", REGION), ("Content-Length", "0")])
            return []

        def started(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            known = [(name, value) for name, value in headers if name.lower() != "x-amz-bucket-region"]
            return start_response(status, [*known, ("x-amz-bucket-region", REGION)], *rest)

        answer: Iterable[bytes] = self._moto(environ, started)
        return answer


def serve(directory: Path) -> None:
    authority = certificates.new_authority("lab cloud", now=datetime.now(UTC))
    (directory / "cloud.crt").write_text(authority.certificate_pem)
    services = _Regional()
    server = make_server(ADDRESS, 443, services, threaded=True, ssl_context=_tls(authority))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keys, _Metadata.credentials = _accounts(directory / "cloud.crt")
    services.closed = True
    _Metadata.directory = directory
    metadata = ThreadingHTTPServer((ADDRESS, 80), _Metadata)
    draft = directory / "cloud.json.new"
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"bucket": BUCKET, "region": REGION, **keys}))
    draft.rename(directory / "cloud.json")
    print("ready", flush=True)
    metadata.serve_forever()


def client(service: str, directory: Path, keys: dict[str, str] | None = None) -> Any:
    """Of boto3, towards this cloud. `keys` of `cloud.json`, or none that anybody looks at."""
    keys = keys or {"access_key": "a", "secret_key": "b"}
    return boto3.client(
        service,
        region_name=REGION,
        verify=str(directory / "cloud.crt"),
        aws_access_key_id=keys["access_key"],
        aws_secret_access_key=keys["secret_key"],
    )


def _tls(authority: certificates.Authority) -> ssl.SSLContext:
    request = certificates.LeafRequest("cloud", dns_names=NAMES, usages=frozenset({"server"}))
    leaf = certificates.issue(authority, request, datetime.now(UTC))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(leaf.certificate_pem.encode() + leaf.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def _accounts(authority: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Who may upload, and the credentials of the instance's role; from then on nobody else may do anything."""
    iam, sts, s3 = (client(service, authority.parent) for service in ("iam", "sts", "s3"))
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    role = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(_WHO))["Role"]
    iam.put_role_policy(RoleName=ROLE, PolicyName="read", PolicyDocument=json.dumps(_READABLE))
    found = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="host")["Credentials"]
    iam.create_user(UserName="operator")
    iam.put_user_policy(UserName="operator", PolicyName="all", PolicyDocument=json.dumps(_EVERYTHING))
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    address = f"https://s3.{REGION}.amazonaws.com/moto-api/reset-auth"
    requests.post(address, data=b"0", verify=str(authority), timeout=10).raise_for_status()
    return {"access_key": key["AccessKeyId"], "secret_key": key["SecretAccessKey"]}, {
        "Code": "Success",
        "Type": "AWS-HMAC",
        "AccessKeyId": found["AccessKeyId"],
        "SecretAccessKey": found["SecretAccessKey"],
        "Token": found["SessionToken"],
        "LastUpdated": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Expiration": found["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
