"""Where the proxy sends requests on to."""

from __future__ import annotations

import ssl
from urllib.parse import urlsplit

from harness.errors import UsageError


class Target:
    """The endpoint of an URL. Raises UsageError where `url` is no http(s) URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--target {url!r} is no URL", remedy="give one such as http://127.0.0.1:8000/v1")
        try:
            port = parts.port
        except ValueError as error:
            raise UsageError(f"--target: {error}") from None
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        self.host = parts.hostname
        self.port = port or (443 if self.tls else 80)
        self.path = parts.path.rstrip("/")
        self.authority = parts.netloc.rpartition("@")[2].encode("latin-1")
