"""The cloud of the scenario as boto3 sees it, and playbooks against it."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import yaml

from tests.acceptance.playbook import Run

Rule = tuple[int, int, str]
"""First and last port, and from where: a network, or the key of a group."""


@dataclass(frozen=True)
class Cloud:
    """`directory` is molecule's for this run; boto3 finds the server by the files that environment variables name."""

    directory: Path

    @cached_property
    def ec2(self) -> Any:
        return boto3.client("ec2")

    @cached_property
    def elb(self) -> Any:
        return boto3.client("elbv2")

    @cached_property
    def s3(self) -> Any:
        return boto3.client("s3")

    @cached_property
    def fleet(self) -> dict[str, Any]:
        """The variables of localhost."""
        written = yaml.safe_load((self.inventory / "fleet.yml").read_text())
        variables: dict[str, Any] = written["all"]["hosts"]["localhost"]
        return variables

    @property
    def inventory(self) -> Path:
        return self.directory / "inventory"

    @property
    def name(self) -> str:
        return str(self.fleet["aws_network_name"])

    def book(self) -> list[dict[str, str]]:
        """Every call so far, in order, with its parameters as EC2 gets them."""
        with urllib.request.urlopen(f"{self._endpoint}/pgfleet/book") as answer:
            found: list[dict[str, str]] = json.load(answer)
        return found

    def writes(self) -> list[str]:
        """The actions so far that were to change something."""
        reading = ("Describe", "Get", "List")
        return [each["Action"] for each in self.book() if not each["Action"].startswith(reading)]

    def refuse(self, action: str, code: str, message: str) -> None:
        """Answer the next call of that action with an error."""
        body = json.dumps({"action": action, "code": code, "message": message}).encode()
        urllib.request.urlopen(f"{self._endpoint}/pgfleet/refuse", data=body).close()

    def instances(self) -> dict[str, dict[str, Any]]:
        """Those that are not terminated, by name."""
        states = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
        found = self.ec2.describe_instances(Filters=states)["Reservations"]
        return {tags(each)["Name"]: each for reservation in found for each in reservation["Instances"]}

    def groups(self) -> dict[str, dict[str, Any]]:
        """The security groups of the fleet by key."""
        mine = [{"Name": "tag:pgfleet", "Values": [self.name]}]
        found = self.ec2.describe_security_groups(Filters=mine)["SecurityGroups"]
        return {tags(each)["pgfleet_group"]: each for each in found}

    def rules(self) -> dict[str, set[Rule]]:
        """What the groups of the fleet let in."""
        groups = self.groups()
        keys = {group["GroupId"]: key for key, group in groups.items()}
        rules: dict[str, set[Rule]] = {}
        for key, group in groups.items():
            rules[key] = {
                (permission["FromPort"], permission["ToPort"], source)
                for permission in group["IpPermissions"]
                for source in (
                    *(each["CidrIp"] for each in permission["IpRanges"]),
                    *(each["CidrIpv6"] for each in permission["Ipv6Ranges"]),
                    *(keys[each["GroupId"]] for each in permission["UserIdGroupPairs"]),
                )
            }
        return rules

    def everything(self) -> dict[str, set[str]]:
        """Ids of all that costs or counts against a quota and is not part of every new account."""
        ec2, elb = self.ec2, self.elb
        networks = [each for each in ec2.describe_vpcs()["Vpcs"] if not each["IsDefault"]]
        there = {each["VpcId"] for each in networks}
        subnets = ec2.describe_subnets()["Subnets"]
        alive = [each for each in ec2.describe_nat_gateways()["NatGateways"] if each["State"] != "deleted"]
        return {
            "networks": there,
            "subnets": {each["SubnetId"] for each in subnets if not each["DefaultForAz"]},
            "internet gateways": {
                each["InternetGatewayId"] for each in ec2.describe_internet_gateways()["InternetGateways"]
            },
            "gateways": {each["NatGatewayId"] for each in alive},
            "addresses": {each["AllocationId"] for each in ec2.describe_addresses()["Addresses"]},
            "route tables": {
                each["RouteTableId"]
                for each in ec2.describe_route_tables()["RouteTables"]
                if not any(association.get("Main") for association in each["Associations"])
            },
            "security groups": {
                each["GroupId"]
                for each in ec2.describe_security_groups()["SecurityGroups"]
                if each["GroupName"] != "default"
            },
            "instances": {each["InstanceId"] for each in self.instances().values()},
            "volumes": {each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]},
            # moto forgets to take away the interface of a NAT gateway that was deleted with its network.
            "interfaces": {
                each["NetworkInterfaceId"]
                for each in ec2.describe_network_interfaces()["NetworkInterfaces"]
                if each["VpcId"] in there
            },
            "keys": {each["KeyPairId"] for each in ec2.describe_key_pairs()["KeyPairs"]},
            "load balancers": {each["LoadBalancerArn"] for each in elb.describe_load_balancers()["LoadBalancers"]},
            "target groups": {each["TargetGroupArn"] for each in elb.describe_target_groups()["TargetGroups"]},
        }

    def objects(self, bucket: str) -> set[str]:
        return {each["Key"] for each in self.s3.list_objects_v2(Bucket=bucket).get("Contents", [])}

    def play(
        self,
        playbook: str,
        *options: str,
        variables: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        extra = ["--extra-vars", json.dumps(variables)] if variables else []
        command = ["ansible-playbook", "--diff", "--inventory", str(self.inventory), *extra, *options, playbook]
        plain = {"ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1", "AWS_EC2_METADATA_DISABLED": "true"}
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **plain, **(environment or {})},
            check=False,
        )
        return Run(done.returncode, done.stdout.decode(errors="replace"))

    @property
    def _endpoint(self) -> str:
        return (self.directory / "aws/endpoint").read_text()


def tags(thing: Mapping[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in thing.get("Tags", [])}


INFRASTRUCTURE = "pgfleet.pooler.infrastructure"
REMOVE = "pgfleet.pooler.infrastructure_remove"
PLAYBOOKS = Path(__file__).parent / "playbooks"
