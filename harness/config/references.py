"""Secrets in configs: where they may stand, that only references stand there, and what is behind them.

A reference is `env:NAME` or `file:PATH`. Configs, plans, results and error messages hold the reference; only the
request holds the secret.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness import secrets

if TYPE_CHECKING:
    from harness.config.experiment import BackendConfig

LITERAL = "a secret must be a reference, so that it is never stored: write env:NAME or file:PATH"

_REFERENCE = re.compile(r"(?:env|file):\S.*")
_SECRET_NAME = re.compile(
    r"(?i)(?:^|[-_])auth(?:$|[-_])|authoriz|cookie|token(?!s|iz)|secret|passw|credential|api[-_]?key|[-_]key$|^key$"
)


def is_reference(text: str) -> bool:
    """Whether `text` is `env:NAME` or `file:PATH`."""
    return _REFERENCE.fullmatch(text) is not None


def names_a_secret(name: str) -> bool:
    """Whether a header or variable of that name usually holds a secret."""
    return _SECRET_NAME.search(name) is not None


def check_names(values: dict[str, str]) -> dict[str, str]:
    """`values`, unless one has the name of a secret and holds no reference.

    Raises:
        ValueError: naming it, but not its value.
    """
    for name, value in values.items():
        if names_a_secret(name) and not is_reference(value):
            raise ValueError(f"{name} looks like a secret; {LITERAL}")
    return values


def check_url(url: str) -> str:
    """`url`, if it is one for HTTP with a host and without a password.

    Raises:
        ValueError: it is not; a password in it is not repeated.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not a URL: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL must not hold a user or password: use api_key or headers")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{url!r} is not an http:// or https:// URL")
    if not host or re.search(r"\s", url):
        raise ValueError(f"{url!r} is not a URL with a host")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r}: a base URL has no ? or # part")
    return url


def api_key(backend: BackendConfig) -> str | None:
    """The API key itself, or None where none is configured.

    Raises:
        ConfigError: the variable or file is missing or empty.
    """
    return None if backend.api_key is None else secrets.resolve(backend.api_key, path="backend.api_key")


def headers(backend: BackendConfig) -> dict[str, str]:
    """The further headers with what is behind their references.

    Raises:
        ConfigError: a variable or file is missing or empty.
    """
    return _resolved(backend.headers, "backend.headers")


def launch_env(backend: BackendConfig) -> dict[str, str]:
    """The launched server's further environment variables with what is behind their references.

    Raises:
        ConfigError: a variable or file is missing or empty.
    """
    return _resolved(backend.launch.env, "backend.launch.env") if backend.launch else {}


def resolve_all(backend: BackendConfig) -> list[str]:
    """All secrets of the section, so that a missing one is found before the first request, and for redaction.

    Raises:
        ConfigError: a variable or file is missing or empty.
    """
    found = [key] if (key := api_key(backend)) is not None else []
    for configured, actual in (
        (backend.headers, headers(backend)),
        (backend.launch.env if backend.launch else {}, launch_env(backend)),
    ):
        found += [actual[name] for name in configured if actual[name] != configured[name]]
    return found


def _resolved(values: dict[str, str], path: str) -> dict[str, str]:
    return {
        name: secrets.resolve(value, path=f"{path}.{name}") if is_reference(value) else value
        for name, value in values.items()
    }
