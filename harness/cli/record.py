"""`harness record`: turn real agent traffic into a trace that can be replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.errors import UsageError
from harness.units import parse_duration


def record(
    out: Annotated[Path, typer.Option(help="Trace to write; it must not exist")],
    target: Annotated[str | None, typer.Option(help="Base URL of the endpoint, e.g. http://127.0.0.1:8000/v1")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one", min=0, max=65535)] = 8100,
    store_content: Annotated[bool, typer.Option(help="Also write what was said, to OUT.contents")] = False,
    session_header: Annotated[str, typer.Option(help="Header that names the session")] = "x-session-id",
    idle: Annotated[str, typer.Option(help="A session is over after this long without a request")] = "60s",
    finish: Annotated[bool, typer.Option("--finish", help="Only make OUT of a recording that was killed")] = False,
) -> None:
    """Record what an agent asks its model, as a trace for `workload: {kind: replay}`.

    Example: harness record --target http://127.0.0.1:8000/v1 --out trace.jsonl

    Then give the agent the URL that is printed instead of the target's. Ctrl-C ends the recording.
    """
    if finish:
        from harness.proxy.journal import finish as made

        sessions, calls = made(out)
        typer.echo(f"{sessions} sessions with {calls} requests in {out}", err=True)
        return
    if target is None:
        raise UsageError("there is nothing to record", remedy="give --target URL")
    try:
        idle_s = parse_duration(idle)
    except ValueError as error:
        raise UsageError(f"--idle: {error}") from None
    if idle_s <= 0:
        raise UsageError(f"--idle {idle} is not a time above 0")
    from harness.proxy.server import serve

    serve(
        target=target,
        host=host,
        port=port,
        out=out,
        idle_s=idle_s,
        contents=store_content,
        session_header=session_header,
    )
