"""JSON Schema of the config, with the keys of every registered backend and workload. For editors and for checks."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from harness import registry
from harness.config.experiment import Experiment
from harness.errors import MissingExtra

_GROUPS = {"backend": ("harness.backends", "openai"), "workload": ("harness.workloads", "chat")}


def config_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a config file. `kind` decides which keys `backend` and `workload` have.

    A kind whose optional package is not installed is listed with its keys unchecked.
    """
    sections = {
        (section, kind): _params(group, kind)
        for section, (group, _) in _GROUPS.items()
        for kind in registry.names(group)
    }
    wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Experiment, "validation")]
    wanted += [(params, "validation") for params in sections.values() if params is not None]
    refs, definitions = models_json_schema(wanted, ref_template="#/$defs/{model}")
    named = definitions["$defs"]
    schema = named.pop(refs[Experiment, "validation"]["$ref"].rpartition("/")[2])
    for section, (_, default) in _GROUPS.items():
        branches = []
        for (mine, kind), params in sections.items():
            if mine == section:
                properties = {"kind": {"const": kind}}
                branch: dict[str, Any] = {"properties": properties}
                if params is not None:
                    branch = named[refs[params, "validation"]["$ref"].rpartition("/")[2]]
                    branch["properties"] |= properties
                if kind != default:
                    branch["required"] = ["kind", *branch.get("required", ())]
                branches.append(branch if params is None else refs[params, "validation"])
        schema["properties"][section] = {**_told(schema["properties"][section]), "oneOf": branches}
        if section == "workload":
            _mixed(schema["properties"][section], branches, named)
    _drop_unused(schema, named)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": named}


def _mixed(workload: dict[str, Any], branches: list[dict[str, Any]], named: dict[str, Any]) -> None:
    """A workload may also be of a file of the user's, whose keys we do not know here, or a mix: a list of any."""
    written = {"kind": {"type": "string", "pattern": r"\.py:\w+$"}}
    named["WrittenWorkload"] = {"type": "object", "properties": written, "required": ["kind"]}
    named["AnyWorkload"] = {"oneOf": [*branches, {"$ref": "#/$defs/WrittenWorkload"}]}
    named["Mixed"] = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/AnyWorkload"}}
    for definition in named.values():
        if definition.get("properties", {}).get("kind", {}).get("const") == "mix":
            definition["properties"]["of"] = {**_told(definition["properties"]["of"]), "$ref": "#/$defs/Mixed"}
    workload["oneOf"] = [*named["AnyWorkload"]["oneOf"], {"$ref": "#/$defs/Mixed"}]


def _told(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key == "description"}


def _params(group: str, kind: str) -> type[BaseModel] | None:
    try:
        params: type[BaseModel] = registry.load(group, kind).Params
    except MissingExtra:
        return None
    return params


def _drop_unused(schema: dict[str, Any], named: dict[str, Any]) -> None:
    """The bases of the sections are in nobody's way, but nobody points at them either."""
    while unused := set(named) - _pointed_at((schema, named)):
        for name in unused:
            del named[name]


def _pointed_at(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"].rpartition("/")[2]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(_pointed_at, part.values()))
    if isinstance(part, list | tuple):
        return set().union(*map(_pointed_at, part))
    return set()
