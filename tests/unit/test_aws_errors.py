from __future__ import annotations

from typing import Any

import pytest

from pooler import aws_errors

WORDS = "An error occurred ({}) when calling the {} operation: {}"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"msg": "Failed to describe VPCs: Unable to locate credentials"}, "there are no credentials"),
        ({"msg": WORDS.format("AuthFailure", "DescribeVpcs", "not able to validate")}, "credentials are not valid"),
        ({"msg": WORDS.format("UnauthorizedOperation", "CreateVpc", "You are not authorized")}, "may not do this"),
        ({"msg": "The aws_az_info module requires a region and none was found"}, "no region is named"),
        ({"msg": 'Could not connect to the endpoint URL: "https://ec2.eu-mars-1…"'}, "there is no such region"),
        ({"msg": WORDS.format("InvalidAMIID.NotFound", "RunInstances", "The image id")}, "there is no such image"),
        ({"msg": WORDS.format("VpcLimitExceeded", "CreateVpc", "The maximum number")}, "a quota of the account"),
        ({"msg": WORDS.format("VcpuLimitExceeded", "RunInstances", "more vCPU")}, "a quota of the account"),
        ({"msg": "Failed to create", "error": {"code": "AddressLimitExceeded"}}, "a quota of the account"),
        ({"msg": "Unable to authorize: Failed to authorize security group ingress"}, "may not be there"),
        ({"msg": WORDS.format("RequestLimitExceeded", "RunInstances", "too often")}, "was asked too often"),
        ({"msg": WORDS.format("DependencyViolation", "DeleteVpc", "has dependencies")}, "something still uses it"),
        ({"msg": WORDS.format("InsufficientInstanceCapacity", "RunInstances", "not enough")}, "another zone"),
    ],
)
def test_what_ec2_refuses_is_told_with_what_to_do_and_in_its_own_words(result: dict[str, Any], told: str) -> None:
    explained = aws_errors.explained(result)
    assert told in explained.partition("\n")[0]
    assert result["msg"] in explained


def test_what_nobody_foresaw_is_told_as_it_was_said() -> None:
    assert aws_errors.explained({"msg": "the moon is down"}) == "the moon is down"


def test_the_region_is_named() -> None:
    explained = aws_errors.explained({"msg": "Unable to locate credentials"}, "eu-central-1")
    assert explained.startswith("region eu-central-1: there are no credentials")
