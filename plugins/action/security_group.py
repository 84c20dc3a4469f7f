# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""EC2 security groups from the topology: read all, decide, open, close."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...pooler import security_groups, topology
from ...pooler.errors import PoolerError
from ...pooler.security_groups import Existing, Permission, Plan
from ..plugin_utils.aws import AwsAction


class ActionModule(AwsAction):
    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self.given = arguments
        rules = topology.rules(_topology(arguments)) if arguments["state"] == "present" else {}
        before = self._ours(rules)
        plan = security_groups.plan(rules, before, purge=arguments["purge"])
        after = before
        if plan.changed and not self.check:
            after = self._carry_out(rules, before, plan)
        return {
            "changed": plan.changed,
            "groups": {key: group.group_id for key, group in after.items() if key in rules},
            "opened": _named(plan.open, before),
            "closed": _named(plan.close, before),
            "diff": [_diff(arguments["name"], before, plan)] if plan.changed else [],
        }

    def _ours(self, wanted: Iterable[str]) -> dict[str, Existing]:
        if not self.given["vpc_id"]:
            if self.check:
                return {}
            raise PoolerError("vpc_id: only in check mode it may be left out")
        answer = self.aws("ec2_security_group_info", {"filters": {"vpc-id": self.given["vpc_id"]}}, self.given)
        found = security_groups.existing(answer["security_groups"])
        return security_groups.ours(self.given["name"], wanted, found)

    def _carry_out(self, rules: Mapping[str, Any], before: Mapping[str, Existing], plan: Plan) -> dict[str, Existing]:
        there = dict(before)
        # A rule can name a group only when that one has an id; what is not possible yet is planned again below.
        for key in security_groups.creation(plan):
            due = security_groups.plan(rules, there, purge=False).open[key]
            there[key] = self._group(key, [each for each in due if each.source.value not in plan.create], purge=False)
        plan = security_groups.plan(rules, there, purge=self.given["purge"])
        for key, opened in plan.open.items():
            if opened:
                there[key] = self._group(key, opened, purge=False)
        for key, closed in plan.close.items():
            if closed:
                there[key] = self._group(key, there[key].permissions - set(closed), purge=True)
        for step in security_groups.removal({key: there[key] for key in plan.delete}):
            if step.empty:
                self._group(step.key, [], purge=True, name=there[step.key].name)
            else:
                self.aws("ec2_security_group", {"state": "absent", "group_id": there[step.key].group_id}, self.given)
        after = {key: there[key] for key in rules}
        if security_groups.plan(rules, after, purge=self.given["purge"]).changed:
            raise PoolerError(f"{self.given['name']}: EC2 does not say of its groups what it was told; run again")
        return after

    def _group(self, key: str, permissions: Iterable[Permission], *, purge: bool, name: str = "") -> Existing:
        """The group as EC2 has it afterwards."""
        name = name or security_groups.group_name(self.given["name"], key)
        tags = {"Name": name, security_groups.FLEET_TAG: self.given["name"], security_groups.GROUP_TAG: key}
        arguments = {
            "name": name,
            "description": f"pgfleet {self.given['name']}: {key}",
            "vpc_id": self.given["vpc_id"],
            # Left out, the module would take every rule away; what goes out is left alone when it is not named.
            "rules": [permission.argument() for permission in sorted(permissions)],
            "purge_rules": purge,
            "tags": {**self.given["tags"], **tags},
            "purge_tags": False,
        }
        (group,) = security_groups.existing([self.aws("ec2_security_group", arguments, self.given)])
        return group


def _topology(arguments: Mapping[str, Any]) -> topology.Topology:
    names = ("groups", "clients", "administrators", "monitors", "client_port", "server_port", "open_to_world")
    return topology.parse(**{name: arguments[name] for name in names})


def _keys(groups: Mapping[str, Existing]) -> dict[str, str]:
    return {group.group_id: key for key, group in groups.items()}


def _named(changes: Mapping[str, Iterable[Permission]], groups: Mapping[str, Existing]) -> dict[str, list[str]]:
    keys = _keys(groups)
    return {key: [each.named(keys) for each in permissions] for key, permissions in changes.items() if permissions}


def _diff(fleet: str, before: Mapping[str, Existing], plan: Plan) -> dict[str, str]:
    keys = _keys(before)
    there = {key: group.permissions for key, group in before.items()}
    wanted = {key: there.get(key, frozenset()) - set(plan.close[key]) | set(plan.open[key]) for key in plan.open}
    header = f"security groups of {fleet}"
    return {
        "before": security_groups.text(there, keys),
        "after": security_groups.text(wanted, keys),
        "before_header": header,
        "after_header": header,
    }
