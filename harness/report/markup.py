"""Foreign text in Markdown."""

from __future__ import annotations

import re

_ACTIVE = re.compile(r"([\\`*_\[\]<>|#~&@])")


def escape(text: str) -> str:
    """Foreign text without any Markdown or HTML meaning. A link without markup is broken before its `//`."""
    return _ACTIVE.sub(r"\\\1", text).replace("://", ":\\//")
