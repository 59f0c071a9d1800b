"""Secret references and redaction: keys come from the environment or a file and never reach disk.

A secret is written in a config as `env:NAME` or `file:PATH`. What is kept and printed is the reference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

from harness.errors import ConfigError

MASK = "***"
_PATTERNS = re.compile(
    r"(?i)(bearer\s+|(?:api[-_]?key|token|secret|password|authorization)[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic)\s+)?)"
    r"(?!env:|file:)([^\s\"',;}]{6,})|\b(sk-[A-Za-z0-9_-]{8,})"
)


def resolve(reference: str, *, path: str) -> str:
    """The value behind `env:NAME` or `file:PATH`. `path` is the config key, for the error message.

    Raises:
        ConfigError: a literal was given, or the variable or file is missing or empty.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "env" and rest:
        value = os.environ.get(rest, "")
        if not value:
            raise ConfigError(path, f"environment variable {rest} is not set", remedy=f"export {rest}=...")
    elif scheme == "file" and rest:
        try:
            value = Path(rest).expanduser().read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(path, f"cannot read {rest}: {error.strerror}") from error
        if not value:
            raise ConfigError(path, f"{rest} is empty")
    else:
        raise ConfigError(
            path,
            "a secret must be a reference, so that it is never stored in results",
            remedy="write env:NAME or file:PATH",
        )
    return value


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with known secrets, and whatever looks like one, masked."""
    for secret in secrets:
        if len(secret) >= 4:
            text = text.replace(secret, MASK)
    return _PATTERNS.sub(lambda m: MASK if m[3] else f"{m[1]}{MASK}", text)
