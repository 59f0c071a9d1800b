"""A record: everything known about one finished request. One JSON object a line in `records-<k>.jsonl`.

All `*_ns` are nanoseconds on the run's monotonic axis (0 = start of load); `chunk_us` are microseconds from
`sent_ns`, one for each event that carried output. Unknown is `None`, never 0.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SCHEMA = 1

Phase = Literal["warmup", "measure", "drain"]
Status = Literal["ok", "failed", "cancelled"]
TokensSource = Literal["server", "tokenizer", "estimate"]
ClockKind = Literal["kernel", "user"]


class Record(msgspec.Struct, kw_only=True, gc=False):
    """One request, as it happened.

    `after` holds the ids of the requests it waited for, so that session metrics come from records alone;
    `session_requests` is how many requests the plan gives its session, which tells a whole session from a cut one.
    `error` is one of the error names of `docs/errors.md`, e.g. `timeout`, `http_500`, `truncated_stream`.
    """

    schema: int = SCHEMA
    id: str
    session: str
    session_requests: int | None = None
    node: str
    after: list[str] = []
    gap_ns: int = 0
    agent: str = "main"
    depth: int = 0
    kind: str = ""
    attempt: int = 1
    worker: int = 0
    intended_ns: int = 0
    sent_ns: int | None = None
    connected_ns: int | None = None  # when a new connection was ready; None: an open one was used again
    connect_ns: int | None = None  # how long TCP + TLS took, where a new connection was made for it
    first_byte_ns: int | None = None
    first_token_ns: int | None = None  # first generated output of any kind
    first_output_ns: int | None = None  # first output that is not reasoning
    last_token_ns: int | None = None
    end_ns: int = 0
    clock: ClockKind = "user"
    coalesced: int = 0  # events that shared a read with a later one: their stamp is an upper bound
    status: Status = "ok"
    error: str | None = None
    error_detail: str | None = None  # first 2 KB of what the server said, redacted
    http_status: int | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_write_tokens: int | None = None  # of the input: written to a cache that bills for it
    tokens_source: TokensSource | None = None
    planned_input: int | None = None
    planned_output: int | None = None
    output_bytes: int = 0  # UTF-8 bytes of generated text
    chunks: int = 0  # events that carried output
    chunk_us: list[int] = []
    chunk_tokens: list[int] | None = None
    bytes_in: int = 0  # on the wire, headers included
    bytes_out: int = 0
    phase: Phase = "measure"
    server: dict[str, Any] | None = None


encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(Record).decode
