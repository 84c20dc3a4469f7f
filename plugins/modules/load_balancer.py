#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A network load balancer, its listener and its target group: described as one state, compared, put right."""

from __future__ import annotations

DOCUMENTATION = r"""
module: load_balancer
short_description: A network load balancer on EC2 before pooler hosts
version_added: 0.1.0
description:
  - One network load balancer with one TCP listener and one target group of instances, in security groups of its own.
  - Whether a host gets new connections is asked of the agent there, by HTTPS. Connections of a host that is no longer
    ready are left alone, so that clients can leave a host that is being drained; EC2's own default is to cut them.
  - TLS goes through to PgBouncer, which sees the addresses of the clients.
  - Works through boto3 where the task runs, normally on localhost.
requirements:
  - boto3
extends_documentation_fragment:
  - pgfleet.pooler.attributes.controller
options:
  name:
    description: Name of the load balancer and of its target group; letters, digits and hyphens, at most 32.
    type: str
    required: true
  vpc_id:
    description: The VPC. Required with O(state=present).
    type: str
  subnets:
    description: A subnet in each zone that has targets. Required with O(state=present).
    type: list
    elements: str
    default: []
  security_groups:
    description: Its security groups. EC2 gives none to a load balancer that was made without.
    type: list
    elements: str
    default: []
  targets:
    description: Ids of the instances.
    type: list
    elements: str
    default: []
  port:
    description: The port to which clients connect, here and at the instances.
    type: int
    default: 6432
  health_port:
    description: The port of the agents.
    type: int
    default: 9127
  health_path:
    description: What is asked of them.
    type: str
    default: /ready
  health_interval:
    description: Seconds between two questions. A host goes out, and comes back, after two equal answers.
    type: int
    default: 5
  scheme:
    description: Whether it has public addresses. It cannot be changed afterwards.
    type: str
    choices: [internal, internet-facing]
    default: internal
  cross_zone:
    description: Whether clients of one zone are sent to hosts of all zones. EC2 charges for traffic between zones.
    type: bool
    default: true
  deregistration_delay:
    description: Seconds in which the clients of an instance that is taken away may leave.
    type: int
    default: 300
  tags:
    description: Tags of the load balancer and of the target group. Others that are there stay.
    type: dict
    default: {}
  region:
    description: The region. Without it, what the environment or the profile says.
    type: str
  profile:
    description: The profile of the shared credentials file. Without it, what the environment says.
    type: str
  wait_timeout:
    description: Seconds until EC2 has made it, or until the last of its network interfaces is gone.
    type: int
    default: 600
  state:
    description: V(absent) takes the load balancer and the target group away.
    type: str
    choices: [present, absent]
    default: present
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Two poolers behind one address
  pgfleet.pooler.load_balancer:
    name: shop
    vpc_id: vpc-0123456789abcdef0
    subnets: [subnet-0aaaaaaaaaaaaaaaa, subnet-0bbbbbbbbbbbbbbbb]
    security_groups: [sg-0123456789abcdef0]
    targets: [i-0aaaaaaaaaaaaaaaa, i-0bbbbbbbbbbbbbbbb]
  delegate_to: localhost
  register: balancer
"""

RETURN = r"""
dns_name:
  description: The name to which clients connect.
  type: str
  returned: when there is a load balancer
  sample: shop-0123456789abcdef.elb.eu-central-1.amazonaws.com
"""

import time
import traceback
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

MISSING = None
try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, WaiterError
except ImportError:
    boto3 = None
    BotoCoreError = ClientError = WaiterError = Exception
    MISSING = traceback.format_exc()

TARGET_ATTRIBUTES = {
    # The default cuts every connection of a host as soon as it says that it is not ready.
    "target_health_state.unhealthy.connection_termination.enabled": "false",
    "preserve_client_ip.enabled": "true",
}


Part = dict[str, Any]
"""A thing of EC2's, or what is to be known of it."""
Parts = dict[str, Part]
"""The parts of a load balancer by their names; what is not there has none."""


class Balancer:
    """`found` is what there is, in the words of `wanted`."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.given = module.params
        self.tags = {key: str(value) for key, value in self.given["tags"].items()}
        session = boto3.session.Session(region_name=self.given["region"], profile_name=self.given["profile"])
        config = Config(retries={"mode": "standard", "max_attempts": 8})
        self.elb = session.client("elbv2", config=config)
        self.ec2 = session.client("ec2", config=config)

    def read(self) -> Parts:
        self.balancer = self._first("describe_load_balancers", "LoadBalancers", "LoadBalancerNotFound")
        self.group = self._first("describe_target_groups", "TargetGroups", "TargetGroupNotFound")
        self.listener = None
        found = {}
        if self.group:
            found["target group"] = {
                "port": self.group["Port"],
                "health": self._health(self.group),
                "attributes": self._attributes("target_group", self.group["TargetGroupArn"]),
                "targets": self._targets(self.group),
                "tags": self._tags(self.group["TargetGroupArn"]),
            }
        if self.balancer:
            arn = self.balancer["LoadBalancerArn"]
            listeners = self.elb.describe_listeners(LoadBalancerArn=arn)["Listeners"]
            self.listener = next((each for each in listeners if each["Port"] == self.given["port"]), None)
            self.strange = [each for each in listeners if each is not self.listener]
            found["load balancer"] = {
                "scheme": self.balancer["Scheme"],
                "subnets": sorted(zone["SubnetId"] for zone in self.balancer["AvailabilityZones"]),
                "security groups": sorted(self.balancer.get("SecurityGroups", [])),
                "attributes": self._attributes("load_balancer", arn),
                "ports": sorted(each["Port"] for each in listeners),
                "tags": self._tags(arn),
            }
        return found

    def wanted(self) -> Parts:
        if self.given["state"] == "absent":
            return {}
        return {
            "target group": {
                "port": self.given["port"],
                "health": {
                    "protocol": "HTTPS",
                    "port": str(self.given["health_port"]),
                    "path": self.given["health_path"],
                    "interval": self.given["health_interval"],
                },
                "attributes": self._wanted_attributes("target_group"),
                "targets": sorted(self.given["targets"]),
                "tags": self.tags,
            },
            "load balancer": {
                "scheme": self.given["scheme"],
                "subnets": sorted(self.given["subnets"]),
                "security groups": sorted(self.given["security_groups"]),
                "attributes": self._wanted_attributes("load_balancer"),
                "ports": [self.given["port"]],
                "tags": self.tags,
            },
        }

    def refuse(self, found: Parts, wanted: Parts) -> None:
        """What EC2 cannot change is said before anything is changed."""
        there, due = found.get("load balancer"), wanted.get("load balancer")
        if there and due:
            if self.balancer["Type"] != "network":
                self._fail("is no network load balancer: take another name")
            if there["scheme"] != due["scheme"]:
                self._fail(f"is {there['scheme']}, which cannot be changed: remove it first, or take another name")
            if due["security groups"] and not there["security groups"]:
                self._fail("was made without security groups and can be given none: remove it first")
        group = found.get("target group")
        if group and wanted and group["port"] != wanted["target group"]["port"]:
            self._fail(f"has a target group for port {group['port']}, which cannot be changed: remove it first")

    def put_right(self, found: Parts, wanted: Parts) -> None:
        """The target group first, then what names it; new targets before old ones go."""
        arn = self._put_group(found.get("target group"), wanted["target group"])
        self._put_balancer(found.get("load balancer"), wanted["load balancer"], arn)

    def remove(self) -> None:
        if self.balancer:
            arn = self.balancer["LoadBalancerArn"]
            self.elb.delete_load_balancer(LoadBalancerArn=arn)
            self._wait("load_balancers_deleted", arn)
            # Until they are gone, neither security groups nor subnets can be deleted.
            self._wait_for_interfaces(arn.partition("loadbalancer/")[2])
        if self.group:
            self.elb.delete_target_group(TargetGroupArn=self.group["TargetGroupArn"])

    def _put_group(self, there: Part | None, due: Part) -> str:
        health = {
            "HealthCheckProtocol": due["health"]["protocol"],
            "HealthCheckPort": due["health"]["port"],
            "HealthCheckPath": due["health"]["path"],
            "HealthCheckIntervalSeconds": due["health"]["interval"],
            "HealthCheckTimeoutSeconds": max(2, due["health"]["interval"] - 1),
            "HealthyThresholdCount": 2,
            "UnhealthyThresholdCount": 2,
        }
        if there is None:
            made = self.elb.create_target_group(
                Name=self.given["name"],
                Protocol="TCP",
                Port=due["port"],
                VpcId=self.given["vpc_id"],
                TargetType="instance",
                Tags=_pairs(due["tags"]) or [{"Key": "Name", "Value": self.given["name"]}],
                **health,
            )
            self.group = made["TargetGroups"][0]
        arn: str = self.group["TargetGroupArn"]
        if there and there["health"] != due["health"]:
            self.elb.modify_target_group(TargetGroupArn=arn, **health)
        if there is None or there["attributes"] != due["attributes"]:
            self.elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=_pairs(due["attributes"]))
        registered = there["targets"] if there else []
        new = [{"Id": each} for each in due["targets"] if each not in registered]
        old = [{"Id": each} for each in registered if each not in due["targets"]]
        if new:
            self.elb.register_targets(TargetGroupArn=arn, Targets=new)
        if old:
            self.elb.deregister_targets(TargetGroupArn=arn, Targets=old)
        if there and there["tags"] != due["tags"]:
            self.elb.add_tags(ResourceArns=[arn], Tags=_pairs(due["tags"]))
        return arn

    def _put_balancer(self, there: Part | None, due: Part, target_group: str) -> None:
        if there is None:
            made = self.elb.create_load_balancer(
                Name=self.given["name"],
                Type="network",
                Scheme=due["scheme"],
                Subnets=due["subnets"],
                SecurityGroups=due["security groups"],
                Tags=_pairs(due["tags"]) or [{"Key": "Name", "Value": self.given["name"]}],
            )
            self.balancer = made["LoadBalancers"][0]
        arn = self.balancer["LoadBalancerArn"]
        if there and there["subnets"] != due["subnets"]:
            self.elb.set_subnets(LoadBalancerArn=arn, Subnets=due["subnets"])
        if there and there["security groups"] != due["security groups"]:
            self.elb.set_security_groups(LoadBalancerArn=arn, SecurityGroups=due["security groups"])
        if there is None or there["attributes"] != due["attributes"]:
            self.elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=_pairs(due["attributes"]))
        if self.listener is None:
            self.elb.create_listener(
                LoadBalancerArn=arn,
                Protocol="TCP",
                Port=self.given["port"],
                DefaultActions=[{"Type": "forward", "TargetGroupArn": target_group}],
            )
        for each in self.strange if there else []:
            self.elb.delete_listener(ListenerArn=each["ListenerArn"])
        if there and there["tags"] != due["tags"]:
            self.elb.add_tags(ResourceArns=[arn], Tags=_pairs(due["tags"]))
        if there is None:
            self._wait("load_balancer_available", arn)

    def _first(self, question: str, key: str, nothing: str) -> Any:
        """What EC2 tells of it; None when there is none."""
        try:
            return getattr(self.elb, question)(Names=[self.given["name"]])[key][0]
        except ClientError as error:
            if error.response["Error"]["Code"] == nothing:
                return None
            raise

    def _health(self, group: Part) -> Part:
        return {
            "protocol": group["HealthCheckProtocol"],
            "port": group["HealthCheckPort"],
            "path": group.get("HealthCheckPath"),
            "interval": group["HealthCheckIntervalSeconds"],
        }

    def _wanted_attributes(self, kind: str) -> dict[str, str]:
        if kind == "load_balancer":
            return {"load_balancing.cross_zone.enabled": str(self.given["cross_zone"]).lower()}
        return TARGET_ATTRIBUTES | {"deregistration_delay.timeout_seconds": str(self.given["deregistration_delay"])}

    def _attributes(self, kind: str, arn: str) -> dict[str, str]:
        """Of the attributes that we set."""
        name = {"load_balancer": "LoadBalancerArn", "target_group": "TargetGroupArn"}[kind]
        pairs = getattr(self.elb, f"describe_{kind}_attributes")(**{name: arn})["Attributes"]
        return {each["Key"]: each["Value"] for each in pairs if each["Key"] in self._wanted_attributes(kind)}

    def _targets(self, group: Part) -> list[str]:
        health = self.elb.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
        return sorted(
            each["Target"]["Id"]
            for each in health["TargetHealthDescriptions"]
            if each.get("TargetHealth", {}).get("State") != "draining"
        )

    def _tags(self, arn: str) -> dict[str, str]:
        """Of the tags that we set."""
        (described,) = self.elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        return {each["Key"]: each["Value"] for each in described["Tags"] if each["Key"] in self.tags}

    def _wait(self, event: str, arn: str) -> None:
        attempts = {"Delay": 5, "MaxAttempts": max(1, self.given["wait_timeout"] // 5)}
        self.elb.get_waiter(event).wait(LoadBalancerArns=[arn], WaiterConfig=attempts)

    def _wait_for_interfaces(self, name: str) -> None:
        filters = [{"Name": "description", "Values": [f"ELB {name}"]}]
        ends = time.monotonic() + self.given["wait_timeout"]
        while self.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]:
            if time.monotonic() > ends:
                self._fail("is deleted, but EC2 still holds network interfaces of it: run again later")
            time.sleep(5)

    def _fail(self, what: str) -> None:
        self.module.fail_json(msg=f"load balancer {self.given['name']} {what}")


def _pairs(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in values.items()]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "vpc_id": {"type": "str"},
            "subnets": {"type": "list", "elements": "str", "default": []},
            "security_groups": {"type": "list", "elements": "str", "default": []},
            "targets": {"type": "list", "elements": "str", "default": []},
            "port": {"type": "int", "default": 6432},
            "health_port": {"type": "int", "default": 9127},
            "health_path": {"type": "str", "default": "/ready"},
            "health_interval": {"type": "int", "default": 5},
            "scheme": {"type": "str", "choices": ["internal", "internet-facing"], "default": "internal"},
            "cross_zone": {"type": "bool", "default": True},
            "deregistration_delay": {"type": "int", "default": 300},
            "tags": {"type": "dict", "default": {}},
            "region": {"type": "str"},
            "profile": {"type": "str"},
            "wait_timeout": {"type": "int", "default": 600},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["vpc_id"])],
        supports_check_mode=True,
    )
    if boto3 is None:
        module.fail_json(msg=missing_required_lib("boto3"), exception=MISSING)
    try:
        balancer = Balancer(module)
        found, wanted = balancer.read(), balancer.wanted()
        balancer.refuse(found, wanted)
        if found != wanted and not module.check_mode:
            if wanted:
                balancer.put_right(found, wanted)
            else:
                balancer.remove()
            found_then = balancer.read()
            if found_then != wanted:
                module.fail_json(msg="EC2 does not say what it was told; run again", found=found_then, wanted=wanted)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        module.fail_json(msg=f"load balancer {module.params['name']}: {error}", error={"code": code})
    except (BotoCoreError, WaiterError) as error:
        module.fail_json(msg=f"load balancer {module.params['name']}: {error}")
    result: dict[str, Any] = {"changed": found != wanted}
    if balancer.balancer and wanted:
        result["dns_name"] = balancer.balancer["DNSName"]
    if module._diff and found != wanted:
        header = f"load balancer {module.params['name']}"
        result["diff"] = {"before": found, "after": wanted, "before_header": header, "after_header": header}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
