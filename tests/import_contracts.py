"""Two contract types for import-linter, used by `.importlinter`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class Room(Contract):
    """`room` may import itself, the modules in `may` with all that is in them, and the ground floor.

    Only direct imports count: what a room may import answers for its own imports in a contract of its own.
    """

    room = fields.StringField()
    may = fields.SetField(subfield=fields.StringField(), required=False)

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        room: str = str(self.room)
        may: set[str] = self.may or set()  # type: ignore[assignment]
        allowed = {room, *self.session_options["ground"]} | may
        if room not in graph.modules:
            return ContractCheck(kept=True, warnings=[f"{room} does not exist"])
        broken = [
            link
            for importer in sorted({room, *graph.find_descendants(room)})
            for imported in sorted(graph.find_modules_directly_imported_by(importer))
            if imported != "harness"  # its __init__ holds nothing but the version
            and not any(imported == name or imported.startswith(f"{name}.") for name in allowed)
            for link in _links(graph, importer, imported)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        _render(f"{self.room} must not import:", check)


class Implementations(Contract):
    """A module that an entry point of `pyproject.toml` names is imported by nobody else in its room."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
        points = [point for group in project["entry-points"].values() for point in group.values()]
        implementations = {point.partition(":")[0] for point in points} & graph.modules
        broken = [
            link
            for imported in sorted(implementations)
            for importer in sorted(graph.find_modules_that_directly_import(imported))
            if importer.startswith(imported.rpartition(".")[0])
            for link in _links(graph, importer, imported)
        ]
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        _render("move what both need to a module of its own:", check)


def _links(graph: ImportGraph, importer: str, imported: str) -> list[str]:
    details: list[Any] = list(graph.get_import_details(importer=importer, imported=imported))
    return [f"{importer} -> {imported} (l.{detail['line_number']})" for detail in details]


def _render(title: str, check: ContractCheck) -> None:
    output.print_error(title, bold=False)
    for line in check.metadata["broken"]:
        output.print_error(f"- {line}", bold=False)
    output.new_line()
