"""`harness schema`: the shapes of what goes in and what comes out."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer


class Document(StrEnum):
    """What has a schema."""

    config = "config"
    record = "record"
    summary = "summary"


def schema(what: Annotated[Document, typer.Argument(help="Whose shape to print.")]) -> None:
    """Print the JSON Schema of a config, a record or a summary.

    Example: harness schema config > harness.schema.json

    With the first line `# yaml-language-server: $schema=harness.schema.json` editors complete and check a config.
    """
    from harness.cli.told import as_json

    sys.stdout.write(as_json(_schema(what)))


def _schema(what: Document) -> dict[str, Any]:
    if what is Document.config:
        from harness.config.schema import config_schema

        return config_schema()
    import msgspec

    if what is Document.record:
        from harness.records.record import Record

        return msgspec.json.schema(Record)
    from harness.metrics.summary import Summary

    return msgspec.json.schema(Summary)
