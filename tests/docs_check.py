"""Check that what the documents show is there: links, files, commands with their options, configs.

    python tests/docs_check.py [FILE ...]      default: README.md, CHANGELOG.md, docs/**/*.md

Prints one line a problem, `file:line: what`, and exits 1 where there is any.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness.config import Experiment
from harness.errors import HarnessError

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
NAMED = re.compile(r"(?:^|[\s`'\"=])((?:configs|docker|docs|harness|tests)/[\w./-]*\w)(?=$|[\s`'\",:;)])")
ABROAD = ("http://", "https://", "mailto:")


@dataclass(frozen=True)
class Block:
    """A fenced block, or the text between two (`kind` is then empty). `line` is that of its first line."""

    kind: str
    line: int
    lines: list[str]


def blocks(text: str) -> Iterator[Block]:
    """The document in its parts, in order."""
    kind, begin, lines = "", 1, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.lstrip().startswith("```"):
            lines.append(line)
            continue
        yield Block(kind, begin, lines)
        kind, begin, lines = ("" if kind else line.strip().strip("`").split(" ")[0] or "text"), number + 1, []
    yield Block(kind, begin, lines)


def problems(path: Path) -> Iterator[tuple[int, str]]:
    """(line, what is wrong) of one document."""
    for block in blocks(path.read_text(encoding="utf-8")):
        for number, line in enumerate(block.lines, block.line):
            if not block.kind:
                yield from ((number, what) for what in broken_links(path, line))
            if block.kind in ("", "bash", "console", "yaml"):
                missing = (name for name in NAMED.findall(line) if not (ROOT / name).exists())
                yield from ((number, f"there is no {name}") for name in missing)
        if block.kind in ("bash", "console"):
            yield from broken_commands(block)
        if block.kind == "yaml":
            yield from broken_config(block)


def broken_links(path: Path, line: str) -> Iterator[str]:
    for link, image in LINK.findall(line):
        target, _, anchor = (link or image).partition("#")
        if target.startswith(ABROAD):
            continue
        file = path.parent / target if target else path
        if not file.exists():
            yield f"broken link: {target}"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            yield f"no heading for #{anchor} in {file.relative_to(ROOT)}"


@cache
def anchors(path: Path) -> frozenset[str]:
    """The headings of a document as GitHub makes anchors of them."""
    text = (line for block in blocks(path.read_text(encoding="utf-8")) if not block.kind for line in block.lines)
    titles = (line.lstrip("#").strip().lower() for line in text if line.startswith("#"))
    return frozenset(re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles)


def broken_commands(block: Block) -> Iterator[tuple[int, str]]:
    """Commands of ours: `harness` verbs with all their options, `make` targets."""
    joined = "\n".join(block.lines).replace("\\\n", "  ")
    for number, line in enumerate(joined.splitlines(), block.line):
        try:
            words = shlex.split(line.removeprefix("$ "), comments=True)
        except ValueError as error:
            yield number, f"cannot be read as a command: {error}"
            continue
        for command in split(words):
            if command[0] == "harness" and len(command) > 1 and not command[1].startswith("-"):
                yield from ((number, what) for what in unknown_options(command[1], command[2:]))
            if command[0] == "make":
                goals = [word for word in command[1:] if "=" not in word and not word.startswith("-")]
                unknown = set(goals) - targets()
                yield from ((number, f"make has no target {goal}") for goal in sorted(unknown))


def split(words: list[str]) -> Iterator[list[str]]:
    """The commands of a line, without variables set before them, and up to a pipe or a redirection."""
    command: list[str] = []
    for word in [*words, ";"]:
        if word in ("|", "&&", "||", ";", "&", ">", "2>", ">>", "<"):
            if command:
                yield command
            command = []
        elif command or not re.fullmatch(r"[A-Z_]+=.*", word):
            command.append(word)


def unknown_options(verb: str, words: list[str]) -> Iterator[str]:
    text = usage(verb)
    if text is None:
        yield f"harness has no verb {verb}"
        return
    known = set(re.findall(r"(?<![\w-])--?[a-zA-Z][\w-]*", text))
    options = (word.partition("=")[0] for word in words)
    for option in options:
        if re.fullmatch(r"--?[a-zA-Z][\w-]*", option) and option not in known:
            yield f"harness {verb} has no option {option}"


@cache
def usage(verb: str) -> str | None:
    """The help of a verb, or None where there is no such verb."""
    command = [sys.executable, "-m", "harness", verb, "--help"]
    plain = os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    shown = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
    return shown.stdout + shown.stderr if shown.returncode == 0 else None


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def broken_config(block: Block) -> Iterator[tuple[int, str]]:
    """A block with a workload is a whole config and must be valid; others must at least be YAML."""
    try:
        content = yaml.safe_load("\n".join(block.lines))
        if isinstance(content, dict) and "workload" in content:
            Experiment.model_validate(content)
    except (yaml.YAMLError, ValidationError, HarnessError) as error:
        yield block.line, f"not a valid config: {' '.join(str(error).split())[:300]}"


def main(names: list[str]) -> int:
    documents = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]
    found = 0
    for path in [Path(name).resolve() for name in names] or documents:
        for line, what in problems(path):
            found += 1
            print(f"{path.relative_to(ROOT)}:{line}: {what}")
    print(f"{found} problems" if found else "documents: all links, commands and configs hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
