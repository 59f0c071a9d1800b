"""What the documents list is what there is: findings, fields of results, floors of the house, options of verbs."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import msgspec
import pytest
import typer

from harness.cli.app import app
from harness.judge.breach import ABORTED
from harness.metrics.rules import RULES
from harness.metrics.summary import Summary
from harness.records.record import Record

ROOT = Path(__file__).parents[2]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")}
CODE = re.compile(r'(?:\bcode=|"code": |_finding\(\s*|_notice\(\s*)"([a-z_]+)"')


def codes() -> set[str]:
    """Of all findings that can be made."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "harness").rglob("*.py")]
    return {rule.code for rule in RULES} | {ABORTED} | {code for text in sources for code in CODE.findall(text)}


def test_every_finding_is_documented() -> None:
    found = codes()
    assert {"send_lag", "engine_died", "shards_cut", "telemetry_gap", "decided"} <= found and len(found) > 40
    listed = set(re.findall(r"`([a-z_]+)`", DOCS["metrics.md"].partition("## Findings and verdict")[2]))
    assert sorted(found - listed) == []


def test_every_field_of_a_record_and_key_of_a_summary_is_documented() -> None:
    _, records, summary = re.split(r"## A record|## The summary", DOCS["results.md"])
    fields = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", records, re.MULTILINE)))
    assert sorted(fields) == sorted(field.name for field in msgspec.structs.fields(Record))
    keys = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (.*?) \|", summary, re.MULTILINE)))
    assert sorted([*keys, "schema"]) == sorted(field.name for field in msgspec.structs.fields(Summary))


def test_the_floors_are_those_that_are_checked() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    told = DOCS["development.md"].partition("```text\n__main__")[2].partition("```")[0]
    floors = contracts["importlinter:contract:house"]["layers"].replace("(", "").replace(")", "").split("\n")
    assert ["__main__", *told.split("\n")[1:-1]] == [floor.strip() for floor in floors if floor.strip()]


@pytest.mark.parametrize("verb", sorted(typer.main.get_command(app).commands))  # type: ignore[attr-defined]
def test_every_option_of_a_verb_is_documented(verb: str) -> None:
    command = typer.main.get_command(app).commands[verb]  # type: ignore[attr-defined]
    texts = "\n".join([*DOCS.values(), (ROOT / "README.md").read_text(encoding="utf-8")])
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", texts)) | {"--help", "--override", "--output", "--parent-pid"}
    options = [[*one.opts, *one.secondary_opts] for one in command.params if one.param_type_name == "option"]
    assert [names for names in options if not shown & {*names}] == []
