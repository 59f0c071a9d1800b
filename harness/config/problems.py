"""pydantic's errors -> what people read: one line a problem, with path, value, and what was meant."""

from __future__ import annotations

import difflib
import re
from typing import Any, NamedTuple

from pydantic import ValidationError

from harness.config import keys, references

_NOUNS = {
    "int": "a whole number",
    "float": "a number",
    "string": "text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a section (key: value)",
    "model": "a section (key: value)",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
    "too_short": ("of length at least", "min_length"),
    "string_too_short": ("of length at least", "min_length"),
}


class Problem(NamedTuple):
    """What is wrong at a dotted path."""

    path: str
    text: str


def problems(error: ValidationError, data: Any) -> list[Problem]:
    """All problems, in the order of the schema. Alternatives of one place (`auto` or a number) are one problem."""
    wanted: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    told: dict[str, str] = {}
    for item in _flat(error, ()):
        path = _place(item, data)
        dotted = ".".join(path)
        if noun := _wanted(item):
            wanted.setdefault(dotted, []).append(noun)
            values[dotted] = item["input"]
            told.setdefault(dotted, "")
        else:
            told[dotted] = _sentence(item, data, path)
    for dotted, nouns in wanted.items():
        if not told[dotted]:
            alternatives = " or ".join(dict.fromkeys(nouns))
            near = _near(values[dotted], nouns)
            told[dotted] = f"{_shown(values[dotted], dotted)} is not {alternatives}{near}"
    return [Problem(dotted, text) for dotted, text in told.items()]


def _flat(error: ValidationError, above: tuple[Any, ...]) -> list[dict[str, Any]]:
    """pydantic's items; those of a section that was validated by itself are put in place."""
    out = []
    for item in error.errors(include_url=False):
        inner = (item.get("ctx") or {}).get("error")
        loc = (*above, *item["loc"])
        if isinstance(inner, ValidationError):
            out += _flat(inner, loc)
        else:
            out.append({**item, "loc": loc})
    return out


def _place(item: dict[str, Any], data: Any) -> tuple[str, ...]:
    """The path as the user knows it: pydantic's, without the tags of unions and keys."""
    loc, path, here = item["loc"], [], data
    for depth, part in enumerate(loc):
        inside = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if inside or (isinstance(here, dict) and part in here):
            here = here[part]
        elif not (item["type"] == "missing" and depth == len(loc) - 1):
            continue
        path.append(str(part))
    if item["type"] == "kind":
        path.append("kind")
    return tuple(path)


def _wanted(item: dict[str, Any]) -> str:
    """What should have stood there, as a noun; empty where a sentence says it better."""
    kind, context = item["type"], item.get("ctx") or {}
    if item["loc"] and item["loc"][-1] == "[key]":
        return ""
    if kind == "literal_error":
        return _alternatives(context["expected"])
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        return f"{words} {_figure(context[bound])}"
    if kind == "string_pattern_mismatch":
        return f"of the form {context['pattern']}"
    if kind == "int_from_float":
        return "a whole number"
    stem = kind.removesuffix("_type").removesuffix("_parsing").removesuffix("_attributes")
    return _NOUNS.get(stem, "")


def _sentence(item: dict[str, Any], data: Any, path: tuple[str, ...]) -> str:
    if item["type"] == "extra_forbidden":
        return f"unknown key. {keys.nearest(data, path)}".strip()
    if item["loc"] and item["loc"][-1] == "[key]":
        choices = re.findall(r"'([^']*)'", (item.get("ctx") or {}).get("expected", ""))
        close = difflib.get_close_matches(path[-1], choices, n=1)
        known = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(choices)}."
        return f"unknown key. {known}"
    if item["type"] == "missing":
        return "is missing"
    message = str(item["msg"])
    return message.removeprefix("Value error, ")


def _alternatives(expected: str) -> str:
    names = re.findall(r"'([^']*)'", expected)
    return f"one of {', '.join(names)}" if len(names) > 1 else names[0] if names else expected


def _near(value: Any, wanted: list[str]) -> str:
    if not isinstance(value, str):
        return ""
    names = [name for noun in wanted if noun.startswith("one of ") for name in noun[7:].split(", ")]
    close = difflib.get_close_matches(value, names, n=1)
    return f". Did you mean {close[0]}?" if close else ""


def _shown(value: Any, path: str) -> str:
    """The value as it was given, shortened; never one that may be a secret."""
    if path.startswith(("backend.headers", "backend.launch.env")) or references.names_a_secret(path.rpartition(".")[2]):
        return "the value"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else _figure(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _figure(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else repr(value)
