# Copyright: the pgfleet team
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The base of all actions: options from the module's own documentation, one host, errors without tracebacks."""

from __future__ import annotations

import gc
import importlib
import re
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import yaml
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from ...pooler.errors import PoolerError
from .host import Host

# The same in C, where PyYAML has it, is ten times as fast.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_SPEC_KEYS = ("type", "required", "default", "choices", "elements", "aliases")


class PoolerAction(ActionBase):
    """An action that runs on the controller and reaches the host through the connection alone.

    The options are read from the documentation of the module of the same name, so that what is documented is what
    is accepted. Subclasses implement `perform`; `secret` names the options that are never to be logged.
    """

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False
    secret: ClassVar[frozenset[str]] = frozenset()
    missing: ClassVar[ImportError | None] = None
    """What an action could not import, when it needs a package that not every controller has."""
    borrowed: ClassVar[Mapping[str, tuple[str, frozenset[str]]]] = {}
    """Options that hold those of another module: its name, and which of them it does not take."""
    spec: ClassVar[dict[str, Any]] = {}
    """Read where the action is imported, which Ansible does before it forks for each host."""

    def __init_subclass__(cls) -> None:
        package, _dot, module = cls.__module__.rpartition(".")
        # What several actions build on is no action, and has no documentation.
        if package.endswith(".plugins.action"):
            cls.spec = argument_spec(module, cls.secret)
            for option, (other, without) in cls.borrowed.items():
                theirs = argument_spec(other, cls.secret)
                cls.spec[option]["options"] = {name: theirs[name] for name in theirs if name not in without}
            # Ansible forks for each host. The collector would go through all that is there by then in each of them, and
            # so have the kernel copy it: a tenth of a run's CPU.
            gc.freeze()

    def run(self, tmp: str | None = None, task_vars: Mapping[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        self.task_vars = dict(task_vars or {})
        self.check = bool(self._task.check_mode)
        self.diff = bool(self._task.diff)
        self.host_name = str(self._task.delegate_to or self.task_vars.get("inventory_hostname", "localhost"))
        if self.missing:
            raise AnsibleActionFail(remedy(self.missing))
        try:
            _result, arguments = self.validate_argument_spec(argument_spec=self.spec)
        except AnsibleActionFail as error:
            role = self._task._role
            raise AnsibleActionFail(
                of_role(str(error), role.get_name(include_role_fqcn=False), self.task_vars) if role else str(error)
            ) from None
        try:
            result.update(self.perform(arguments))
        except PoolerError as error:
            raise AnsibleActionFail(str(error)) from None
        return result

    def perform(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Do the work; gives `changed` and what the module documents. Raises PoolerError."""
        raise NotImplementedError

    def host(self) -> Host:
        return Host(self.host_name, self._run_on_host)

    def _run_on_host(self, command: str, data: bytes) -> dict[str, Any]:
        # ssh prints what a command answered at -vvv, and what is read here includes verifiers. It asks the connection's
        # context, which is another object than the action's.
        context = self._connection._play_context
        shown, context.no_log = context.no_log, True
        try:
            return dict(self._low_level_execute_command(command, in_data=data))
        finally:
            context.no_log = shown


_OPTION = re.compile(r"\b(option|argument|value of|found in) ('?)(\w+)")


def of_role(words: str, role: str, variables: Mapping[str, Any]) -> str:
    """What Ansible says of an option, with the variable of the role in its place, ROLE_OPTION, where there is one.

    Of an option within another the outer one is the variable, which comes after `found in`.
    """
    inner = "found in" in words

    def named(match: re.Match[str]) -> str:
        before, quote, option = match.groups()
        known = f"{role}_{option}" in variables and (before == "found in") == inner
        return f"{before} {quote}{role}_{option}" if known else match[0]

    return _OPTION.sub(named, words)


def remedy(error: ImportError) -> str:
    package = (error.name or "").partition(".")[0]
    return (
        f"on the controller: {error} (install it for the Python that runs Ansible: "
        f"{sys.executable} -m pip install --upgrade {package}; or by the system's packages: python3-{package})"
    )


def argument_spec(module: str, secret: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The argument spec that a module's DOCUMENTATION describes, with the options of the fragments it extends."""
    package = __name__.rpartition(".plugin_utils.")[0]
    documentation = _loaded(importlib.import_module(f"{package}.modules.{module}").DOCUMENTATION)
    options = dict(documentation.get("options", {}))
    for name in documentation.get("extends_documentation_fragment", []):
        fragment, _dot, part = name.removeprefix("pgfleet.pooler.").partition(".")
        fragments = importlib.import_module(f"{package}.doc_fragments.{fragment}").ModuleDocFragment
        options |= _loaded(getattr(fragments, part.upper() or "DOCUMENTATION"))["options"]
    return _spec(options, secret)


def _loaded(documentation: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(documentation, _Loader)  # a SafeLoader in either case
    return found


def _spec(options: Mapping[str, Any], secret: frozenset[str]) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    for name, option in options.items():
        spec[name] = {key: option[key] for key in _SPEC_KEYS if key in option}
        spec[name]["no_log"] = name in secret
        if "suboptions" in option:
            spec[name]["options"] = _spec(option["suboptions"], secret)
    return spec
