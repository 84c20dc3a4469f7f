"""What EC2 refuses, in words that say what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_REMEDIES: tuple[tuple[str, str], ...] = (
    (
        r"NoCredentials|Unable to locate credentials|PartialCredentials",
        "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN), or name a "
        "profile of ~/.aws/config",
    ),
    (r"ProfileNotFound|config profile .* could not be found", "there is no such profile in ~/.aws/config"),
    (
        r"AuthFailure|InvalidClientTokenId|SignatureDoesNotMatch|ExpiredToken|UnrecognizedClient|RequestExpired",
        "the credentials are not valid: they are wrong or have ended, or the clock of this machine is off",
    ),
    (
        r"UnauthorizedOperation|AccessDenied",
        "the credentials may not do this: their policy lacks the action",
    ),
    (
        r"NoRegion|You must specify a region|requires a region",
        "no region is named: set the variable of the region, or AWS_REGION",
    ),
    (
        r"EndpointConnectionError|Could not connect to the endpoint|InvalidRegion|InvalidEndpoint|OptInRequired",
        "there is no such region, it is not enabled for this account, or it cannot be reached from here",
    ),
    (
        r"InvalidAMIID|InvalidAMI",
        "there is no such image in this region: ids of images differ between regions, and old images are taken away",
    ),
    (r"InvalidKeyPair\.NotFound", "there is no such key pair in this region: aws_network makes one"),
    (r"InvalidVpcID\.NotFound", "there is no such VPC in this region"),
    (r"RequestLimitExceeded|Throttling", "EC2 was asked too often at once: run again"),
    (
        r"LimitExceeded|MaxSpotInstanceCountExceeded|TooMany(LoadBalancers|TargetGroups|Listeners|Targets)",
        "a quota of the account is used up: take something away or ask for more under Service Quotas, then run again; "
        "what is there already is kept",
    ),
    (
        r"InsufficientInstanceCapacity|\(Unsupported\)",
        "EC2 has none of that instance type in that zone now: take another type or another zone",
    ),
    (
        # amazon.aws keeps EC2's own words to itself here.
        r"Failed to (authorize|create) security group",
        "EC2 refused a security group: a group or prefix list that a rule names may not be there, the quota of groups "
        "or of rules in a group may be used up, or the policy of the credentials may lack the action",
    ),
    (r"DependencyViolation|ResourceInUse", "something still uses it: it is removed when that is gone; run again"),
)


def explained(result: Mapping[str, Any], region: str | None = None) -> str:
    """One line of what is wrong and what to do, then what EC2 said. `result` is that of a failed amazon.aws module."""
    said = _said(result)
    for pattern, remedy in _REMEDIES:
        if re.search(pattern, said):
            return f"{f'region {region}: ' if region else ''}{remedy}\n{said}"
    return said


def _said(result: Mapping[str, Any]) -> str:
    message = str(result.get("msg", "")).strip()
    error = result.get("error")
    code = str(error.get("code", "")) if isinstance(error, Mapping) else ""
    if code and code not in message:
        message = f"{message} ({code})"
    return message
