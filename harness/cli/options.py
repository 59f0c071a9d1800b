"""Options that several verbs have."""

from __future__ import annotations

from typing import Annotated

import typer

Config = Annotated[str, typer.Argument(help="A YAML or JSON file, or the name of a preset such as quickstart.")]
Reports = Annotated[list[str] | None, typer.Option(help="FORMAT=PATH: write a further report; repeatable.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; the same as --format json.")]
Output = Annotated[str | None, typer.Option("-O", "--output", help="Write to this path; - is standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Do not tell how it goes on.")]
