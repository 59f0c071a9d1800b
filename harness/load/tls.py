"""TLS on the harness wire: the same connection, with an in-memory TLS engine between socket and answer.

The kernel stamps the segment that carried the record, so stamps stay as true as on plain TCP.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from harness.errors import ConfigError
from harness.load.connection import Connection

if TYPE_CHECKING:
    from harness.load.exchange import Exchange
    from harness.load.harness_wire import HarnessWire


def context_for(verify: bool | str) -> ssl.SSLContext:
    """An SSL context: the system's authorities, a bundle of the user's, or no check at all.

    Raises:
        ConfigError: the bundle cannot be read.
    """
    try:
        context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("backend.verify", f"cannot read {verify}: {error.strerror or error}") from error
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class TlsConnection(Connection):
    """A connection that speaks TLS. `_established` comes after the handshake."""

    __slots__ = ("_incoming", "_outgoing", "_tls")

    def __init__(self, wire: HarnessWire) -> None:
        assert wire.tls_context is not None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = wire.tls_context.wrap_bio(self._incoming, self._outgoing, server_hostname=wire.server_name)
        super().__init__(wire)

    def _established(self) -> None:
        self._handshake()

    def _handshake(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            self._flush()
            self.lost("tls_failed", getattr(error, "verify_message", None) or error.reason or str(error))
            return
        self._flush()
        if self._fd >= 0:
            super()._established()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data:
            super().write(data)

    def write(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def received(self, data: bytes, stamp: int) -> None:
        if not data:
            if not self.open:
                self.lost("tls_failed", "the connection was closed during the handshake")
            else:
                super().received(b"", stamp)
            return
        if self.exchange is not None:
            self.exchange.bytes_framed += len(data)
        self._incoming.write(data)
        if not self.open:
            self._handshake()
            if not self.open:
                return
        self._decrypt(stamp)

    def _stream(self, exchange: Exchange) -> None:
        """Nothing changes: what streams has to be decrypted."""

    def _decrypt(self, stamp: int) -> None:
        plain = []
        ended = False
        try:
            while chunk := self._tls.read(262_144):
                plain.append(chunk)
            ended = True  # an orderly close_notify
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            ended = True
        except ssl.SSLError as error:
            self.lost("tls_failed", error.reason or str(error))
            return
        self._flush()
        whole = b"".join(plain)
        if whole:
            if self.exchange is not None:
                self.exchange.bytes_framed -= len(whole)  # counted on the wire, above
            super().received(whole, stamp)
        if ended and self.open:
            super().received(b"", stamp)
