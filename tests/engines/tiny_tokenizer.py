"""A small byte-level BPE tokenizer in the manner of GPT-2, trained here and now on a page of plain words.

Everything is deterministic: the same source gives the same vocabulary and the same merges on every machine.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

PAD, BOS, START, END = SPECIALS = ("<|pad|>", "<|bos|>", "<|im_start|>", "<|im_end|>")

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}"
)

_PAGE = """
a able about above across add after again against all almost along already also always among an and
another answer any are around as ask at away back balance be because become been before begin behind being
below best better between big board body book both branch bridge bring build but by call came can carry
change child city clear close cloud cold come common could country cover cross dark day deep did different
do does done door down draw dry during each early earth east easy end enough even evening ever every
example eye face fact fall family far farm feel few field find fire first fish five floor flow follow food
for form found four free fresh friend from front full garden gather gave get give glass go gold gone good
grass great green ground group grow had half hand happen hard has have he head hear heart heavy held help
her here high hill him his hold home horse hot hour house how hundred idea if in into is island it its
join just keep key kind king knew know lake land large last late laugh law lead leaf learn least left less
let letter life light like line list listen little live long look low made main make man many map mark
market may mean measure men might mile milk mind minute miss money moon more morning most mother mountain
move much music must name near need never new next night no north not note nothing now number of off often
old on once one only open or order other our out over own page paper part pass path pattern people perhaps
person picture piece place plain plan plant play point port power press question quick quiet rain ran
reach read ready real red remember rest ride right river road rock room round row rule run said sail salt
same sand saw say school sea season second see seed seem sell send set seven shall she ship short should
show side silver simple since sing six size sky sleep slow small snow so soft some song soon sound south
space speak spring stand star start state stay steel step still stone stop story street strong such summer
sun sure table take talk teach tell ten than that the their them then there these they thing think this
those though thought three through time to today together told too top town trade travel tree true try
turn two under until up upon us use valley very voice wait walk wall want warm was watch water way we wear
weather week well went were west what wheel when where which while white who whole why wide will wind
window winter with wood word work world would write year yes yet you young your system user assistant
"""
WORDS = _PAGE.split()

# Runs of letters or digits with the blank before them, marks, and blanks: GPT-2's split, for ASCII text.
_PIECES = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")


def byte_letters() -> dict[int, str]:
    """GPT-2's bijection from bytes to characters: bytes that do not print are moved above U+00FF."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in printable}
    hidden = (byte for byte in range(256) if byte not in letters)
    return letters | {byte: chr(0x100 + place) for place, byte in enumerate(hidden)}


@dataclass(frozen=True)
class Tokenizer:
    """The vocabulary in order of id (specials, the 256 bytes, one token a merge), and the merges."""

    tokens: list[str]
    merges: list[tuple[str, str]]

    @cached_property
    def ids(self) -> dict[str, int]:
        return {token: place for place, token in enumerate(self.tokens)}

    @cached_property
    def visible(self) -> list[bool]:
        """For each id: whether its text is printable ASCII, so that it can be streamed on its own."""
        byte_of = {letter: byte for byte, letter in byte_letters().items()}
        return [
            token not in SPECIALS and all(0x20 <= byte_of[letter] < 0x7F for letter in token) for token in self.tokens
        ]

    def huggingface(self) -> dict[str, Any]:
        """The content of `tokenizer.json`."""
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
        flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": [{"id": self.ids[text], "content": text, **flags} for text in SPECIALS],
            "normalizer": None,
            "pre_tokenizer": byte_level,
            "post_processor": None,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": self.ids,
                "merges": [list(pair) for pair in self.merges],
            },
        }


def train(most_tokens: int = 1200) -> Tokenizer:
    """Learn merges until every word of the page is one token, or there are `most_tokens` of them."""
    letters = byte_letters()
    page = " ".join([*WORDS, *(word.capitalize() for word in WORDS[::9]), "0 1 2 3 4 5 6 7 8 9 . , ? !"])
    counts = Counter(_PIECES.findall(page))
    words = [([letters[byte] for byte in piece.encode()], count) for piece, count in counts.items()]
    tokens = [*SPECIALS, *sorted(letters.values())]
    merges: list[tuple[str, str]] = []
    while len(tokens) < most_tokens:
        pairs: Counter[tuple[str, str]] = Counter()
        for parts, count in words:
            for pair in pairwise(parts):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        if "".join(best) not in tokens:
            tokens.append("".join(best))
        words = [(_merged(parts, best), count) for parts, count in words]
    return Tokenizer(tokens, merges)


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out
