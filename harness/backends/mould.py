"""Events that differ in one text alone.

While tokens stream, an event has the bytes of the one before, but for the text in it. Once what surrounds the text has
been read, the texts are all that is left to read, many at a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from harness.backends.reading import UNREADABLE

_TEXT = re.compile(rb'"(?:content|text)": ?"((?:[^"\\]|\\.)*)"')
_read_text = msgspec.json.Decoder(str).decode
_read_texts = msgspec.json.Decoder(list[str]).decode


class Mould:
    """The bytes around the text in events of one answer."""

    __slots__ = ("_after", "_before", "_between", "_inside")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before, self._after = before, after
        self._between = after + before
        self._inside = slice(len(before), -len(after))

    @classmethod
    def of(cls, data: bytes) -> Mould | None:
        """By the first text of an event's JSON. Whether that is what the event says, `cast` lets one find out."""
        found = _TEXT.search(data)
        return cls(data[: found.start(1)], data[found.end(1) :]) if found else None

    def cast(self, text: bytes) -> bytes:
        """An event with this text, as JSON spells it."""
        return self._before + text + self._after

    def texts(self, data: Sequence[bytes]) -> list[str]:
        """The texts of as many events at the beginning of `data` as are of this mould."""
        if not self._fits(data[0]):
            return []
        inside = self._inside
        texts = [each[inside] for each in data]
        if b"".join(data) != self.cast(self._between.join(texts)):  # as long, each of them: so it is each that differs
            return self.texts(data[: next(at for at, each in enumerate(data) if not self._fits(each))])
        return _read(texts)

    def _fits(self, data: bytes) -> bool:
        around = len(self._between)
        return len(data) >= around and data.startswith(self._before) and data.endswith(self._after)


def _read(texts: list[bytes]) -> list[str]:
    """What these are inside quotes in JSON, up to the first that is none."""
    joined = b'","'.join(texts)
    if joined.count(b'"') == 2 * len(texts) - 2:  # none has a quote of its own
        try:
            return _read_texts(b'["%b"]' % joined) if texts else []
        except UNREADABLE:
            pass
    read = []
    for text in texts:
        try:
            read.append(_read_text(b'"%b"' % text))
        except UNREADABLE:
            break
    return read
