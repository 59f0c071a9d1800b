"""Config text -> plain data: YAML or JSON, read strictly, and environment references filled in.

The YAML is that of 1.2: `on`, `off`, `yes`, `no`, dates and `010` mean what they look like, `1e3` is a number, and
`1_000` too. A key given twice is an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from typing import Any

import yaml

from harness.config.references import names_a_secret
from harness.errors import ConfigError

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TAG = "tag:yaml.org,2002:"
_RESOLVERS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("merge", r"<<", "<"),
)
_REFERENCE = re.compile(r"\$\$\{|\$\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?")


class _Loader(_Base):  # type: ignore[misc]
    """Safe YAML with the resolution of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Writes text so that `_Loader`, and a reader of YAML 1.1 too, reads it back as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: list(rules) for first, rules in yaml.SafeDumper.yaml_implicit_resolvers.items()
    }

    def serialize(self, node: yaml.Node) -> None:
        """Sections line by line; what is small inside of them in one line."""
        for _, section in node.value:
            if isinstance(section, yaml.MappingNode) and section.value:
                section.flow_style = False
        super().serialize(node)


for _name, _pattern, _first in _RESOLVERS:
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(
            _TAG + _name, re.compile(f"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
        )
_Dumper.add_representer(  # PyYAML writes NEL and its like bare and reads them back as a space
    str, lambda dumper, text: dumper.represent_scalar(_TAG + "str", text, style=None if text.isprintable() else '"')
)
_Loader.add_constructor(_TAG + "int", lambda loader, node: int(node.value.replace("_", "")))
_Loader.add_constructor(_TAG + "float", lambda loader, node: float(node.value.replace("_", "")))


def read(text: str, *, source: str, is_json: bool = False) -> Any:
    """The data in `text`: dicts with text keys, lists, text, numbers, true, false, null.

    JSON is YAML but for small print (tabs, surrogates), so what reads as a JSON object is read as JSON.

    Raises:
        ConfigError: it cannot be read; the message has line and column.
    """
    if is_json or text.lstrip().startswith("{"):
        try:
            return json.loads(text, object_pairs_hook=_pairs(source), parse_constant=_not_finite)
        except json.JSONDecodeError as error:
            if is_json:
                raise ConfigError(
                    "", f"line {error.lineno}, column {error.colno}: {error.msg}", source=source
                ) from None
        except (ValueError, RecursionError) as error:
            raise ConfigError("", f"cannot be read: {error}", source=source) from None
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            return None if node is None else _Builder(loader, source).value(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError("", f"{where}{error.problem or error.context}", source=source) from None
    except yaml.reader.ReaderError as error:
        raise ConfigError("", f"character {error.position}: {error.reason}", source=source) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError("", f"cannot be read: {error}", source=source) from None


def write(data: dict[str, Any]) -> str:
    """YAML that `read` reads back to the same data, in the same order. `${` in text is escaped."""
    return yaml.dump(
        _map_text(data, lambda text, path: text.replace("${", "$${")),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=None,
        allow_unicode=True,
        width=110,
    )


def fill_in(data: Any, fail: Callable[[str, str], None], used: dict[str, str]) -> Any:
    """`data` with `${NAME}` and `${NAME:-default}` in its text filled in from the environment.

    A default stands for a variable that is not set or empty; `$${` is a literal `${`. `fail(path, problem)` is told of
    each that cannot be filled in; `used` gets the names that were, by path.
    """

    def text(value: str, path: str) -> str:
        def one(match: re.Match[str]) -> str:
            name, default = match[1], match[2]
            if match[0] == "$${":
                return "${"
            if name is None:
                fail(path, "write ${NAME} or ${NAME:-default} ($${ for a literal ${)")
            elif names_a_secret(name):
                fail(
                    path,
                    f"${{{name}}} looks like a secret, which would be stored: write env:{name} where it is asked for",
                )
            elif os.environ.get(name) or default is not None:
                used[path] = name
                return os.environ.get(name) or default or ""
            else:
                fail(path, f"environment variable {name} is not set")
            return ""

        return _REFERENCE.sub(one, value) if "${" in value else value

    return _map_text(data, text)


def _map_text(data: Any, change: Callable[[str, str], str], path: str = "") -> Any:
    if isinstance(data, str):
        return change(data, path)
    if isinstance(data, dict):
        return {key: _map_text(value, change, f"{path}.{key}" if path else key) for key, value in data.items()}
    if isinstance(data, list):
        return [_map_text(value, change, f"{path}.{place}") for place, value in enumerate(data)]
    return data


class _Builder:
    """YAML nodes -> data, with the checks PyYAML leaves out."""

    def __init__(self, loader: Any, source: str) -> None:
        self._loader = loader
        self._source = source
        self._open: set[int] = set()  # ids of the nodes we are inside of
        self._merged: set[int] = set()

    def value(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            value = self._loader.construct_object(node)
            if value is not None and not isinstance(value, str | int | float | bool):
                self._fail(node, f"{node.value!r} is a {type(value).__name__}, which a config cannot hold")
            return value
        if id(node) in self._open:
            self._fail(node, "an alias refers to what it is part of")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item) for item in node.value]
            return self._mapping(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.Node) -> dict[str, Any]:
        if id(node) not in self._merged:
            self._unique(node)
            self._merged.add(id(node))
            self._loader.flatten_mapping(node)
        return {str(key.value): self.value(item) for key, item in node.value}

    def _unique(self, node: yaml.Node) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._fail(key, "a key must be text")
            if key.value in seen:
                self._fail(key, f"the key {key.value} is given twice (first in line {seen[key.value]})")
            seen[key.value] = key.start_mark.line + 1

    def _fail(self, node: yaml.Node, problem: str) -> None:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _pairs(source: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(pairs)
        if len(out) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ConfigError("", f"the key {twice} is given twice", source=source)
        return out

    return build


def _not_finite(name: str) -> float:
    raise ValueError(f"{name} is not a number")
