"""Heads of messages as a proxy passes them on: all but what belongs to one hop (RFC 9110, section 7.6.1)."""

from __future__ import annotations

from collections.abc import Iterable

Field = tuple[bytes, bytes]  # name and value

_HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade"}
_KEPT = {b"content-length", b"content-encoding", b"content-type", b"transfer-encoding"}  # whatever Connection names


def passed_on(fields: Iterable[Field]) -> list[Field]:
    """The fields for the next hop, in their order and spelling.

    Connection goes, all it names, `Proxy-*`, and what concerns one connection anyhow. Two things are the same on the
    next hop and so are told again: the framing (Transfer-Encoding), and whether the connection closes or stays, since
    the proxy's connections on both sides end together.
    """
    fields = list(fields)
    told = [value.lower() for name, value in fields if name.lower() == b"connection"]
    options = [option.strip() for option in b",".join(told).split(b",")]
    dropped = _HOP | (set(options) - _KEPT)
    kept = [(name, value) for name, value in fields if _stays(name.lower(), dropped)]
    return kept + [(b"Connection", option) for option in (b"close", b"keep-alive") if option in options]


def _stays(name: bytes, dropped: set[bytes]) -> bool:
    return name not in dropped and not name.startswith(b"proxy-")


class Head:
    """The head of an answer, from its raw bytes with the empty line at their end.

    Raises:
        ValueError: it is none.
    """

    def __init__(self, raw: bytes) -> None:
        first, *lines = raw[:-4].split(b"\r\n")
        self.first = first
        try:
            self.status = int(first.split(b" ", 2)[1])
        except (IndexError, ValueError):
            raise ValueError(f"{first[:60]!r} is no status line") from None
        fields: list[Field] = []
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or line[:1] in (b" ", b"\t"):
                raise ValueError(f"{line[:60]!r} is no header")
            fields.append((name, value.strip(b" \t")))
        self.fields = fields

    def values(self, wanted: bytes) -> bytes:
        """All values of a field, comma between, in lower case."""
        return b",".join(value for name, value in self.fields if name.lower() == wanted).lower()

    def encoded(self) -> bytes:
        """As it goes to the next hop."""
        lines = [self.first, *(name + b": " + value for name, value in passed_on(self.fields))]
        return b"\r\n".join(lines) + b"\r\n\r\n"
