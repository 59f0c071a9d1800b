"""Which keys a config may have, where, and which known one was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from harness import registry
from harness.config.distribution import Distribution
from harness.config.experiment import Experiment
from harness.errors import UsageError

_KINDS = {"backend": ("harness.backends", "openai"), "workload": ("harness.workloads", "chat")}


def fields(model: type[BaseModel]) -> dict[str, Any]:
    """Key as written -> pydantic's field."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def models(annotation: Any) -> Iterator[type[BaseModel]]:
    """All sections within a type: of `Launch | None`, `Launch`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models(part)


def section(data: Any, path: tuple[str, ...]) -> type[BaseModel] | None:
    """The section at `path`, for the kinds in `data`; None where there is none, or its keys are free."""
    found: type[BaseModel] | None = Experiment
    item = mix_item(data, path)
    if item is not None:
        data, path = {"workload": item}, ("workload", *path[2 if path[1].isdigit() else 3 :])
    for depth, key in enumerate(path):
        field = fields(found).get(key) if found is not None else None
        if field is None:
            return None
        if depth == 0 and key in _KINDS:
            found = _params(data, key)
        else:
            found = next(models(field.annotation), None)
    return found


def mix_item(data: Any, path: tuple[str, ...]) -> dict[str, Any] | None:
    """The item of a mix that `path` leads into: `workload.0...` of a list, `workload.of.0...` of a section."""
    part = data.get("workload") if isinstance(data, dict) else None
    rest = path[1:] if path[:1] == ("workload",) else ()
    if isinstance(part, dict) and rest[:1] == ("of",):
        part, rest = part.get("of"), rest[1:]
    if not isinstance(part, list) or not rest or not rest[0].isdigit() or int(rest[0]) >= len(part):
        return None
    item = part[int(rest[0])]
    return item if isinstance(item, dict) else None


def known(data: Any, path: tuple[str, ...]) -> bool:
    """Whether `path` is a place where a value may stand."""
    for depth in range(len(path)):
        found = section(data, path[:depth])
        if mix_item(data, path[: depth + 1]) is not None and path[depth].isdigit():
            continue
        if found is None:  # below a free mapping such as backend.body, or a list
            parent = section(data, path[: depth - 1])
            return parent is not None and _is_open(fields(parent)[path[depth - 1]].annotation)
        if path[depth] not in fields(found):
            return False
    return True


def nearest(data: Any, path: tuple[str, ...]) -> str:
    """A sentence that names the key probably meant instead of the unknown `path`, or the keys there are."""
    *above, key = path
    parent = section(data, tuple(above))
    siblings = list(fields(parent)) if parent is not None else []
    if close := difflib.get_close_matches(key, siblings, n=1):
        return f"Did you mean {'.'.join((*above, close[0]))}?"
    elsewhere = {where[-1]: ".".join(where) for where in reversed(list(places(data)))}
    if close := difflib.get_close_matches(key, elsewhere, n=1, cutoff=0.8):
        return f"Did you mean {elsewhere[close[0]]}?"
    return f"Known: {', '.join(siblings)}." if siblings else ""


def places(data: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all keys, but for those inside of distributions."""
    found = section(data, path)
    for key in fields(found) if found is not None and not issubclass(found, Distribution) else ():
        yield (*path, key)
        yield from places(data, (*path, key))


def _params(data: Any, name: str) -> type[BaseModel] | None:
    group, default = _KINDS[name]
    part = data.get(name) if isinstance(data, dict) else None
    kind = part.get("kind") or default if isinstance(part, dict) else "mix" if isinstance(part, list) else default
    try:
        params: type[BaseModel] = registry.load(group, str(kind)).Params
    except UsageError:
        return None
    return params


def _is_open(annotation: Any) -> bool:
    """Whether a field's type has places of its own below it: a mapping or a list."""
    if annotation in (dict, list) or getattr(annotation, "__origin__", None) in (dict, list):
        return True
    return any(_is_open(part) for part in get_args(annotation))
