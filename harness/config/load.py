"""A config file or preset, and overrides -> a validated `Experiment`, and where each value came from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from harness import assets, registry
from harness.config import keys, references, source
from harness.config.distribution import Distribution
from harness.config.experiment import Experiment
from harness.config.problems import Problem, problems
from harness.errors import ConfigError

_MOST_PROBLEMS = 10
_LARGEST = 4_000_000  # bytes
_FREE = "backend.body"  # goes into requests as it is: a null there is a null


@dataclass(frozen=True)
class LoadedExperiment:
    """A config, read and validated.

    Attributes:
        experiment: with every default filled in.
        origins: dotted path of each value -> `file`, `override`, `environment NAME` or `default`.
        source: the file it was read from.
        secrets: what is behind its references, for redaction; never stored.
    """

    experiment: Experiment
    origins: dict[str, str]
    source: Path
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"LoadedExperiment(source={str(self.source)!r}, experiment={self.experiment!r})"


def load(
    path: str | Path,
    overrides: Sequence[str] = (),
    seed: int | None = None,
    *,
    resolve_secrets: bool = True,
) -> LoadedExperiment:
    """Read, override, fill in and validate a config.

    Args:
        path: a YAML or JSON file, or the bare name of a preset such as `quickstart`.
        overrides: `dotted.path=value` each, the value in YAML; `slo.0=...` sets an item of a list.
        seed: overrides `seed`.
        resolve_secrets: look up every `env:` and `file:` reference, so that a missing one is told now.

    Raises:
        ConfigError: all that is wrong, one line each, up to ten.
    """
    file = _find(path)
    name = str(path)
    data = _document(file, name)
    origins = dict.fromkeys((where for where, _ in _leaves(data)), "file")
    for override in [*overrides, *([] if seed is None else [f"seed={seed}"])]:
        _override(data, override, origins)
    found: list[Problem] = []
    used: dict[str, str] = {}
    data = source.fill_in(data, lambda where, problem: found.append(Problem(where, problem)), used)
    origins |= {where: f"environment {variable}" for where, variable in used.items()}
    data = _without_nothing(data)
    _beside(file.parent, data.get("workload"))
    if found:
        raise _error(found, name, origins)
    experiment = _validated(data, name, origins)
    secrets: list[str] = []
    if resolve_secrets:
        try:
            secrets = references.resolve_all(experiment.backend)
        except ConfigError as error:
            raise ConfigError(error.path, error.problem, source=name, remedy=error.remedy) from error
    return LoadedExperiment(experiment, _traced(experiment, origins), file, tuple(secrets))


def resolved(experiment: Experiment) -> str:
    """The whole config as YAML, defaults included, that `load` reads back to an equal experiment.

    Keys are in the order of the schema; those without a value are left out; secrets are references.
    """
    return source.write(_plain(experiment))


def _find(path: str | Path) -> Path:
    file = Path(path).expanduser()
    if file.is_file():
        return file
    if file.is_dir():
        raise ConfigError("", "is a folder, not a config file", source=str(path))
    if file.name == str(path) and (preset := assets.find(f"{file.name.removesuffix('.yaml')}.yaml")):
        return preset
    presets = ", ".join(sorted(each.stem for each in assets.root().glob("*.yaml")))
    raise ConfigError("", f"no such file, and no preset of that name (presets: {presets})", source=str(path))


def _document(file: Path, name: str) -> dict[str, Any]:
    try:
        raw = file.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError("", f"cannot be read: {error.strerror}", source=name) from error
    except UnicodeDecodeError as error:
        raise ConfigError("", f"is not UTF-8 text (byte {error.start})", source=name) from None
    if len(raw) > _LARGEST:
        raise ConfigError("", f"is {len(raw):,} bytes long: that is no config", source=name)
    data = source.read(text, source=name, is_json=file.suffix.lower() == ".json")
    if data is None:
        raise ConfigError("", "is empty: it needs at least backend, workload and load", source=name)
    if not isinstance(data, dict):
        kind = "a list" if isinstance(data, list) else repr(data)
        raise ConfigError("", f"holds {kind}, where sections such as backend: and load: are wanted", source=name)
    return data


def _override(data: dict[str, Any], override: str, origins: dict[str, str]) -> None:
    """Put the value of `dotted.path=value` into `data`."""
    where, equals, text = override.partition("=")
    where = where.strip()
    parts = where.split(".")
    if not equals or not all(parts):
        raise ConfigError("", f"{override!r} is not of the form path=value, as in load.rate=5/s", source="-o")
    if parts[0] == "sweep" and len(parts) > 2:
        parts = ["sweep", ".".join(parts[1:])]  # the keys of a sweep are paths themselves
    value = source.read(text, source=f"-o {where}")
    here: Any = data
    for depth, part in enumerate(parts):
        last, above = depth == len(parts) - 1, ".".join(parts[:depth])
        key = _step(here, part, above)
        if last:
            if isinstance(here, list) and key == len(here):
                here.append(value)
            else:
                here[key] = value
        else:
            if isinstance(here, dict) and here.get(key) is None:
                here[key] = {}
            elif isinstance(here, list) and key == len(here):
                here.append({})
            here = here[key]
    for old in [old for old in origins if old == where or old.startswith(f"{where}.")]:
        del origins[old]
    origins |= dict.fromkeys((f"{where}.{leaf}" if leaf else where for leaf, _ in _leaves(value)), "override")


def _step(here: Any, part: str, above: str) -> Any:
    """`part` as the key or index below `here`."""
    if isinstance(here, dict):
        return part
    if isinstance(here, list):
        if part.isdigit() and int(part) <= len(here):
            return int(part)
        raise ConfigError(above, f"has no item {part} (it has {len(here)}, the first is 0)", source="-o")
    remedy = "; write the whole, as in {dist: lognormal, median: 3, sigma: 0.9}"
    raise ConfigError(above, f"is {here!r}, which has no {part}{remedy}", source="-o")


def _beside(folder: Path, workload: Any) -> None:
    """Files that a workload names are looked for beside the config first; from there on their path is whole."""
    for item in workload if isinstance(workload, list) else [workload]:
        if not isinstance(item, dict):
            continue
        _beside(folder, item.get("of"))
        kind, path = item.get("kind"), item.get("path")
        if isinstance(kind, str) and registry.is_file(kind):
            file, name = kind.rsplit(":", 1)
            item["kind"] = f"{_whole(folder, file)}:{name}"
        if isinstance(path, str):
            item["path"] = _whole(folder, path)


def _whole(folder: Path, path: str) -> str:
    for base in (folder, Path()):
        if (base / Path(path).expanduser()).exists():
            return str((base / Path(path).expanduser()).resolve())
    return path


def _leaves(data: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted path, value) of all that is no section; an empty section or list is a leaf."""
    if isinstance(data, dict | list) and data:
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, data


def _without_nothing(data: Any, path: str = "") -> Any:
    """A key with no value means its default."""
    if not isinstance(data, dict) or path == _FREE:
        return data
    return {
        key: _without_nothing(value, f"{path}.{key}" if path else key)
        for key, value in data.items()
        if value is not None
    }


def _validated(data: dict[str, Any], name: str, origins: dict[str, str]) -> Experiment:
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise _error(problems(error, data), name, origins) from None
    found = [
        Problem(f"sweep.{path}", f"no such value to sweep. {keys.nearest(data, tuple(path.split('.')))}".strip())
        for path in experiment.sweep or ()
        if path.startswith("sweep") or not keys.known(data, tuple(path.split(".")))
    ]
    if found:
        raise _error(found, name, origins)
    return experiment


def _error(found: list[Problem], name: str, origins: dict[str, str]) -> ConfigError:
    """All problems as one error: the first is its path and problem, the rest follow line by line."""

    def origin(path: str) -> str:
        mine = (where for where, what in origins.items() if what == "override")
        return "-o" if any(where == path or where.startswith(f"{path}.") for where in mine) else name

    first, *rest = found
    lines = [f"{origin(path)}: {f'{path}: ' if path else ''}{text}" for path, text in rest[: _MOST_PROBLEMS - 1]]
    if len(found) > _MOST_PROBLEMS:
        lines.append(f"... and {len(found) - _MOST_PROBLEMS} more")
    return ConfigError(first.path, "\n".join((first.text, *lines)), source=origin(first.path))


def _traced(experiment: Experiment, origins: dict[str, str]) -> dict[str, str]:
    """The origin of each value of the resolved config."""

    def origin(path: str) -> str:
        if path in origins:
            return origins[path]
        related = (
            what
            for where, what in origins.items()
            if where.startswith(f"{path}.") or (where and path.startswith(f"{where}."))
        )
        return next(related, "default")

    return {path: origin(path) for path, _ in _leaves(_plain(experiment))}


def _plain(section: BaseModel) -> dict[str, Any]:
    """The section as it is written in a config, without keys that have no value."""
    dumped = section.model_dump(mode="json")
    out = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if value is not None:
            out[name] = _plain(value) if _is_section(value) else dumped[name]
            if isinstance(value, list) and value and all(map(_is_section, value)):
                out[name] = [_plain(item) for item in value]
    return out


def _is_section(value: Any) -> bool:
    return isinstance(value, BaseModel) and not isinstance(value, Distribution)
