#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: security_group
short_description: EC2 security groups that follow from who talks to whom
version_added: 0.1.0
description:
  - Makes one security group for each kind of host, and gives it the rules that its roles need, no others. Where both
    sides are ours a rule names the other group, not a network.
  - Clients reach PostgreSQL itself only as long as no group has the role V(pooler).
  - Everything new is opened in all groups before anything old is closed in any.
  - Only what comes in is ruled. What goes out stays as EC2 has it in new groups, open.
  - Drives M(amazon.aws.ec2_security_group) where the task runs, normally on localhost.
requirements:
  - the collection amazon.aws on the controller
  - boto3, for the Python that runs modules where the task runs
extends_documentation_fragment:
  - pgfleet.pooler.attributes.controller
options:
  name:
    description:
      - Name of the fleet. Its groups are called C(NAME-GROUP), and are tagged C(pgfleet=NAME) and
        C(pgfleet_group=GROUP).
    type: str
    required: true
  vpc_id:
    description:
      - The VPC.
      - In check mode it may be left out, as long as there is none. Then EC2 is not asked, and everything is still to be
        made.
    type: str
  groups:
    description:
      - The groups and the roles of each, among V(load_balancer), V(pooler), V(database), V(etcd), V(monitoring) and
        V(jump). Hosts that do several things are one group with several roles.
      - Without it there is one group for each role, and etcd runs on the database hosts.
    type: dict
  clients:
    description:
      - Where the applications are. Networks in IPv4 or IPv6, security groups (V(sg-…)) or prefix lists (V(pl-…)).
    type: list
    elements: str
    default: []
  administrators:
    description:
      - From where administrators come in by ssh, in the same words. With a group that has the role V(jump) they reach
        that one, and all other hosts from there.
    type: list
    elements: str
    default: []
  monitors:
    description: Where a Prometheus is that is none of these groups, in the same words.
    type: list
    elements: str
    default: []
  client_port:
    description: The port to which clients connect.
    type: int
    default: 6432
  server_port:
    description: The port of PostgreSQL.
    type: int
    default: 5432
  open_to_world:
    description:
      - Ports which may be open to networks as wide as the world, V(0.0.0.0/0) and V(::/0) among them. Any other is
        refused, whatever O(clients), O(administrators) and O(monitors) say.
      - Wide as the world is what is wider than V(/8) in IPv4 or V(/16) in IPv6.
    type: list
    elements: int
    default: []
  purge:
    description:
      - Whether to close rules that somebody else has added to these groups. Rules of ours that are no longer due
        are closed in either case; they are told by what their description begins with.
    type: bool
    default: true
  tags:
    description: Further tags of the groups.
    type: dict
    default: {}
  region:
    description: The region. Without it, what the environment or the profile says.
    type: str
  profile:
    description:
      - The profile of the shared credentials file. Without it, what the environment says, such as C(AWS_ACCESS_KEY_ID)
        and C(AWS_SECRET_ACCESS_KEY).
    type: str
  state:
    description: V(absent) takes all groups of the fleet away.
    type: str
    choices: [present, absent]
    default: present
seealso:
  - module: amazon.aws.ec2_security_group
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Groups for poolers behind a load balancer, with etcd on the database hosts
  pgfleet.pooler.security_group:
    name: shop
    vpc_id: vpc-0123456789abcdef0
    clients: [10.20.0.0/16]
    administrators: [203.0.113.0/24, "2001:db8:77::/48"]
  delegate_to: localhost
  register: groups

- name: Everything on the same three hosts, reached through a VPN
  pgfleet.pooler.security_group:
    name: small
    vpc_id: vpc-0123456789abcdef0
    groups:
      all: [pooler, database, etcd]
    clients: [10.20.0.0/16]
    administrators: [10.99.0.0/24]
  delegate_to: localhost
"""

RETURN = r"""
groups:
  description: The id of each group. In check mode, only of those that are there.
  type: dict
  returned: always
  sample: {pooler: sg-0123456789abcdef0}
opened:
  description: The rules that were opened, in each group.
  type: dict
  returned: always
  sample: {database: [5432 from pooler]}
closed:
  description: The rules that were closed, in each group.
  type: dict
  returned: always
  sample: {database: [5432 from 10.0.1.0/24]}
"""
