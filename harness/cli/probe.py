"""`harness probe`: reach an endpoint and say what it can do."""

from __future__ import annotations

from typing import Annotated

import typer


def probe(
    config: Annotated[str | None, typer.Argument(help="A config whose backend is to be probed.")] = None,
    url: Annotated[str | None, typer.Option(help="Base URL of an OpenAI-compatible endpoint instead.")] = None,
    model: Annotated[str | None, typer.Option(help="Model name; default: the first the server lists.")] = None,
    api_key: Annotated[str | None, typer.Option(help="A reference to the key: env:NAME or file:PATH.")] = None,
    override: Annotated[list[str] | None, typer.Option("-o", "--override", help="path=value.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Reach the endpoint; say what it is and what it can do.

    Example: harness probe --url http://127.0.0.1:8080/v1

    Exit code 3 when it cannot be reached or used.
    """
    from harness.cli.probing import probe_config, probe_url, tell
    from harness.errors import UsageError

    if url is not None and override:
        raise UsageError("-o changes a config; with --url there is none")
    if (config is None) == (url is None):
        raise UsageError("give either a config or --url", remedy="harness probe --url http://127.0.0.1:8000/v1")
    findings = (
        probe_config(config, override or [])
        if config is not None
        else probe_url(str(url), model=model, api_key=api_key)
    )
    tell(findings, json=json)
