"""What infrastructure.yml has made of a half-made network, changes of it, and its end. In the order of the file."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.acceptance.playbook import Run
from tests.aws.cloud import PLAYBOOKS, REMOVE, Cloud, Rule, tags

GROUPS = str(PLAYBOOKS / "groups.yml")
HOSTS = str(PLAYBOOKS / "hosts.yml")
COUNTS = {
    "networks": 1,
    "subnets": 4,
    "internet gateways": 1,
    "gateways": 1,
    "addresses": 1,
    "route tables": 2,
    "security groups": 5,
    "instances": 3,
    "volumes": 3,
    "keys": 1,
    "load balancers": 1,
    "target groups": 1,
}
FROM_CLIENTS: set[Rule] = {(6432, 6432, "10.20.0.0/16"), (6432, 6432, "2001:db8:20::/48")}
SSH: Rule = (22, 22, "jump")
SCRAPED: Rule = (9100, 9100, "monitoring")
RULES: dict[str, set[Rule]] = {
    "load_balancer": FROM_CLIENTS,
    "pooler": {
        SSH,
        SCRAPED,
        (6432, 6432, "load_balancer"),
        (9127, 9127, "load_balancer"),
        (9127, 9127, "monitoring"),
        (9127, 9127, "pooler"),
    },
    "database": {
        SSH,
        SCRAPED,
        (5432, 5432, "pooler"),
        (5432, 5432, "database"),
        (8008, 8008, "pooler"),
        (8008, 8008, "database"),
        (8008, 8008, "monitoring"),
        (2381, 2381, "monitoring"),
        (2379, 2380, "database"),
        (9187, 9187, "monitoring"),
    },
    "monitoring": {SSH, SCRAPED, (3000, 3000, "jump"), (9090, 9090, "jump"), (9090, 9090, "monitoring")},
    "jump": {SCRAPED, (22, 22, "203.0.113.0/24")},
}
ANOTHER = ["10.30.0.0/16"]
BUCKET = "first-boots"
POOL2 = {"name": "pool2", "group": "pooler", "zone": "eu-central-1b", "address": "10.0.9.21"}


def groups(cloud: Cloud, variables: dict[str, Any], *options: str) -> Run:
    """The module with its groups, and what is changed of the variables."""
    vpc = cloud.groups()["pooler"]["VpcId"]
    return cloud.play(GROUPS, *options, variables={"vpc_id": vpc, **variables})


def targets(cloud: Cloud) -> set[str]:
    """Instances behind the load balancer."""
    (group,) = cloud.elb.describe_target_groups()["TargetGroups"]
    found = cloud.elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
    return {each["Target"]["Id"] for each in found}


@pytest.fixture(scope="module")
def pool2(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A host whose first boot needs more than fits into user data; in the words of pgfleet.pooler.ignition."""
    cloud.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    file = tmp_path_factory.mktemp("secrets") / "pool2.tar.gz"
    file.write_bytes(b"what only the host may read")
    stored = {"bucket": BUCKET, "key": "ignition/pool2.json", "content": '{"ignition": {"version": "3.3.0"}}'}
    secret = {"bucket": BUCKET, "key": "secrets/pool2.tar.gz", "src": str(file), "sha512": "0"}
    return POOL2 | {"ignition": {"user_data": "{}", "object": stored, "secrets": secret, "butane": ""}}


@pytest.fixture(scope="module")
def instances(cloud: Cloud) -> dict[str, dict[str, Any]]:
    return cloud.instances()


def test_the_half_made_network_was_finished_and_nothing_of_it_made_twice(cloud: Cloud) -> None:
    assert {what: len(ids) for what, ids in cloud.everything().items() if what != "interfaces"} == COUNTS


def test_groups_let_in_whom_they_concern_and_nobody_else(cloud: Cloud) -> None:
    assert cloud.rules() == RULES


def test_private_subnets_reach_out_through_the_gateway_and_nobody_reaches_in(cloud: Cloud) -> None:
    tables = {
        tags(each)["Name"]: next(route for route in each["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0")
        for each in cloud.ec2.describe_route_tables(Filters=[{"Name": "tag:pgfleet", "Values": ["*"]}])["RouteTables"]
    }
    assert set(tables) == {"shop-public", "shop-private"}
    assert tables["shop-public"]["GatewayId"].startswith("igw-")
    assert tables["shop-private"]["NatGatewayId"].startswith("nat-")


@pytest.mark.parametrize("name", ["jump1", "db1", "pool1"])
def test_instances_ask_for_tokens_and_keep_their_volumes_encrypted(
    cloud: Cloud, instances: dict[str, dict[str, Any]], name: str
) -> None:
    instance = instances[name]
    assert instance["MetadataOptions"]["HttpTokens"] == "required"
    volumes = [each["Ebs"]["VolumeId"] for each in instance["BlockDeviceMappings"]]
    assert [each["Encrypted"] for each in cloud.ec2.describe_volumes(VolumeIds=volumes)["Volumes"]] == [True]


def test_instances_have_the_addresses_and_groups_that_were_asked_for(instances: dict[str, dict[str, Any]]) -> None:
    addresses = {name: each["PrivateIpAddress"] for name, each in instances.items()}
    assert (addresses["db1"], addresses["pool1"]) == ("10.0.8.11", "10.0.8.21")
    groups = {name: [group["GroupName"] for group in each["SecurityGroups"]] for name, each in instances.items()}
    assert groups == {"jump1": ["shop-jump"], "db1": ["shop-database"], "pool1": ["shop-pooler"]}
    assert "PublicIpAddress" in instances["jump1"]
    # moto gives an address to whoever names his own, so that of the others is no proof either way.


def test_the_load_balancer_asks_the_agents_by_https(cloud: Cloud, instances: dict[str, dict[str, Any]]) -> None:
    (group,) = cloud.elb.describe_target_groups()["TargetGroups"]
    asked = (group["HealthCheckProtocol"], group["HealthCheckPort"], group["HealthCheckPath"])
    assert asked == ("HTTPS", "9127", "/ready")
    assert targets(cloud) == {instances["pool1"]["InstanceId"]}


def test_the_load_balancer_leaves_connections_of_a_draining_host_alone(cloud: Cloud) -> None:
    (group,) = cloud.elb.describe_target_groups()["TargetGroups"]
    found = cloud.elb.describe_target_group_attributes(TargetGroupArn=group["TargetGroupArn"])["Attributes"]
    attributes = {each["Key"]: each["Value"] for each in found}
    assert attributes["target_health_state.unhealthy.connection_termination.enabled"] == "false"


def test_the_load_balancer_is_inside_and_in_its_own_group(cloud: Cloud) -> None:
    (balancer,) = cloud.elb.describe_load_balancers()["LoadBalancers"]
    assert (balancer["Type"], balancer["Scheme"]) == ("network", "internal")
    assert balancer["SecurityGroups"] == [cloud.groups()["load_balancer"]["GroupId"]]
    listeners = cloud.elb.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
    assert [(each["Protocol"], each["Port"]) for each in listeners] == [("TCP", 6432)]


def test_ssh_goes_through_the_jump_host_by_the_file_beside_the_inventory(
    cloud: Cloud, instances: dict[str, dict[str, Any]]
) -> None:
    def asked(host: str) -> dict[str, str]:
        command = ["ssh", "-F", str(cloud.inventory / "ssh.cfg"), "-G", host]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        return {word: rest for word, _space, rest in (line.partition(" ") for line in lines)}

    for host in ("pool1", "10.0.8.21"):
        assert (asked(host)["hostname"], asked(host)["proxyjump"], asked(host)["user"]) == (
            "10.0.8.21",
            "jump1",
            "core",
        )
    assert asked("jump1")["hostname"] == instances["jump1"]["PublicIpAddress"]
    assert "proxyjump" not in asked("jump1")


def test_the_example_inventory_finds_the_hosts_in_their_groups(cloud: Cloud) -> None:
    example = str(PLAYBOOKS.parents[2] / "examples/ec2/fleet.aws_ec2.yml")
    command = [sys.executable, "-m", "ansible", "inventory", "--inventory", example, "--list"]
    environment = {**os.environ, "AWS_EC2_METADATA_DISABLED": "true"}
    listed = json.loads(subprocess.run(command, capture_output=True, check=True, env=environment).stdout)
    assert {key: listed[key]["hosts"] for key in ("database", "pooler", "jump")} == {
        "database": ["db1"],
        "pooler": ["pool1"],
        "jump": ["jump1"],
    }
    assert listed["_meta"]["hostvars"]["pool1"]["ansible_host"] == {"__ansible_unsafe": "10.0.8.21"}


def test_check_mode_shows_a_rule_that_would_be_added_and_adds_it_not(cloud: Cloud) -> None:
    before = cloud.writes()
    checked = groups(cloud, {"more_clients": ANOTHER}, "--check")
    assert checked.status == 0, checked.tail()
    assert "+  6432 from 10.30.0.0/16  # clients connect" in checked.output
    assert checked.recap("localhost")["changed"] == 1
    assert (cloud.rules(), cloud.writes()) == (RULES, before)


def test_a_client_network_that_is_added_is_one_rule_more(cloud: Cloud) -> None:
    before = len(cloud.writes())
    added = groups(cloud, {"more_clients": ANOTHER})
    assert added.status == 0, added.tail()
    assert cloud.rules() == RULES | {"load_balancer": FROM_CLIENTS | {(6432, 6432, "10.30.0.0/16")}}
    assert cloud.writes()[before:] == ["AuthorizeSecurityGroupIngress"]


def test_what_replaces_a_rule_is_open_before_the_old_one_is_closed_and_rules_of_others_stay(cloud: Cloud) -> None:
    cloud.ec2.authorize_security_group_ingress(
        GroupId=cloud.groups()["load_balancer"]["GroupId"],
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 4000, "ToPort": 4000, "IpRanges": [{"CidrIp": "10.40.0.0/16"}]},
        ],
    )
    before = len(cloud.writes())
    # All clients change their rule at once.
    replaced = groups(cloud, {"aws_network_clients": ["10.20.0.0/15"], "purge": False})
    assert replaced.status == 0, replaced.tail()
    theirs = {(4000, 4000, "10.40.0.0/16")}
    assert cloud.rules() == RULES | {"load_balancer": {(6432, 6432, "10.20.0.0/15")} | theirs}
    assert cloud.writes()[before:] == ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"]


def test_rules_of_others_are_closed_where_they_are_not_wanted_and_ours_go_back(cloud: Cloud) -> None:
    purged = groups(cloud, {})
    assert purged.status == 0, purged.tail()
    assert "-  4000 from 10.40.0.0/16" in purged.output
    assert cloud.rules() == RULES


def test_an_image_that_does_not_exist_is_noticed_before_anything_is_made(cloud: Cloud) -> None:
    before = cloud.writes()
    lost = POOL2 | {"image": "ami-00000000000000000"}
    run = cloud.play(HOSTS, variables={"more_hosts": [lost]})
    assert run.status != 0
    assert "there is no such image in this region" in run.output
    assert cloud.writes() == before


def test_user_data_that_ec2_would_refuse_are_noticed_before_any_call(cloud: Cloud) -> None:
    before = cloud.book()
    # Two bytes each.
    run = cloud.play(HOSTS, variables={"more_hosts": [POOL2 | {"user_data": "ö" * 8192 + "x"}]})
    assert run.status != 0
    assert "16385 bytes, must not be longer than 16384" in run.output
    assert cloud.book() == before


def test_a_quota_of_instances_is_called_that_and_nothing_is_made(cloud: Cloud) -> None:
    before = cloud.instances()
    cloud.refuse("RunInstances", "VcpuLimitExceeded", "You have requested more vCPU capacity than your limit of 5")
    refused = cloud.play(HOSTS, variables={"hosts_instead": [POOL2]})
    assert refused.status != 0
    assert "a quota of the account is used up" in refused.output
    assert cloud.instances() == before


def test_the_next_run_adds_the_host_and_ends_none_of_those_that_are_not_listed(
    cloud: Cloud, pool2: dict[str, Any]
) -> None:
    before = cloud.instances()
    pool1 = next(each for each in cloud.fleet["aws_hosts_list"] if each["name"] == "pool1")
    added = cloud.play(HOSTS, variables={"hosts_instead": [pool1, pool2]})
    assert added.status == 0, added.tail()
    assert "db1, jump1: aws_hosts_purge would end them" in added.output
    after = cloud.instances()
    assert {name: after[name]["InstanceId"] for name in before} == {
        name: each["InstanceId"] for name, each in before.items()
    }
    assert set(after) - set(before) == {"pool2"}
    assert targets(cloud) == {after[name]["InstanceId"] for name in ("pool1", "pool2")}
    data = cloud.ec2.describe_instance_attribute(InstanceId=after["pool2"]["InstanceId"], Attribute="userData")
    assert base64.b64decode(data["UserData"]["Value"]) == b"{}"


def test_what_a_first_boot_fetches_was_put_into_the_bucket_encrypted(cloud: Cloud) -> None:
    found = {key: cloud.s3.get_object(Bucket=BUCKET, Key=key) for key in cloud.objects(BUCKET)}
    assert {key: each["Body"].read() for key, each in found.items()} == {
        "ignition/pool2.json": b'{"ignition": {"version": "3.3.0"}}',
        "secrets/pool2.tar.gz": b"what only the host may read",
    }
    assert {each["ServerSideEncryption"] for each in found.values()} == {"AES256"}


def test_a_host_that_is_no_longer_listed_is_ended_when_told_so_and_gets_no_more_clients(cloud: Cloud) -> None:
    pool1 = next(each for each in cloud.fleet["aws_hosts_list"] if each["name"] == "pool1")
    gone = cloud.play(HOSTS, variables={"hosts_instead": [pool1], "aws_hosts_purge": True})
    assert gone.status == 0, gone.tail()
    assert set(cloud.instances()) == {"pool1"}
    assert targets(cloud) == {cloud.instances()["pool1"]["InstanceId"]}


def test_removal_wants_to_hear_the_name_once_more(cloud: Cloud) -> None:
    before = cloud.writes()
    run = cloud.play(REMOVE)
    assert run.status != 0
    assert "-e infrastructure_remove=shop" in run.output
    assert cloud.writes() == before


def test_removal_leaves_nothing(cloud: Cloud, pool2: dict[str, Any]) -> None:
    removed = cloud.play(REMOVE, variables={"infrastructure_remove": "shop", "aws_hosts_list": [pool2]})
    assert removed.status == 0, removed.tail()
    assert set().union(*cloud.everything().values()) == set()
    assert cloud.objects(BUCKET) == set()
    assert not (cloud.inventory / "ssh.cfg").exists()


def test_removing_what_is_gone_changes_nothing(cloud: Cloud) -> None:
    again = cloud.play(REMOVE, variables={"infrastructure_remove": "shop"})
    assert again.status == 0, again.tail()
    assert again.recap("localhost")["changed"] == 0
