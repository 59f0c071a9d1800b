"""An optional tokenizer of the user's: counts tokens of servers that do not."""

from __future__ import annotations

from harness.errors import ConfigError, MissingExtra
from harness.load.ledger import Count


def counter(path: str | None) -> Count | None:
    """A function from text to its number of tokens; None where no tokenizer is configured.

    Raises:
        MissingExtra: the package `tokenizers` is not installed.
        ConfigError: the file cannot be read.
    """
    if path is None:
        return None
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError as error:
        raise MissingExtra("backend.tokenizer", "tokenizers") from error
    try:
        tokenizer = Tokenizer.from_file(path)
    except Exception as error:  # the package raises plain Exception for files it cannot read
        raise ConfigError("backend.tokenizer", f"cannot read {path}: {error}") from error
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
