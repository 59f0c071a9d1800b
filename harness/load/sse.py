"""Server-sent events out of pieces of bytes, each event with the stamp of the piece that ended it.

Follows the WHATWG event-stream format as far as inference servers use it: LF, CRLF and CR line ends, comments,
`data:` with and without a space, several data lines joined. Other fields are ignored: what an event is, its data says.
"""

from __future__ import annotations

MAX_EVENT_BYTES = 16 * 1024 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventTooLarge(Exception):
    """One event is larger than `MAX_EVENT_BYTES`."""


class EventStream:
    """An incremental reader. `feed` takes a piece and its stamp and gives the events that ended in it."""

    __slots__ = ("_data", "_kept", "_line", "_size", "_skip_lf", "_start")

    def __init__(self) -> None:
        self._line: list[bytes] = []  # of the line under way
        self._data: list[bytes] = []  # data lines of the event under way
        self._kept = 0  # bytes of those data lines
        self._size = 0  # and of the line under way
        self._skip_lf = False  # the last piece ended with CR: a LF that follows belongs to it
        self._start = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that ended in this piece, in order.

        Raises:
            EventTooLarge: an event grew beyond the limit.
        """
        if (
            piece.startswith(b"data:")
            and piece.endswith(b"\n\n")
            and piece.find(b"\n") == len(piece) - 2
            and b"\r" not in piece
            and not (self._line or self._data or self._skip_lf)
        ):  # by far the most common: one event, whole
            self._start = False
            return [piece[6:-2] if piece[5:6] == b" " else piece[5:-2]]
        return self._general(piece)

    def _general(self, piece: bytes) -> list[bytes]:
        if self._skip_lf and piece:
            self._skip_lf = False
            piece = piece.removeprefix(b"\n")
        events: list[bytes] = []
        if b"\r" in piece:
            self._skip_lf = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = piece.split(b"\n")
        for line in lines:
            if self._line:
                self._line.append(line)
                line = b"".join(self._line)  # noqa: PLW2901
                self._line.clear()
                self._size = self._kept
            if self._start:
                self._start = False
                line = line.removeprefix(_BYTE_ORDER_MARK)  # noqa: PLW2901
            if not line:
                if self._data:
                    events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data.clear()
                self._size = self._kept = 0
            elif line.startswith(b"data"):
                self._take(line)
        if rest:
            self._line.append(rest)
            self._grow(len(rest))
        return events

    def _take(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))
            self._grow(len(line))
            self._kept = self._size

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of more than {MAX_EVENT_BYTES // 2**20} MiB")

    def rest(self) -> bytes:
        """What is left over when the stream has ended: data of an event that no blank line ended."""
        tail = b"".join(self._line)
        if self._start:
            tail = tail.removeprefix(_BYTE_ORDER_MARK)
        if tail.startswith(b"data:"):
            self._data.append(tail[5:].removeprefix(b" "))
        self._line.clear()
        data = b"\n".join(self._data)
        self._data.clear()
        return data
