"""The ledger of a worker: every finished request becomes a record on disk and a tick in its tallies."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness import secrets
from harness.backends.protocol import Reply
from harness.load.exchange import Exchange
from harness.load.naming import request_id
from harness.load.reading import Reading
from harness.load.walk import Walk
from harness.records.record import Phase, Record, Status, encode_record
from harness.records.snapshot import Snapshot
from harness.records.writer import RecordWriter

Count = Callable[[str], int]  # tokens of a text


class Ledger:
    """Writes records and keeps the cumulative figures that snapshots are made of."""

    def __init__(
        self,
        writer: RecordWriter,
        *,
        worker: int,
        run_id: str,
        secrets: Iterable[str] = (),
        count: Count | None = None,
        uuids: bool = False,
    ) -> None:
        self._count = count
        self._writer = writer
        self._worker = worker
        self._run_id = run_id
        self._uuids = uuids
        self._secrets = tuple(secrets)
        self.t0_ns = 0
        self.tally = Snapshot(worker=worker, t_ns=0)

    def request_id(self, walk: Walk, index: int) -> str:
        """The `x-request-id` of a node: unique in the run, and the record's `id`."""
        return request_id(f"{self._run_id}-{walk.session.id}-{walk.session.nodes[index].name}", as_uuid=self._uuids)

    def enter(
        self,
        exchange: Exchange,
        reading: Reading,
        walk: Walk,
        index: int,
        intended_ns: int,
        phase: Phase,
        attempt: int = 1,
    ) -> Record:
        """Write down one finished request, after that many attempts. `reading.finish()` has been called."""
        reply = reading.reply or Reply()
        node = walk.session.nodes[index]
        t0, sent = self.t0_ns, exchange.sent_ns
        stamps = reading.stamps_ns
        was_sent = sent > 0
        record = Record(
            id=exchange.id,
            session=walk.session.id,
            session_requests=len(walk.session.nodes) - walk.unsent,
            node=node.name,
            after=[self.request_id(walk, needed) for needed in walk.waited_for(index)],
            gap_ns=node.gap_ns,
            agent=node.agent,
            depth=node.depth,
            kind=walk.session.kind,
            attempt=attempt,
            worker=self._worker,
            intended_ns=intended_ns - t0,
            sent_ns=sent - t0 if was_sent else None,
            connected_ns=None if exchange.connected_ns is None else exchange.connected_ns - t0,
            connect_ns=exchange.connect_ns,
            first_byte_ns=None if exchange.first_byte_ns is None else exchange.first_byte_ns - t0,
            first_token_ns=stamps[0] - t0 if stamps and reading.streamed else None,
            first_output_ns=None if reading.first_output_ns is None else reading.first_output_ns - t0,
            last_token_ns=stamps[-1] - t0 if stamps else None,
            end_ns=exchange.end_ns - t0,
            clock="kernel" if exchange.kernel else "user",
            coalesced=reading.coalesced,
            status=_status(exchange),
            error=exchange.error,
            error_detail=None if exchange.detail is None else secrets.redact(exchange.detail, self._secrets),
            http_status=exchange.status,
            finish_reason=reply.finish_reason,
            planned_input=node.input_tokens,
            planned_output=node.output_tokens,
            output_bytes=reply.output_bytes,
            chunks=len(stamps),
            chunk_us=[max(0, stamp - sent) // 1000 for stamp in stamps],
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            phase=phase,
            server=reply.server,
        )
        _count_tokens(record, reply, self._count)
        self._writer.add(encode_record(record))
        self._tick(record)
        return record

    def _tick(self, record: Record) -> None:
        tally = self.tally
        tally.events += record.chunks
        tally.bytes_in += record.bytes_in
        tally.bytes_out += record.bytes_out
        tally.input_tokens += record.input_tokens or 0
        tally.output_tokens += record.output_tokens or 0
        if record.status != "ok":
            if record.status == "failed":
                tally.requests_failed += 1
                name = record.error or "unknown"
                tally.errors[name] = tally.errors.get(name, 0) + 1
            return
        tally.requests_ok += 1
        if record.sent_ns is None or record.last_token_ns is None:
            return
        tally.e2e.add((record.last_token_ns - record.sent_ns) / 1e9)
        if record.first_token_ns is None:
            return
        tally.ttft.add((record.first_token_ns - record.sent_ns) / 1e9)
        if record.output_tokens is not None and record.output_tokens > 1:
            tally.tpot.add((record.last_token_ns - record.first_token_ns) / 1e9 / (record.output_tokens - 1))


def _status(exchange: Exchange) -> Status:
    if exchange.error is None:
        return "ok"
    return "cancelled" if exchange.error in ("cancelled", "interrupted") else "failed"


def _count_tokens(record: Record, reply: Reply, count: Count | None) -> None:
    """Output tokens: the server's usage first; else a tokenizer's count of the text; else one token an event, said to
    be an estimate, as is the planned length of the input. With a tokenizer, an input that nobody counted is unknown."""
    usage = reply.usage
    record.cached_tokens = usage.cached
    record.reasoning_tokens = usage.reasoning
    record.cache_write_tokens = usage.written
    if usage.output is not None:
        record.input_tokens, record.output_tokens = usage.input, usage.output
        record.tokens_source = "server"
    elif record.status == "ok":
        text = reply.reasoning + reply.text
        record.input_tokens = usage.input
        if count is None and usage.input is None:
            record.input_tokens = record.planned_input  # told as an estimate; a tokenizer's record has no estimates
        record.output_tokens = record.chunks if count is None else count(text)
        record.tokens_source = "estimate" if count is None else "tokenizer"
    if reply.event_tokens is not None and len(reply.event_tokens) == record.chunks:
        record.chunk_tokens = reply.event_tokens
