"""An account with nothing in it: what runs say and do before one of them succeeds. In the order of the file."""

from __future__ import annotations

from tests.aws.cloud import INFRASTRUCTURE, Cloud


def test_check_mode_says_that_there_is_something_to_do_and_makes_nothing(cloud: Cloud) -> None:
    checked = cloud.play(INFRASTRUCTURE, "--check")
    assert checked.status == 0, checked.tail()
    assert checked.recap("localhost")["changed"] > 0
    assert set().union(*cloud.everything().values()) == set()
    assert cloud.writes() == []


def test_missing_credentials_are_told_from_wrong_ones(cloud: Cloud) -> None:
    run = cloud.play(INFRASTRUCTURE, environment={"AWS_SHARED_CREDENTIALS_FILE": "/dev/null"})
    assert run.status != 0
    assert "there are no credentials: set AWS_ACCESS_KEY_ID" in run.output


def test_a_region_that_does_not_exist_is_named(cloud: Cloud) -> None:
    # moto breaks on a region that it does not know, where the real EC2 has no address: nobody listens there.
    nowhere = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    run = cloud.play(INFRASTRUCTURE, variables={"aws_network_region": "eu-central-9"}, environment=nowhere)
    assert run.status != 0
    assert "region eu-central-9, Zones of the region: there is no such region" in run.output


def test_a_zone_of_another_region_is_named_with_those_that_there_are(cloud: Cloud) -> None:
    run = cloud.play(INFRASTRUCTURE, variables={"aws_network_zones": ["us-east-1a"]})
    assert run.status != 0
    assert "aws_network_zones: us-east-1a; region eu-central-1 has eu-central-1a" in run.output
    assert cloud.writes() == []


def test_a_network_that_would_meet_the_world_is_refused_by_the_name_of_its_variable(cloud: Cloud) -> None:
    run = cloud.play(INFRASTRUCTURE, variables={"aws_network_administrators": ["0.0.0.0/0"]})
    assert run.status != 0
    assert "0.0.0.0/0 would open port 22 to the world" in run.output
    assert cloud.writes() == []


def test_a_quota_that_is_used_up_halfway_is_called_that_and_what_is_there_stays(cloud: Cloud) -> None:
    cloud.refuse("CreateNatGateway", "NatGatewayLimitExceeded", "The limit of NAT gateways has been reached")
    run = cloud.play(INFRASTRUCTURE)
    assert run.status != 0
    assert "a quota of the account is used up" in run.output
    half = cloud.everything()
    assert (len(half["networks"]), len(half["subnets"]), len(half["instances"])) == (1, 4, 0)
    # converge.yml, which comes next, has to finish this.
