"""JSON as it is kept in files and told on standard output: indented by two."""

from __future__ import annotations

from typing import Any

import msgspec


def indented(found: Any) -> bytes:
    """`found` as one JSON document, without a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(found), indent=2)
