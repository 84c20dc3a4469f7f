"""The statement that reads all that auth_query.py guards, as one JSON document.

It is run as a superuser, maybe in a database where others own schemas and have put operators and functions into them.
So every function, type and table is qualified, and every "=" and "<>" written below becomes OPERATOR(pg_catalog.…); no
IN, CASE x WHEN or USING is used, as these look for an operator by the search_path.
"""

from __future__ import annotations

import re

from .objects import SERVER
from .sql import literal


def statement(role: str, schema: str, function: str, *, with_verifier: bool) -> str:
    """The audit of these objects. Its document holds the role's verifier only when asked to.

    Objects that are missing are null, lists that are empty are []; PUBLIC is the grantee null; types are qualified.
    `owner` is the bootstrap superuser (oid 10), `rights` are those on the database, `hba` is what the server can
    read of pg_hba.conf, `others` counts what else is in the schema, `held` tells what the role has beyond what a repair
    gives it.
    """
    values = {
        "«server»": SERVER,
        "«role»": literal(role),
        "«schema»": literal(schema),
        "«function»": literal(function),
        "«verifier»": "r.rolpassword" if with_verifier else "NULL",
    }
    # Values go in last, so that nothing in a name is taken for a part of the statement.
    text = _STATEMENT.replace(" = ", " OPERATOR(pg_catalog.=) ").replace(" <> ", " OPERATOR(pg_catalog.<>) ")
    return re.sub("«[a-z]+»", lambda found: values[found[0]], text)


def _types(oids: str) -> str:
    return f"""(SELECT COALESCE(pg_catalog.jsonb_agg(
        pg_catalog.format('%I.%I', n.nspname, t.typname) ORDER BY u.place), '[]')
      FROM pg_catalog.unnest({oids}) WITH ORDINALITY AS u(type, place)
      JOIN pg_catalog.pg_type AS t ON t.oid = u.type
      JOIN pg_catalog.pg_namespace AS n ON n.oid = t.typnamespace)"""


def _grants(acl: str, kind: str, owner: str) -> str:
    """An empty access list stands for the built-in one, which acldefault knows."""
    return f"""(SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
        'grantee', g.rolname, 'privilege', i.privilege_type, 'grantable', i.is_grantable)
        ORDER BY g.rolname, i.privilege_type), '[]')
      FROM pg_catalog.aclexplode(COALESCE({acl}, pg_catalog.acldefault('{kind}', {owner}))) AS i
      LEFT JOIN pg_catalog.pg_authid AS g ON g.oid = i.grantee)"""


def _memberships(other: str, ours: str) -> str:
    return f"""(SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'role', o.rolname, 'grantor', w.rolname) ORDER BY o.rolname, w.rolname), '[]')
  FROM pg_catalog.pg_auth_members AS m
  JOIN pg_catalog.pg_authid AS o ON o.oid = m.{other}
  LEFT JOIN pg_catalog.pg_authid AS w ON w.oid = m.grantor
  WHERE m.{ours} = {_ROLE})"""


_ROLE = "(SELECT x.oid FROM pg_catalog.pg_authid AS x WHERE x.rolname = «role»)"
_SCHEMA = "(SELECT x.oid FROM pg_catalog.pg_namespace AS x WHERE x.nspname = «schema»)"
_DATABASE = "(SELECT x.oid FROM pg_catalog.pg_database AS x WHERE x.datname = pg_catalog.current_database())"
# Of a dependency `e` in this database: it is the function's, or an overload's.
_IS_FUNCTION = f"""(e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND EXISTS (
        SELECT FROM pg_catalog.pg_proc AS x
        WHERE x.oid = e.objid AND x.proname = «function» AND x.pronamespace = {_SCHEMA}))"""

_STATEMENT = f"""SELECT pg_catalog.jsonb_build_object(
«server»,
'owner', (SELECT o.rolname FROM pg_catalog.pg_authid AS o WHERE o.oid = 10),
'rights', (SELECT {_grants("d.datacl", "d", "d.datdba")} FROM pg_catalog.pg_database AS d WHERE d.oid = {_DATABASE}),
'hba', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'line', h.line_number, 'type', h.type, 'databases', h.database, 'users', h.user_name, 'address', h.address,
    'method', h.auth_method, 'options', COALESCE(pg_catalog.to_jsonb(h.options), '[]')) ORDER BY h.line_number), '[]')
  FROM pg_catalog.pg_hba_file_rules AS h WHERE h.error IS NULL),
'role', (SELECT pg_catalog.jsonb_build_object(
    'login', r.rolcanlogin, 'superuser', r.rolsuper, 'createdb', r.rolcreatedb, 'createrole', r.rolcreaterole,
    'inherit', r.rolinherit, 'replication', r.rolreplication, 'bypassrls', r.rolbypassrls,
    'connection_limit', r.rolconnlimit, 'valid_until', r.rolvaliduntil::pg_catalog.text,
    'has_password', r.rolpassword IS NOT NULL, 'verifier', «verifier»)
  FROM pg_catalog.pg_authid AS r WHERE r.rolname = «role»),
'settings', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'database', d.datname, 'setting', c.setting) ORDER BY d.datname, c.setting), '[]')
  FROM pg_catalog.pg_db_role_setting AS s
  CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) AS c(setting)
  LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
  WHERE s.setrole = {_ROLE}),
'member_of', {_memberships("roleid", "member")},
'members', {_memberships("member", "roleid")},
'schema', (SELECT pg_catalog.jsonb_build_object(
    'owner', pg_catalog.pg_get_userbyid(n.nspowner),
    'grants', {_grants("n.nspacl", "n", "n.nspowner")},
    'others', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend AS e
      WHERE e.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND e.refobjid = n.oid AND e.deptype = 'n'
        AND NOT {_IS_FUNCTION}))
  FROM pg_catalog.pg_namespace AS n WHERE n.nspname = «schema»),
'functions', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'types', {_types("p.proargtypes::pg_catalog.oid[]")},
    'arguments', {_types("COALESCE(p.proallargtypes, p.proargtypes::pg_catalog.oid[])")},
    'names', COALESCE(pg_catalog.to_jsonb(p.proargnames), '[]'),
    'modes', COALESCE(pg_catalog.to_jsonb(p.proargmodes::pg_catalog.text[]), '[]'),
    'defaults', p.pronargdefaults, 'set', p.proretset, 'returns', {_types("ARRAY[p.prorettype]")},
    'owner', pg_catalog.pg_get_userbyid(p.proowner), 'kind', p.prokind::pg_catalog.text, 'language', l.lanname,
    'volatility', p.provolatile::pg_catalog.text, 'strict', p.proisstrict, 'security_definer', p.prosecdef,
    'leakproof', p.proleakproof, 'parallel', p.proparallel::pg_catalog.text,
    'settings', COALESCE(pg_catalog.to_jsonb(p.proconfig), '[]'), 'body', p.prosrc,
    'grants', {_grants("p.proacl", "f", "p.proowner")}) ORDER BY p.oid), '[]')
  FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_language AS l ON l.oid = p.prolang
  WHERE p.proname = «function» AND p.pronamespace = {_SCHEMA}),
'default_grants', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object(
    'kind', a.defaclobjtype::pg_catalog.text, 'grantee', g.rolname) ORDER BY g.rolname), '[]')
  FROM pg_catalog.pg_default_acl AS a
  CROSS JOIN LATERAL pg_catalog.aclexplode(a.defaclacl) AS i
  JOIN pg_catalog.pg_authid AS g ON g.oid = i.grantee
  JOIN pg_catalog.pg_authid AS w ON w.oid = a.defaclrole
  WHERE (w.rolname = CURRENT_USER OR w.oid = 10)
    AND (a.defaclnamespace = 0 OR a.defaclnamespace = {_SCHEMA})),
'held', (SELECT COALESCE(pg_catalog.jsonb_agg(pg_catalog.format('%s in %s', COALESCE(
      CASE WHEN d.oid IS NULL OR d.oid = {_DATABASE}
        THEN pg_catalog.pg_describe_object(e.classid, e.objid, e.objsubid) END,
      e.classid::pg_catalog.regclass::pg_catalog.text), COALESCE(d.datname, 'the cluster'))
    ORDER BY d.datname, e.classid, e.objid), '[]')
  FROM pg_catalog.pg_shdepend AS e LEFT JOIN pg_catalog.pg_database AS d ON d.oid = e.dbid
  WHERE e.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND e.refobjid = {_ROLE}
    AND e.classid <> 'pg_catalog.pg_auth_members'::pg_catalog.regclass
    AND NOT (e.dbid = {_DATABASE} AND (
      e.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND e.objid = COALESCE({_SCHEMA}, 0)
      OR {_IS_FUNCTION}))
    AND NOT (
      e.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND e.deptype = 'a' AND e.objid = {_DATABASE})))"""
