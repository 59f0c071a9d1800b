"""Writers of the two files a tiny model needs: GGUF (version 3) and safetensors. float32 only, numpy only.

Formats: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md and
https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_ALIGN = 32
_I32, _F32, _BOOL, _TEXT, _LIST, _U32 = 5, 6, 7, 8, 9, 4


def write_gguf(path: Path, fields: dict[str, Any], tensors: dict[str, Array]) -> None:
    """Write metadata `fields` and `tensors` (in their order) as one GGUF file."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    head += b"".join(_text(key) + _typed(value) for key, value in fields.items())
    offset = 0
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]  # GGUF names the fastest dimension first
        head += _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        offset += _padded(tensor.nbytes)
    with path.open("wb") as file:
        file.write(head.ljust(_padded(len(head)), b"\0"))
        for tensor in tensors.values():
            file.write(tensor.tobytes().ljust(_padded(tensor.nbytes), b"\0"))


def write_safetensors(path: Path, tensors: dict[str, Array]) -> None:
    """Write `tensors` as one safetensors file."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors.items():
        span = [offset, offset + tensor.nbytes]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": span}
        offset = span[1]
    text = json.dumps(header).encode()
    text = text.ljust(-(-len(text) // 8) * 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.tobytes())


def _padded(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> tuple[int, bytes]:
    """(GGUF type, bytes) of one metadata value. Whole numbers are u32, or i32 in a list."""
    match value:
        case bool():
            return _BOOL, struct.pack("<?", value)
        case int():
            return _U32, struct.pack("<I", value)
        case float():
            return _F32, struct.pack("<f", value)
        case str():
            return _TEXT, _text(value)
        case [int(), *_]:
            return _LIST, struct.pack(f"<IQ{len(value)}i", _I32, len(value), *value)
        case [str(), *_]:
            return _LIST, struct.pack("<IQ", _TEXT, len(value)) + b"".join(map(_text, value))
    raise TypeError(f"no GGUF type for {value!r}")


def _typed(value: Any) -> bytes:
    kind, data = _value(value)
    return struct.pack("<I", kind) + data
