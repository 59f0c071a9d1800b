"""What is written, and what never is: trace, journal, contents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.proxy.exchange import Exchange
from harness.proxy.journal import finish, path_of
from harness.proxy.scribe import Opening, Scribe

SECRET = "sk-never-to-be-seen"


def call(at: float, messages: list[dict[str, str]], said: str) -> Exchange:
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    body = json.dumps({"choices": [{"message": {"content": said}}], "usage": usage}).encode()
    head = b"HTTP/1.1 200 OK\r\nSet-Cookie: %b\r\nContent-Length: %d\r\n\r\n" % (SECRET.encode(), len(body))
    made = Exchange(at, end_s=at + 1, method=b"POST", url=b"/v1/chat/completions?key=" + SECRET.encode(), complete=True)
    made.session = SECRET
    made.request, made.answer = [json.dumps({"model": "m", "messages": messages}).encode()], [head + body]
    return made


@pytest.fixture
def scribe(tmp_path: Path, request: pytest.FixtureRequest) -> Scribe:
    contents = tmp_path / "t.jsonl.contents" if getattr(request, "param", False) else None
    opening = Opening(
        out=str(tmp_path / "t.jsonl"), contents=str(contents) if contents else None, idle_s=10, origin_s=0.0
    )
    made = Scribe(opening)
    talk = [{"role": "user", "content": "a question of mine"}]
    made.take(call(1.0, talk, "an answer of its own"))
    talk += [{"role": "assistant", "content": "an answer of its own"}, {"role": "user", "content": "and more"}]
    made.take(call(4.0, talk, "the end"))
    made.take(Exchange(5.0))
    return made


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_session_is_written_when_it_was_idle_for_long_enough(tmp_path: Path, scribe: Scribe) -> None:
    trace = tmp_path / "t.jsonl"
    scribe.passed(14.9)
    assert trace.read_bytes() == b""
    scribe.passed(15.1)
    (line,) = lines(trace)
    assert (line["start_ms"], [node["name"] for node in line["nodes"]]) == (1000, ["r1", "r2"])
    assert line["nodes"][1]["history"] == "r1" and line["nodes"][1]["gap_ms"] == 2000
    scribe.close()
    assert (scribe.tally.sessions, scribe.tally.calls, scribe.tally.unread) == (1, 2, 1)
    assert not path_of(trace).exists()


def test_nothing_that_was_said_and_no_secret_is_on_disk(tmp_path: Path, scribe: Scribe) -> None:
    for moment in ("while it runs", "at its end"):
        written = "".join(path.read_text() for path in tmp_path.iterdir())
        assert "r2" in written, moment
        for text in ("question", "answer", "and more", "the end", SECRET):
            assert text not in written, moment
        if path_of(tmp_path / "t.jsonl").exists():
            scribe.close()


@pytest.mark.parametrize("scribe", [True], indirect=True)
def test_contents_are_written_as_soon_as_they_are_known(tmp_path: Path, scribe: Scribe) -> None:
    first, second = lines(tmp_path / "t.jsonl.contents")
    assert (first["name"], first["messages"], first["answer"]) == (
        "r1",
        ["user\na question of mine"],
        "assistant\nan answer of its own",
    )
    assert second["name"] == "r2" and first["session"] == second["session"]
    assert SECRET not in (tmp_path / "t.jsonl.contents").read_text()
    scribe.close()


def test_the_journal_gives_the_same_trace(tmp_path: Path, scribe: Scribe) -> None:
    trace = tmp_path / "t.jsonl"
    kept = path_of(trace).read_bytes()
    scribe.close()
    whole = trace.read_bytes()
    for torn in (b"", b'{"session":"h-', b'{"session":"h-1"}'):
        path_of(trace).write_bytes(kept + torn)
        trace.write_bytes(b"half a")
        assert finish(trace) == (1, 2)
        assert trace.read_bytes() == whole and not path_of(trace).exists()


def test_a_journal_that_cannot_be_read(tmp_path: Path, scribe: Scribe) -> None:
    trace = tmp_path / "t.jsonl"
    journal = path_of(trace)
    journal.write_bytes(b"broken\n" + journal.read_bytes())
    with pytest.raises(UsageError, match="line 1"):
        finish(trace)
    assert journal.exists()
    journal.unlink()
    with pytest.raises(UsageError, match="no recording"):
        finish(trace)
