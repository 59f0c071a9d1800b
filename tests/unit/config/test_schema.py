"""The JSON Schema says the same as the models: for presets, for kinds, for what people type."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import assets, registry
from harness.cli.app import app
from harness.config import source
from harness.config.keys import fields, models, places
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
    if "const" in schema and value != schema["const"] or "enum" in schema and value not in schema["enum"]:
        return False
    kinds = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool}
    kinds["null"] = type(None)
    wanted = schema.get("type", [])
    wanted = [wanted] if isinstance(wanted, str) else wanted
    if wanted and not any(isinstance(value, kinds[kind]) for kind in wanted):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties", True)
        if set(schema.get("required", ())) - set(value) or (extra is False and set(value) - set(properties)):
            return False
        return all(fits(item, properties[key], root) for key, item in value.items() if key in properties)
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
    ],
)
def test_what_fits(schema: dict[str, Any], change: dict[str, Any], wanted: bool) -> None:
    config = {"backend": {"url": "http://h/v1"}, "workload": {}, "load": {"concurrency": 1}, **change}
    assert fits(config, schema, schema) is wanted


def test_every_kind_has_its_own_keys(schema: dict[str, Any]) -> None:
    for section, group in (("backend", "harness.backends"), ("workload", "harness.workloads")):
        found = {}
        for branch in schema["properties"][section]["oneOf"]:
            properties = schema["$defs"][branch["$ref"].rpartition("/")[2]]["properties"]
            found[properties["kind"]["const"]] = set(properties)
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


def test_every_key_has_its_description_and_its_row_in_the_docs() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([\w.]+)` \|(.*)$", text, re.MULTILINE))
    wanted = set()
    for backend in registry.names("harness.backends"):
        for workload in registry.names("harness.workloads"):
            data = {"backend": {"kind": backend}, "workload": {"kind": workload}}
            wanted |= {".".join(path) for path in places(data)}
    sections = {path for path in wanted if any(other.startswith(f"{path}.") for other in wanted)}
    assert set(rows) == wanted - sections


def test_every_default_in_the_docs_is_the_one_in_the_code() -> None:
    text = DOCS.read_text(encoding="utf-8")
    told = {key: default.strip() for key, default in re.findall(r"^\| `([\w.]+)` \|[^|]*\|([^|]*)\|", text, re.MULTILINE)}
    for group, section in (("harness.backends", "backend"), ("harness.workloads", "workload")):
        for kind in registry.names(group):
            for key, field in fields(registry.load(group, kind).Params).items():
                if f"{section}.{key}" in told and key != "kind":
                    _same(told[f"{section}.{key}"], field, f"{section}.{key}")
    from harness.config import Experiment

    for key, field in fields(Experiment).items():
        if key in told:
            _same(told[key], field, key)
        for model in models(field.annotation):
            for inner, its in fields(model).items():
                if f"{key}.{inner}" in told and key not in ("backend", "workload"):
                    _same(told[f"{key}.{inner}"], its, f"{key}.{inner}")


def _same(told: str, field: Any, path: str) -> None:
    default = field.get_default(call_default_factory=True)
    if field.is_required():
        assert told == "required", path
    elif default is None or default in ({}, []):
        assert told == "–", path
    else:
        plain = default.model_dump(mode="json") if hasattr(default, "model_dump") else default
        assert source.read(told.strip("`"), source=path) == plain, path
