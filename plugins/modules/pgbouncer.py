#!/usr/bin/python
# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Documentation of the action of the same name; the work is done on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbouncer
short_description: PgBouncer instances on a host, as podman units
version_added: 0.1.0
description:
  - Brings the PgBouncer instances of one host to the state described, as quadlet units of podman.
  - The host needs sh, coreutils, tar, systemd and podman, and no Python. One exec reads it; a change is
    tried by one and made by another.
  - What has to be done is decided from what the running instances say of themselves, so that a second run finishes
    what a broken first one began. Nothing is reloaded or restarted without a difference.
  - Every difference is told with its effect on connections before it is applied; see O(ignore:--check --diff).
extends_documentation_fragment:
  - pgfleet.pooler.attributes
options:
  state:
    description:
      - V(absent) stops the instances and takes their files away; certificates stay.
      - V(drained) takes the host out. All ports close at once, clients leave until O(drain_timeout) is over. Nothing
        is started again, also not by a reboot, until V(present) brings it back.
    type: str
    choices: [present, drained, absent]
    default: present
  image:
    description:
      - Image of the engine, present on the host or in a registry that the host can reach.
      - A stock image of PgBouncer works with O(dispatch=engine) when it has C(psql) as well.
    type: str
    default: localhost/pgfleet/pooler:0.1.0
  engine_version:
    description: PgBouncer's version in O(image). Settings that came later are refused before any host is touched.
    type: str
    default: 1.24.1
  databases:
    description:
      - Entries of PgBouncer's C([databases]) section.
      - Each has O(ignore:name) and any key that PgBouncer knows there, such as C(dbname), C(pool_size), C(pool_mode).
      - Without C(host) an entry follows the leader, or healthy replicas with C(target=replica); C(target=leader) is the
        default.
      - C(max_db_connections) and C(max_db_client_connections) count for the host and are divided among the instances.
    type: list
    elements: dict
    default: []
  users:
    description:
      - Users with settings of their own (any key of PgBouncer's C([users]) section), with a seat at the console
        (C(console) is V(admin) or V(stats)), or with a C(password) or C(verifier) for the userlist.
      - A seat at the console is taken with a client certificate of the user's name where C(certificate) is true. For
        V(stats) that, or the unix socket, is the only way before PgBouncer 1.26.1 (CVE-2026-107350).
      - Users of the databases need no entry. PgBouncer asks PostgreSQL for them when O(auth_query) is set.
      - A password is never written; its SCRAM-SHA-256 verifier is, and it is kept as long as it verifies the password.
    type: list
    elements: dict
    default: []
  verifiers:
    description:
      - Verifiers that PostgreSQL has, by role, as M(pgfleet.pooler.postgresql_verifiers) reads them. A user with that
        name and a C(password) gets this one, since PgBouncer logs in to PostgreSQL with what a client has proved.
      - One that does not verify the password is not taken.
    type: dict
    default: {}
  settings:
    description:
      - Any further setting of PgBouncer's C([pgbouncer]) section.
      - C(max_client_conn), C(max_db_connections), C(max_user_connections) and their like count for the host and are
        divided among the instances. Pool sizes are per instance.
    type: dict
    default: {}
  port:
    description: The port that clients use. All instances of the host listen there.
    type: int
    default: 6432
  listen:
    description: Addresses to listen on; V(*) is every address, IPv4 and IPv6.
    type: list
    elements: str
    default: ['*']
  instances:
    description: How many PgBouncer processes share the port. Each uses at most one core.
    type: int
    default: 2
  console_port:
    description:
      - Console port of the first instance, on the loopback address; the others follow. It is also the instance's name.
    type: int
    default: 50001
  dispatch:
    description:
      - V(socket) lets systemd open the ports and hand them to the instances; needs an engine built with systemd.
      - V(engine) lets the instances bind the shared port by themselves, for stock images. The consoles are then
        reached through their unix sockets only.
    type: str
    choices: [socket, engine]
    default: socket
  uid:
    description: Numeric user and group id of the engine. No such user has to exist on the host.
    type: int
    default: 6432
  nofile:
    description: Limit of open files of one instance. By default twice its clients and 1024 more.
    type: int
  hba:
    description:
      - Lines as in C(pg_hba.conf) that say who may log in; the first that fits decides.
      - By default every user over TLS with SCRAM-SHA-256.
    type: list
    elements: str
    default: []
  auth_query:
    description:
      - How PgBouncer asks PostgreSQL for the verifiers of users.
      - By default with the function that M(pgfleet.pooler.auth_query) makes.
    type: dict
    default: {}
    suboptions:
      role:
        description: The role that asks; it logs in with the certificate in C(client) below O(tls_directory).
        type: str
        default: pgbouncer
      schema:
        description: The schema of the function.
        type: str
        default: pgbouncer
      function:
        description: The function's name.
        type: str
        default: get_auth
      dbname:
        description: The database that has the function.
        type: str
        default: postgres
      password:
        description:
          - The role logs in with this password instead of the certificate. It then lies on the host as it is, in the
            userlist and where the agent reads it, since the engine cannot log in with a verifier.
        type: str
      query:
        description: Another query, with C($1) for the user's name.
        type: str
  userlist_only:
    description: PostgreSQL is asked nothing. Only users with a password or verifier in O(users) log in.
    type: bool
    default: false
  patroni:
    description: URLs of Patroni's REST API, one for each member. The host asks them who leads.
    type: list
    elements: str
    default: []
  agent:
    description:
      - The daemon beside the instances, a container of O(image). It points databases at the leader and at replicas,
        holds clients while there is no leader, and answers V(/live), V(/ready), V(/status) and V(/metrics).
      - A stock image does not have it.
    type: dict
    default: {}
    suboptions:
      enabled:
        description: By default there is one where O(patroni) or O(server) is given.
        type: bool
      role:
        description:
          - The role that it logs in as, with the certificate in C(client) below O(tls_directory). It needs no rights.
          - By default that of O(auth_query), or V(pgbouncer).
        type: str
      dbname:
        description: The database that it asks. By default that of O(auth_query), or V(postgres).
        type: str
      password:
        description:
          - Its role logs in with this password instead of the certificate. By default that of O(auth_query), when the
            role is the same.
        type: str
      listen:
        description: Addresses that it listens on.
        type: list
        elements: str
        default: ['*']
      port:
        description: The port that it listens on.
        type: int
        default: 9127
      tls:
        description:
          - Shows the certificate in C(server) below O(tls_directory). Without TLS nobody can command it, so that there
            are no planned switchovers.
        type: bool
        default: true
      metrics_certificate:
        description:
          - Whoever asks for V(/metrics), which names databases and users, has to show a certificate of the same
            authority. Without O(agent.tls) nobody has.
          - By default so, unless O(agent.listen) has addresses of the loopback only.
        type: bool
      pause_on_loss:
        description:
          - Holds clients as soon as the leader is lost, until there is a new one, at most a minute and at most half of
            C(query_wait_timeout). They wait instead of getting errors.
        type: bool
        default: true
      replica_max_lag:
        description: How many bytes a replica may be behind.
        type: int
        default: 16777216
      replica_fallback:
        description: Databases with C(target=replica) go to the leader while no replica is fit.
        type: bool
        default: true
      patroni_user:
        description: User of Patroni's REST API, where it asks for a password to change anything.
        type: str
      patroni_password:
        description: The password of O(agent.patroni_user).
        type: str
  server:
    description: The one PostgreSQL server, where there is no Patroni.
    type: str
  server_port:
    description: Port of O(server).
    type: int
    default: 5432
  capacity:
    description:
      - What PostgreSQL has for all pooler hosts together. Pools that could open more connections than there is room
        for are refused before anything is changed on a host, with the sum and the number to change.
      - Nothing is counted where it is not given. C(site.yml) gives it for the cluster in the group C(database), and
        for one of which O(patroni) tells.
    type: dict
    suboptions:
      max_connections:
        description:
          - As PostgreSQL has it.
          - When anything else is given here and this is not, Patroni is asked from the host (C(GET /config)). Without
            O(patroni) it is required.
        type: int
      reserved:
        description: Connections for superusers, and for whatever connects beside the poolers.
        type: int
        default: 10
      hosts:
        description: How many pooler hosts with these options there are.
        type: int
        default: 1
      users:
        description: How many users log in to each database. Each has a pool of its own.
        type: int
        default: 1
  tls_directory:
    description:
      - Directory on the host with C(server/current) and C(client/current), each with C(tls.crt), C(tls.key) and
        C(ca.crt), as M(pgfleet.pooler.certificate) makes them. The first is shown to clients, the second to PostgreSQL.
    type: str
    default: /etc/pgbouncer/tls
  certificates:
    description:
      - What those certificates are to be, with the options of M(pgfleet.pooler.certificate) but C(state) and C(leaves).
        Which leaves they are follows from O(tls_directory), O(uid) and the role that logs in.
      - They are then issued, renewed and put into force by this task, and what that does to connections is told before.
      - Without it they have to be there.
    type: dict
  drain_notice:
    description:
      - How many seconds V(/ready) of the agent says C(draining) before the ports of a host with O(state=drained)
        close, so that a load balancer sends nobody there any more.
    type: int
    default: 0
  drain_timeout:
    description:
      - How many seconds an instance that is to be restarted or taken away waits for its clients to leave of their own
        accord, while new ones go to the others. Then it ends their connections between transactions.
    type: int
    default: 30
  transaction_timeout:
    description: How many seconds it then waits for running transactions. Those that last longer are cut, and counted.
    type: int
    default: 30
  allow_disruption:
    description: Permits changes for which clients must reconnect, such as another O(port) or O(dispatch).
    type: bool
    default: false
author:
  - The pgfleet team (@pgfleet)
"""

EXAMPLES = r"""
- name: Two instances on one port, following the leader
  pgfleet.pooler.pgbouncer:
    databases:
      - name: app
        pool_size: 20
    patroni:
      - https://10.0.1.11:8008
      - https://10.0.1.12:8008
      - https://10.0.1.13:8008

- name: Instances and their certificates, of an authority on the controller
  pgfleet.pooler.pgbouncer:
    databases:
      - name: app
    patroni:
      - https://10.0.1.11:8008
    certificates:
      names:
        - "{{ inventory_hostname }}"
        - "{{ ansible_host }}"
      authority_directory: "{{ inventory_dir }}/.pki"
      passphrase: "{{ lookup('ansible.builtin.file', '~/.pgfleet-passphrase') }}"
      authority: {}

- name: A stock image in front of one server
  pgfleet.pooler.pgbouncer:
    image: docker.io/edoburu/pgbouncer:v1.24.1-p1
    dispatch: engine
    server: db.example.com
    userlist_only: true
    databases:
      - name: app
    users:
      - name: app
        verifier: "{{ app_verifier }}"

- name: No instances any more
  pgfleet.pooler.pgbouncer:
    state: absent
"""

RETURN = r"""
effect:
  description: The strongest effect on connections of all changes.
  type: str
  returned: always
  sample: reload
effects:
  description: Every difference found, with its effect and the reason.
  type: list
  elements: dict
  returned: always
  sample: [{instance: 50001, what: default_pool_size, effect: reload, why: "'20' becomes '30'"}]
steps:
  description: What was done, or in check mode would be, in order.
  type: list
  elements: str
  returned: always
drained:
  description: What happened to the clients of drained instances, in the order of the restarts.
  type: list
  elements: str
  returned: when instances were restarted or taken away
  sample: ["50001: closed 12 between transactions"]
leaves:
  description: The certificates afterwards, as M(pgfleet.pooler.certificate) returns them.
  type: list
  elements: dict
  returned: when O(certificates) is given
leader:
  description: The leader that databases without a host point at.
  type: str
  returned: when it is known
  sample: 10.0.1.11:5432
instances:
  description: Version and state of each instance afterwards, by console port.
  type: dict
  returned: always
trips:
  description: How many times the host was reached.
  type: int
  returned: always
"""
