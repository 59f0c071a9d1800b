"""One request and its answer, as bytes."""

from __future__ import annotations

import msgspec


class Exchange(msgspec.Struct, eq=False):
    """Times are of the monotonic clock, in seconds. `answer` is raw: head, framing and all."""

    start_s: float
    end_s: float = 0.0
    method: bytes = b""
    url: bytes = b""
    session: str | None = None
    request_encoding: bytes = b""
    request: list[bytes] = []
    answer: list[bytes] = []
    complete: bool = False

    @property
    def wanted(self) -> bool:
        """Whether it is a model call."""
        path = self.url.partition(b"?")[0]
        return self.method == b"POST" and path.endswith((b"/completions", b"/messages"))
