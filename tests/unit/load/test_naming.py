"""Each request carries its record's id, also to servers that take only a UUID."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from harness.config import Experiment
from harness.load.fleet import Fleet
from harness.load.messages import WorkerSpec
from harness.load.naming import request_id
from harness.load.reach import reach

HEADER = re.compile(rb"^x-request-id: (\S+)\r$", re.MULTILINE | re.IGNORECASE)


def test_names() -> None:
    assert request_id("run-s1-turn-1", as_uuid=False) == "run-s1-turn-1"
    first, again, second = (request_id(name, as_uuid=True) for name in ("a", "a", "b"))
    assert first == again != second
    assert str(UUID(first)) == first


def test_a_server_that_takes_only_uuids(serve: Any, tmp_path: Path) -> None:
    """As llama-cpp-python's: 400 to anything else. Records hold the ids that were sent, and those waited for."""

    def script(peer: Any) -> None:
        while request := peer.request():
            if request.startswith(b"GET "):
                peer.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                continue
            UUID((HEADER.search(request) or [b""] * 2)[1].decode(), version=4)
            asked = json.loads(request.partition(b"\r\n\r\n")[2])
            usage = {"prompt_tokens": 3 + len(asked["messages"][0]["content"].split()), "completion_tokens": 1}
            body = json.dumps({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], "usage": usage})
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            peer.send(head.encode() + body.encode())

    server = serve(script)
    asked = Experiment.model_validate(
        {
            "backend": {"kind": "openai", "url": server.url, "model": "tiny", "request_ids": "uuid"},
            "workload": {"kind": "chat", "turns": 2, "think": 0, "output_tokens": 1},
            "load": {"concurrency": 1, "sessions": 2},
        }
    )
    found = reach(asked, asked.backend)
    assert found.endpoint.request_ids == "uuid"
    probes = len(server.requests)
    with Fleet(1) as fleet:
        fleet.brief(
            [
                WorkerSpec(
                    experiment=asked.model_dump(mode="json"),
                    shard=0,
                    shards=1,
                    target=found.target,
                    endpoint=found.endpoint,
                    run_id="run",
                    records_path=str(tmp_path / "records-0.jsonl"),
                    text_calibration=msgspec.to_builtins(found.calibration),
                    run_nonce="",
                )
            ]
        )
        fleet.play(lambda *_: None)
    records = [json.loads(line) for line in (tmp_path / "records-0.jsonl").read_text().splitlines()]
    assert [record["status"] for record in records] == ["ok"] * 4
    sent = [(HEADER.search(request) or [b""] * 2)[1].decode() for request in server.requests[probes:]]
    assert sorted(sent) == sorted(record["id"] for record in records)
    assert all(str(UUID(name)) == name for name in sent)
    for record in records:
        earlier = {other["id"] for other in records if other["session"] == record["session"]}
        assert set(record["after"]) <= earlier and bool(record["after"]) == (record["node"] == "turn-2")
