"""How a model's weights are held: as the engine tells it, as it was started, or else as the model's name says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

_OPTIONS = ("--quantization", "-q", "--dtype")  # of vLLM and SGLang; the first that is given
_NAMED = re.compile(
    r"(?<![a-z0-9])("
    r"i?q[1-8]_(?:k(?:_(?:xs|s|m|l|xl))?|[01]|xxs|xs|nl|s|m)"  # llama.cpp: Q4_K_M, Q8_0, IQ2_XS
    r"|(?:bf|fp|f|int|nf|nvfp|mxfp)(?:4|6|8|16|32)"
    r"|w\d+a\d+|[2-8]-?bit|awq|gptq|hqq|exl[23]"
    r")(?![a-z0-9])",
    re.IGNORECASE,
)
_FILLER = ("all ", "mostly ")  # llama.cpp: `all F32`, `mostly Q4_0`


def precision(model: str, config: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """`Q4_K_M`, `fp8`, `AWQ`; empty where nothing tells it.

    Args:
        model: what the requests ask for.
        config: the resolved config of the run.
        facts: what the server told of itself (`target.facts` of the manifest).
    """
    told = facts.get("model_ftype")
    if isinstance(told, str) and told:
        for filler in _FILLER:
            told = told.removeprefix(filler)
        return told
    backend = config.get("backend")
    backend = backend if isinstance(backend, Mapping) else {}
    launch = backend.get("launch")
    launch = launch if isinstance(launch, Mapping) else {}
    given = _options([str(word) for word in launch.get("args") or ()])
    for option in _OPTIONS:
        if given.get(option, "auto") != "auto":
            return given[option]
    for name in (launch.get("model"), facts.get("model_path"), facts.get("root"), backend.get("model"), model):
        if isinstance(name, str) and (found := _NAMED.search(name.rpartition("/")[2])):
            return found[1].upper()
    return ""


def _options(words: Sequence[str]) -> dict[str, str]:
    """Options with their values, written `--dtype fp8` or `--dtype=fp8`."""
    given = {}
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        name, equals, value = word.partition("=")
        given[name] = value if equals else following
    return given
