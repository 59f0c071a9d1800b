"""The simulated engine as a backend: a process of its own for as long as it is needed."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import httpx
import pytest

from harness.backends import sim as sim_module
from harness.backends.sim import Sim
from harness.errors import TargetError


def listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0]))) == 0


def test_it_is_up_inside_the_block_and_gone_after_it(tmp_path: Path) -> None:
    params = Sim.Params(ttft="2ms", itl="1ms", model="any", truth=str(tmp_path / "truth.jsonl"), sim_seed=3)
    with Sim(params).launch() as launched:
        assert launched.model == "any" and params.url is None
        assert launched.url is not None
        answer = httpx.get(f"{launched.url}/models", trust_env=False)
        assert answer.status_code == 200 and answer.json()["data"]
        url = launched.url
    assert not listens(url)
    assert (tmp_path / "truth.jsonl").exists()


def test_it_ends_with_the_block_whatever_happens_there() -> None:
    urls: list[str] = []

    def fail() -> None:
        with Sim(Sim.Params(ttft=0, itl=0)).launch() as launched:
            urls.append(str(launched.url))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not listens(urls[0])


def test_one_that_runs_already_is_used_as_it_is() -> None:
    params = Sim.Params(url="http://127.0.0.1:9/v1")
    with Sim(params).launch() as launched:
        assert launched is params


def test_options_reach_the_command_line() -> None:
    params = Sim.Params(profile="some", sim_seed=7, options=["--role-first"])
    words = Sim(params)._arguments()
    assert words[words.index("--profile") + 1] == "some"
    assert words[words.index("--seed") + 1] == "7"
    assert words[words.index("--parent-pid") + 1] == str(os.getpid())
    assert words[-1] == "--role-first" and "--ttft" not in words and "--truth" not in words


def test_an_engine_that_does_not_start_says_why() -> None:
    with pytest.raises(TargetError, match=r"did not start: .*no-such-profile"):
        Sim(Sim.Params(profile="no-such-profile")).launch().__enter__()


def test_an_engine_that_stays_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sim_module, "_START_S", 0.05)
    with pytest.raises(TargetError, match="did not start"), Sim(Sim.Params()).launch():
        raise AssertionError("it started")
