"""OpenTelemetry spans of generative AI: OTLP JSON as a collector's file exporter writes it, or one span an object.

Model calls are the spans whose `gen_ai.operation.name` is `chat`, `text_completion` or `generate_content`. Sessions are
`gen_ai.conversation.id`, else the trace. Spans with the same parent are one agent; who waited for whom follows from
their times (see `infer`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.workloads.traces.file import TraceFile
from harness.workloads.traces.infer import TimedCall, infer
from harness.workloads.traces.trace import TraceSession, positive, seconds

_CALLS = ("chat", "text_completion", "generate_content")


def recognises(head: str) -> bool:
    return '"resourceSpans"' in head or '"gen_ai.' in head


def sessions(file: TraceFile) -> Iterator[TraceSession]:
    threads: dict[str, list[tuple[str, TimedCall]]] = {}
    lines: dict[str, int] = {}
    for line, item in file.json_items():
        for span in file.usable(line, lambda item=item: list(_spans(item))) or ():  # type: ignore[misc]
            told = file.usable(line, lambda span=span: _attributes(span.get("attributes") or {}))  # type: ignore[misc]
            if told is None or not _is_call(told):
                continue
            call = file.usable(line, lambda span=span, told=told: _call(span, told))  # type: ignore[misc]
            if call is not None:
                session = str(told.get("gen_ai.conversation.id") or span.get("traceId"))
                parent = str(span.get("parentSpanId") or "")
                threads.setdefault(session, []).append((parent, call))
                lines.setdefault(session, line)
    for session, calls in threads.items():
        calls.sort(key=lambda each: each[1].start_s)
        names = {calls[0][0]: "main"}  # by parent span: the first to call is the main agent
        for parent, call in calls:
            call.agent = names.setdefault(parent, f"agent-{len(names)}")
        timed = [call for _, call in calls]
        yield TraceSession(id=session, calls=infer(timed), line=lines[session], start_s=timed[0].start_s)


def _spans(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "resourceSpans" not in item:
        yield item
    for resource in item.get("resourceSpans", ()):
        for scope in resource.get("scopeSpans", ()):
            yield from scope.get("spans", ())


def _is_call(told: dict[str, Any]) -> bool:
    """Whether a span is that of a model call, by its attributes."""
    operation = told.get("gen_ai.operation.name")
    return operation in _CALLS or (operation is None and "gen_ai.usage.output_tokens" in told)


def _call(span: dict[str, Any], told: dict[str, Any]) -> TimedCall:
    return TimedCall(
        start_s=seconds(span["startTimeUnixNano"], "startTimeUnixNano", 1e-9),
        end_s=seconds(span["endTimeUnixNano"], "endTimeUnixNano", 1e-9),
        input_tokens=positive(told.get("gen_ai.usage.input_tokens"), "gen_ai.usage.input_tokens"),
        output_tokens=positive(told.get("gen_ai.usage.output_tokens"), "gen_ai.usage.output_tokens"),
    )


def _attributes(given: Any) -> dict[str, Any]:
    """OTLP writes a list of `{key, value: {intValue: "7"}}`; others a plain mapping."""
    if isinstance(given, dict):
        return given
    return {each["key"]: next(iter(each["value"].values()), None) for each in given}
