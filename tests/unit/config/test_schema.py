"""The JSON Schema says the same as the models: for presets, for kinds, for what people type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_origin

import pytest
from pydantic import BaseModel, TypeAdapter
from typer.testing import CliRunner

from harness import assets, registry
from harness.cli.app import app
from harness.config import BackendConfig, Experiment, WorkloadConfig, source
from harness.config.distribution import Distribution
from harness.config.keys import fields, models
from harness.config.schema import config_schema
from harness.errors import MissingExtra

DOCS = Path(__file__).parents[3] / "docs" / "config.md"


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """As much of JSON Schema as ours uses, in a few lines: enough to tell a fitting config from another."""
    if "$ref" in schema:
        return fits(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    if "anyOf" in schema and not any(fits(value, each, root) for each in schema["anyOf"]):
        return False
    if "oneOf" in schema and sum(fits(value, each, root) for each in schema["oneOf"]) != 1:
        return False
    if value != schema.get("const", value) or value not in schema.get("enum", [value]):
        return False
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool}
    kinds["null"] = type(None)
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted and not any(isinstance(value, kinds[kind]) for kind in wanted):
        return False
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties", True)
        if set(schema.get("required", ())) - set(value) or (extra is False and set(value) - set(properties)):
            return False
        return all(fits(item, properties[key], root) for key, item in value.items() if key in properties)
    if isinstance(value, list) and len(value) < schema.get("minItems", 0):
        return False
    return not isinstance(value, list) or all(fits(item, schema.get("items", {}), root) for item in value)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return config_schema()


@pytest.mark.parametrize("preset", sorted(assets.root().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_fits(schema: dict[str, Any], preset: Path) -> None:
    assert fits(source.read(preset.read_text(), source="x"), schema, schema)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, True),
        ({"workload": {"turns": {"dist": "geometric", "mean": 2}, "think": "2s"}}, True),
        ({"workload": {"turns": {"dist": "geometric", "median": 2}}}, False),
        ({"workload": {"turns": {"dist": "choice", "values": [1, 2]}}}, True),
        ({"workload": {"kind": "chatt"}}, False),
        ({"workload": {"turn": 2}}, False),
        ({"load": {"rate": "5/s", "ramp": "5s", "error_budget": "5%"}}, True),
        ({"load": {"rat": "5/s"}}, False),
        ({"backend": {"kind": "sim", "profile": "instant", "ttft": "30ms"}}, True),
        ({"backend": {"kind": "openai", "profile": "instant"}}, False),
        ({"backend": {"profile": "instant"}}, False),
        ({"slo": "x"}, False),
        ({"sweep": {"load.rate": [1, 2]}}, True),
        ({"workload": {"kind": "./my_agent.py:research", "anything": 3}}, True),
        ({"workload": [{"kind": "chat", "weight": 3, "turns": 2}, {"kind": "rag"}]}, True),
        ({"workload": [{"kind": "rag", "turns": 2}]}, False),
        ({"workload": {"kind": "mix", "of": [{"turns": 2}, {"kind": "my_agent.py:x"}]}}, True),
        ({"workload": {"kind": "mix", "of": [{"turn": 2}]}}, False),
        ({"workload": []}, False),
    ],
)
def test_what_fits(schema: dict[str, Any], change: dict[str, Any], wanted: bool) -> None:
    config = {"backend": {"url": "http://h/v1"}, "workload": {}, "load": {"concurrency": 1}, **change}
    assert fits(config, schema, schema) is wanted


def test_every_kind_has_its_own_keys(schema: dict[str, Any]) -> None:
    for section, group in (("backend", "harness.backends"), ("workload", "harness.workloads")):
        found = {}
        for branch in schema["properties"][section]["oneOf"]:
            properties = schema["$defs"][branch["$ref"].rpartition("/")[2]].get("properties", {})
            if kind := properties.get("kind", {}).get("const"):  # not a mix or a file of the user's
                found[kind] = set(properties)
        assert {kind: set(fields(registry.load(group, kind).Params)) for kind in registry.names(group)} == found


def test_all_definitions_are_used(schema: dict[str, Any]) -> None:
    pointed = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
    assert pointed == set(schema["$defs"])


def test_a_kind_that_is_not_installed_is_listed_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    load, names = registry.load, registry.names

    def missing(group: str, name: str) -> Any:
        if name == "absent":
            raise MissingExtra("it", "vllm")
        return load(group, name)

    monkeypatch.setattr(registry, "load", missing)
    monkeypatch.setattr(registry, "names", lambda group: [*names(group), "absent"])
    found = config_schema()
    config = {"backend": {"kind": "absent", "x": 1}, "workload": {}, "load": {"concurrency": 1}}
    assert fits(config, found, found)


@pytest.mark.parametrize("what", ["config", "record", "summary"])
def test_harness_schema_prints_json(what: str) -> None:
    result = CliRunner().invoke(app, ["schema", what])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["$defs"]


def told_rows() -> dict[str, dict[str, tuple[str, str]]]:
    """docs/config.md: heading -> key -> (default, example)."""
    rows: dict[str, dict[str, tuple[str, str]]] = {}
    heading = ""
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.strip("# ")
        elif match := re.match(r"\| `([\w.]+)` \|[^|]+\|([^|]*)\|([^|]*)\|$", line):
            rows.setdefault(heading, {})[match[1]] = (match[2].strip(), match[3].strip())
    return rows


def real_rows() -> dict[str, dict[str, Any]]:
    """The same from the models: heading -> key -> pydantic's field."""
    rows: dict[str, dict[str, Any]] = {"The whole": {}}
    for key, field in fields(Experiment).items():
        inner = next(models(field.annotation), None)
        if inner is None:
            rows["The whole"][key] = field
        else:
            rows[key] = dict(_below(key, inner))
    for section, base in (("backend", BackendConfig), ("workload", WorkloadConfig)):
        for kind in registry.names(f"harness.{section}s"):
            own = {
                f"{section}.{key}": field
                for key, field in fields(registry.load(f"harness.{section}s", kind).Params).items()
                if key not in fields(base)
            }
            if own:
                rows[f"{section}.kind: {kind}"] = own
    return rows


def _below(path: str, model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    for key, field in fields(model).items():
        inner = next(models(field.annotation), None)
        if inner is None or issubclass(inner, Distribution) or get_origin(field.annotation) is list:
            yield f"{path}.{key}", field
        else:
            yield from _below(f"{path}.{key}", inner)


def test_every_key_has_its_row_in_the_docs_and_every_row_its_key() -> None:
    told = {heading: set(rows) for heading, rows in told_rows().items()}
    assert told == {heading: set(rows) for heading, rows in real_rows().items()}


def test_every_kind_has_its_heading_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    for section in ("backend", "workload"):
        for kind in registry.names(f"harness.{section}s"):
            assert f"### {section}.kind: {kind}\n" in text


def test_every_key_has_a_description() -> None:
    for rows in real_rows().values():
        for key, field in rows.items():
            assert field.description or key.endswith(".kind"), key


def test_defaults_in_the_docs_are_those_in_the_code_and_examples_can_be_given() -> None:
    real = real_rows()
    for heading, rows in told_rows().items():
        for key, (default, example) in rows.items():
            field = real[heading][key]
            value = field.get_default(call_default_factory=True)
            reader = TypeAdapter(Annotated[field.annotation, field, *field.metadata])
            if field.is_required() or value is None or value in ({}, []):
                assert default == "–", key
            else:
                assert reader.validate_python(source.read(default.strip("`"), source=key)) == value, key
            reader.validate_python(source.read(example.strip("`"), source=key))
