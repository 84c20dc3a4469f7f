"""Inventory values turned into the engine's text, and checked more strictly than the engine checks them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal

from .catalogue import Setting, Version
from .errors import nearest

YES = frozenset({"1", "yes", "true", "on"})
NO = frozenset({"0", "no", "false", "off"})

_BLANKS = " \t\n\v\f\r"
_UNITS = {"whole seconds": "seconds", "milliseconds": "milliseconds", "bytes": "bytes"}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(us|ms|sec|s|min|m|h|d)")
_SECONDS_IN = {"us": "0.000001", "ms": "0.001", "s": "1", "sec": "1", "m": "60", "min": "60", "h": "3600", "d": "86400"}


class WrongError(Exception):
    """What is wrong with a value, said without the value, and what to do."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def text_of(setting: Setting, value: object) -> str:
    """The value as the engine's text: booleans become 0 or 1, lists are joined by commas. Raises WrongError."""
    if value is None:
        raise WrongError("is not a value", f"leave {setting.name} out to have the engine's default")
    if setting.kind == "boolean":
        return _boolean_text(value)
    if isinstance(value, bool):
        raise WrongError(f"is not {_expected(setting)}")
    if isinstance(value, list | tuple):
        return _list_text(setting, value)
    if isinstance(value, str):
        return value.lower() if setting.kind == "enum" and value.lower() in setting.allowed else value
    if setting.kind == "octal":
        raise WrongError("is a number, and YAML may or may not have read it as octal", 'write it in quotes: "0770"')
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _decimal_text(setting, value)
    raise WrongError(f"is of type {type(value).__name__}, not {_expected(setting)}")


def insist(setting: Setting, text: str, version: Version) -> None:
    """Raises WrongError unless the text is a good one for the setting, in the engine of that version."""
    if any(character in text for character in "\n\r\0"):
        raise WrongError("holds a line break or a NUL", "the engine's files have no way to write it")
    _INSIST[setting.kind](setting, text, version)


def shown(value: object) -> str:
    """The value for an error message, cut when long."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def items(text: str) -> list[str]:
    """The items of a comma separated list, without the blanks around them."""
    return [item.strip(_BLANKS) for item in text.split(",")]


def listed(words: Sequence[str]) -> str:
    return ", ".join(words)


def _boolean_text(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    text = str(value).lower() if isinstance(value, str | int) else ""
    if text in YES:
        return "1"
    if text in NO:
        return "0"
    raise WrongError("is not a boolean", "true or false")


def _list_text(setting: Setting, value: Sequence[object]) -> str:
    if setting.kind not in {"list", "hosts"}:
        raise WrongError(f"is a list, not {_expected(setting)}")
    for item in value:
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise WrongError(f"holds {shown(item)}, which is not a name")
        name = str(item)
        if not name or "," in name or name != name.strip(_BLANKS):
            raise WrongError(f"holds {shown(item)}", "items are joined by commas, so none can hold one or be blank")
    return ",".join(str(item) for item in value)


def _decimal_text(setting: Setting, value: float) -> str:
    if setting.kind != "seconds":
        raise WrongError(f"is not {_expected(setting)}")
    if not math.isfinite(value):
        raise WrongError("is not a number of seconds")
    return _plain(Decimal(repr(value)))


def _plain(number: Decimal) -> str:
    """Never 1e-05, which reads badly, nor 2.0, which SHOW CONFIG shows as 2."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _insist_on_integer(setting: Setting, text: str, version: Version) -> None:
    if not re.fullmatch(r"[+-]?[0-9]+", text, re.ASCII):
        unit = _UNITS.get(setting.kind)
        raise WrongError(f"is not {_expected(setting)}", f"a plain number of {unit}, without a unit" if unit else "")
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits.startswith("0"):
        raise WrongError("starts with 0, which the engine may read as octal", "write it without")
    # Compared by length first: a thousand digits are no reason to build the number.
    if len(digits) > len(str(setting.maximum)) or not setting.minimum <= int(text) <= setting.maximum:
        raise WrongError("is out of range", f"{setting.minimum} to {setting.maximum}")


def _insist_on_octal(setting: Setting, text: str, version: Version) -> None:
    if not re.fullmatch(r"0[0-7]{1,4}", text) or int(text, 8) > setting.maximum:
        raise WrongError("is not an octal mode", f'"0000" to "0{setting.maximum:o}", with the 0 in front')


def _insist_on_seconds(setting: Setting, text: str, version: Version) -> None:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
        if Decimal(text) > setting.maximum:
            raise WrongError("is out of range", f"0 to {setting.maximum} seconds")
        return
    duration = _DURATION.fullmatch(text.strip().lower())
    if duration is None:
        raise WrongError("is not a number of seconds", "a plain number, such as 30 or 0.5")
    seconds = _plain(Decimal(duration[1]) * Decimal(_SECONDS_IN[duration[2]]))
    raise WrongError("is not a number of seconds", f"the engine knows no units: write {seconds}")


def _insist_on_choice(setting: Setting, text: str, version: Version) -> None:
    allowed = setting.allowed_for(version)
    word = text.lower()
    if word in allowed:
        return
    since = dict(setting.allowed_since).get(word)
    if since is not None:
        raise WrongError(f"needs PgBouncer {'.'.join(map(str, since))}", f"one of {listed(allowed)}")
    bare = word.strip(_BLANKS).strip("'\"")
    if bare in allowed:
        raise WrongError("has quotes or blanks around it, which the engine takes as part of it", f"write {bare}")
    close = nearest(word, allowed)
    raise WrongError(f"is not a {setting.name}", f"one of {listed(allowed)}" + (f"; {close}" if close else ""))


def _insist_on_text(setting: Setting, text: str, version: Version) -> None:
    if not text:
        if not setting.may_be_empty:
            raise WrongError("is empty", f"leave {setting.name} out instead")
        return
    if setting.section == "pgbouncer" and text != text.strip(_BLANKS):
        raise WrongError("starts or ends with a blank, which the engine cuts off")


def _insist_on_list(setting: Setting, text: str, version: Version) -> None:
    _insist_on_text(setting, text, version)
    if not text:
        return
    names = items(text)
    if not all(names):
        raise WrongError("has an empty item between its commas")
    strange = [name for name in names if setting.allowed and name.lower() not in setting.allowed]
    if strange:
        close = nearest(strange[0].lower(), setting.allowed)
        choice = f"any of {listed(setting.allowed)}"
        raise WrongError(f"holds {shown(strange[0])}", f"{choice}; {close}" if close else choice)


def _insist_on_path(setting: Setting, text: str, version: Version) -> None:
    _insist_on_text(setting, text, version)
    abstract_socket = setting.name == "unix_socket_dir" and text.startswith("@")
    if text and not text.startswith("/") and not abstract_socket:
        raise WrongError("is not an absolute path", "the engine would look for it where it happens to be started")


def _insist_on_boolean(setting: Setting, text: str, version: Version) -> None:
    if text not in {"0", "1"}:
        raise WrongError("is not a boolean", "0 or 1")


_INSIST: dict[str, Callable[[Setting, str, Version], None]] = {
    "boolean": _insist_on_boolean,
    "integer": _insist_on_integer,
    "port": _insist_on_integer,
    "bytes": _insist_on_integer,
    "milliseconds": _insist_on_integer,
    "whole seconds": _insist_on_integer,
    "octal": _insist_on_octal,
    "seconds": _insist_on_seconds,
    "enum": _insist_on_choice,
    "list": _insist_on_list,
    "hosts": _insist_on_list,
    "path": _insist_on_path,
    "text": _insist_on_text,
}


def _expected(setting: Setting) -> str:
    return {
        "boolean": "a boolean",
        "integer": "a whole number",
        "port": "a port number",
        "seconds": "a number of seconds",
        "whole seconds": "a whole number of seconds",
        "milliseconds": "a whole number of milliseconds",
        "bytes": "a whole number of bytes",
        "octal": "an octal mode",
        "enum": f"a {setting.name}",
        "list": "a list of names",
        "hosts": "a host or a list of hosts",
        "path": "a path",
        "text": "a text",
    }[setting.kind]
