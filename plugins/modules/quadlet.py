#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: quadlet
short_description: A container unit of podman and the files it needs, started
version_added: 0.1.0
description:
  - Puts a quadlet unit and its files on a host and starts it, in one exec that reads and one that writes.
  - Whether the container has to be started anew is decided from what runs. A label on the container says from which
    unit and files it was started, so that a second run finishes what a broken first one began.
extends_documentation_fragment:
  - pgfleet.pooler.attributes
options:
  name:
    description: Name of the unit, of its service and of its container.
    type: str
    required: true
  state:
    description:
      - V(started) has the unit running from what is described here.
      - V(absent) stops it and takes away the unit, the O(files) and, with all they hold, the O(directories).
    type: str
    choices: [started, absent]
    default: started
  container:
    description:
      - Text of the C(.container) unit. Required with O(state=started).
      - The name of the container, its label and C(Pull=never) are added.
      - Without C(WantedBy=) in its C([Install]) section it is not started at boot.
    type: str
  pull:
    description:
      - Whether to pull the image when the host does not have it, before anything is changed.
      - By default yes, unless its name begins with C(localhost/).
    type: bool
  directories:
    description: Directories the container needs. Only they themselves are given mode and owner, not what they hold.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      mode:
        description: Mode in octal, quoted.
        type: str
        default: '0755'
      owner:
        description: Numeric id of user and group.
        type: int
        default: 0
  files:
    description: Files the container reads.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path.
        type: str
        required: true
      content:
        description: What is in it.
        type: str
        default: ''
      mode:
        description: Mode in octal, quoted.
        type: str
        default: '0644'
      owner:
        description: Numeric id of user and group.
        type: int
        default: 0
      secret:
        description: Whether its content is kept out of diffs.
        type: bool
        default: false
      restart:
        description: Whether a change asks for a restart. Otherwise O(reload) brings it into force.
        type: bool
        default: true
  watch:
    description:
      - Files that somebody else writes and the container reads when it starts, such as certificates.
      - A change of one is answered by O(reload), or by a restart when there is no O(reload).
    type: list
    elements: str
    default: []
  reload:
    description: Command, as a list of words, that makes the container read O(watch) and files without C(restart) anew.
    type: list
    elements: str
    default: []
  wait:
    description: Command, as a list of words, that succeeds in the container when it is ready.
    type: list
    elements: str
    default: []
  wait_timeout:
    description: How many seconds to wait for that; 0 does not wait.
    type: int
    default: 60
  guard:
    description:
      - Command, as a list of words, that has to succeed in the running container before it is restarted. When it fails
        nothing is changed, not even a file, and the task fails with its words.
      - With C(throttle=1) on the task it keeps a rolling restart from going on after a host that did not come back.
    type: list
    elements: str
    default: []
  spare:
    description:
      - Command, as a list of words. While it succeeds in the running container, a restart that is due is left for
        later, and RV(complete) tells so.
      - A task with it can restart those of a cluster who follow, and a later one without it the one who leads.
    type: list
    elements: str
    default: []
  restart:
    description:
      - Whether a running container may be restarted. Otherwise RV(complete) tells that it has to be.
      - So a first task can start what does not run, on all hosts at once, and a second one restart the others in turn.
    type: bool
    default: true
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: An etcd for trying things out
  pgfleet.pooler.quadlet:
    name: etcd
    container: |
      [Container]
      Image=quay.io/coreos/etcd:v3.5.17
      Entrypoint=etcd
      User=2379
      Volume=/var/lib/etcd:/var/lib/etcd:z
      Environment=ETCD_DATA_DIR=/var/lib/etcd
      [Service]
      Restart=always
      [Install]
      WantedBy=multi-user.target
    directories:
      - path: /var/lib/etcd
        mode: '0700'
        owner: 2379
    wait: [etcdctl, endpoint, health]

- name: No etcd any more, nor its data
  pgfleet.pooler.quadlet:
    name: etcd
    state: absent
    directories:
      - path: /var/lib/etcd
"""

RETURN = r"""
complete:
  description: Whether nothing is left to do. Not so when a restart is due that was not allowed, or it is not ready yet.
  type: bool
  returned: always
steps:
  description: What was done, or in check mode would be, in order.
  type: list
  elements: str
  returned: always
  sample: ["write /etc/containers/systemd/etcd.container", "start etcd: it is not running"]
trips:
  description: How many times the host was reached.
  type: int
  returned: always
"""
