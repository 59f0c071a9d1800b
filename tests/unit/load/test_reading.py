"""What makes an answer a failure, and under which name; what its record keeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.backends.openai import OpenAI
from harness.backends.protocol import Dialect, Target
from harness.load import reading as reading_module
from harness.load import sse
from harness.load.exchange import Exchange, Http1Response
from harness.load.ledger import Ledger
from harness.load.reading import Reading
from harness.load.walk import Walk
from harness.records.record import Record
from harness.records.writer import RecordWriter
from harness.workloads import Node, Session

SECRET = "k-1234567890"
EVENT = b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":null}]}\n\n'
LAST = b'data: {"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\n'
BODY = b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"completion_tokens":1}}'
STREAM, JSON, HTML = b"text/event-stream", b"application/json; charset=utf-8", b"text/html"


def dialect(*, stream: bool = True) -> Dialect:
    return OpenAI(OpenAI.Params(stream=stream)).dialect(Target(backend="openai", url="", model="m"))


def answered(body: bytes, kind: bytes = STREAM, status: bytes = b"200 OK", *, stream: bool = True) -> Reading:
    exchange = Exchange("id", "/", b"", lambda _: None)
    exchange.http = Http1Response()
    head = b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (status, kind, len(body))
    exchange.parts, exchange.stamps = [head, body], [10, 20]
    exchange.frame()
    exchange.status, exchange.headers = exchange.http.status, exchange.http.headers
    exchange.sent_ns, exchange.end_ns = 5, 30
    reading = Reading(exchange, dialect(stream=stream))
    reading.finish()
    return reading


def verdict(reading: Reading) -> tuple[str | None, str | None]:
    return reading._exchange.error, reading._exchange.detail


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("body", "kind", "status", "error", "detail"),
    [
        (b'{"error":"no such model"}', JSON, b"404 Not Found", "http_404", '{"error":"no such model"}'),
        (EVENT, STREAM, b"500 Internal", "http_500", EVENT.decode()),
        (b"", JSON, b"503 Busy", "http_503", ""),
        (b"moved", HTML, b"301 Moved", "http_301", "moved"),
        (b"<html>Welcome</html>", HTML, b"200 OK", "not_json", "<html>Welcome</html>"),
        (b'{"error":{"message":"broken"}}', JSON, b"200 OK", "error_in_answer", "broken"),
        (b'{"hello":"world"}', JSON, b"200 OK", "not_json", '{"hello":"world"}'),
        (b'{"cut', JSON, b"200 OK", "not_json", '{"cut'),
        (
            b'{"choices":[{"message":{"content":""}}]}',
            JSON,
            b"200 OK",
            "empty_answer",
            "the answer ended without any generated token",
        ),
        (b"", JSON, b"200 OK", "empty_answer", "the answer ended without any generated token"),
        (BODY, JSON, b"200 OK", None, None),
    ],
)
def test_bodies(stream: bool, body: bytes, kind: bytes, status: bytes, error: str | None, detail: str | None) -> None:
    assert verdict(answered(body, kind, status, stream=stream)) == (error, detail)


@pytest.mark.parametrize(
    ("body", "error", "detail"),
    [
        (EVENT + LAST, None, None),
        (EVENT + LAST + b"data: [DONE]\n\n", None, None),
        (EVENT, "truncated_stream", "the stream ended without a finish reason or [DONE]"),
        (EVENT + LAST[:-20], "truncated_stream", "the stream ended in the middle of an event"),
        (EVENT + b"data: {nonsense\n\n" + LAST, "garbage_event", "{nonsense"),
        (EVENT + b'data: {"error":"out of memory"}\n\n', "stream_error", "out of memory"),
        (b"data: [DONE]\n\n", "empty_answer", "the answer ended without any generated token"),
        (b"", "empty_answer", "the answer ended without any generated token"),
        (b"plain words\n", "empty_answer", "the answer ended without any generated token"),
    ],
)
def test_streams(body: bytes, error: str | None, detail: str | None) -> None:
    assert verdict(answered(body)) == (error, detail)


def test_long_words_of_a_server_are_cut() -> None:
    for reading in (answered(b"x" * 9000, HTML, b"500 No"), answered(b"<" * 9000, HTML), answered(b"data: {" * 900)):
        error, detail = verdict(reading)
        assert error and detail is not None and len(detail) <= 2048
    assert len(verdict(answered(b"x" * 9000, HTML, b"500 No"))[1] or "") == 2048


def test_an_event_that_grows_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1000)
    reading = answered(EVENT + b"data: " + b"x" * 2000)
    assert verdict(reading)[0] == "event_too_large"


def test_a_body_that_is_too_large_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_module, "_BODY_LIMIT", 10)
    assert verdict(answered(BODY, JSON))[0] == "empty_answer"


def test_what_failed_on_the_wire_stays_what_it_was() -> None:
    exchange = Exchange("id", "/", b"", lambda _: None)
    exchange.fail("connection_refused", "no")
    reading = Reading(exchange, dialect())
    reading.finish()
    assert verdict(reading) == ("connection_refused", "no")
    assert list(reading.stamps_ns) == [] and reading.first_output_ns is None


def test_a_broken_answer_keeps_the_tokens_that_came() -> None:
    exchange = Exchange("id", "/", b"", lambda _: None)
    exchange.status, exchange.headers = 200, {b"content-type": STREAM}
    exchange.bodies, exchange.body_stamps = [EVENT, EVENT, LAST[:30]], [10, 20, 30]
    exchange.end_ns = 99
    exchange.fail("connection_reset")
    reading = Reading(exchange, dialect())
    reply = reading.finish()
    assert (list(reading.stamps_ns), reply.text, exchange.error) == ([10, 20], "HiHi", "connection_reset")


def test_http_that_breaks_while_it_is_read_late() -> None:
    exchange = Exchange("id", "/", b"", lambda _: None)
    exchange.http = Http1Response()
    exchange.parts, exchange.stamps = [b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"zz\r\n"], [1, 2]
    exchange.end_ns = 3
    reading = Reading(exchange, dialect())
    reading.finish()
    assert verdict(reading)[0] == "bad_http"


# -- the record


def entered(folder: Path, reading: Reading, **changes: Any) -> Record:
    nodes = (Node(name="a", output_tokens=3, input_tokens=7), Node(name="b", after=(0,), agent="x", depth=1, gap_ns=4))
    walk = Walk(Session(index=2, kind="drawn", nodes=nodes), warmup=False)
    ledger = Ledger(RecordWriter(folder / "records-0.jsonl"), worker=3, run_id="run", secrets=[SECRET])
    ledger.t0_ns = 1
    exchange = reading._exchange
    for name, value in changes.items():
        setattr(exchange, name, value)
    record = ledger.enter(exchange, reading, walk, 1, 4, "measure")
    assert ledger.tally.requests_ok + ledger.tally.requests_failed == (record.status != "cancelled")
    return record


def test_a_record_of_a_streamed_answer(tmp_path: Path) -> None:
    record = entered(tmp_path, answered(EVENT + LAST + USAGE), first_byte_ns=10, connect_ns=2, connected_ns=6)
    assert (record.id, record.session, record.node, record.after) == ("id", "s0000002", "b", ["run-s0000002-a"])
    assert (record.agent, record.depth, record.gap_ns, record.kind, record.worker) == ("x", 1, 4, "drawn", 3)
    assert (record.intended_ns, record.sent_ns, record.first_byte_ns, record.end_ns) == (3, 4, 9, 29)
    assert (record.connected_ns, record.connect_ns) == (5, 2)
    assert (record.first_token_ns, record.first_output_ns, record.last_token_ns) == (19, 19, 19)
    assert (record.input_tokens, record.output_tokens, record.tokens_source) == (5, 2, "server")
    assert (record.chunks, len(record.chunk_us), record.output_bytes, record.coalesced) == (2, 2, 3, 1)
    assert (record.status, record.error, record.finish_reason, record.http_status) == ("ok", None, "stop", 200)


def test_without_usage_tokens_are_an_estimate_and_said_to_be(tmp_path: Path) -> None:
    record = entered(tmp_path, answered(EVENT + LAST))
    assert (record.output_tokens, record.tokens_source) == (2, "estimate")
    assert record.cached_tokens is None and record.chunk_tokens is None


def test_when_an_answer_that_was_not_streamed_began_is_unknown(tmp_path: Path) -> None:
    record = entered(tmp_path, answered(BODY, JSON, stream=False))
    assert (record.first_token_ns, record.first_output_ns, record.last_token_ns) == (None, None, 29)
    assert (record.output_tokens, record.chunk_tokens) == (1, [1])


def test_nothing_is_known_of_an_answer_that_never_came(tmp_path: Path) -> None:
    exchange = Exchange("id", "/", b"", lambda _: None)
    exchange.fail("connection_refused")
    exchange.end_ns = 9
    reading = Reading(exchange, dialect())
    reading.finish()
    record = entered(tmp_path, reading)
    unknown = (record.sent_ns, record.first_byte_ns, record.first_token_ns, record.last_token_ns, record.http_status)
    assert unknown == (None,) * 5
    assert (record.output_tokens, record.input_tokens, record.tokens_source) == (None, None, None)
    assert (record.status, record.chunks) == ("failed", 0)


@pytest.mark.parametrize("error", ["cancelled", "interrupted"])
def test_what_we_cut_off_ourselves_is_no_failure(tmp_path: Path, error: str) -> None:
    reading = answered(EVENT)
    assert entered(tmp_path, reading, error=error).status == "cancelled"


def test_secrets_never_reach_a_record(tmp_path: Path) -> None:
    said = f"bad key {SECRET}, or Bearer abcdefghijkl, or sk-abcdefghijklmnop".encode()
    record = entered(tmp_path, answered(said, HTML, b"401 No"))
    assert record.error == "http_401"
    assert record.error_detail == "bad key ***, or Bearer ***, or ***"
