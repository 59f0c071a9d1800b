"""The plan's hash is in the manifest before the run has ended, and holds nothing up."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest

from harness.config import Experiment
from harness.load.logbook import LATER_NS, Logbook
from harness.plan import Plan, make_plan
from harness.records.folder import RunFolder
from harness.records.manifest import Manifest
from harness.workloads import Session


class Waiting:
    """A workload that makes no session before it may."""

    def __init__(self, plan: Plan) -> None:
        self._workload = plan.workload
        self.may = threading.Event()

    def session(self, seed: int, index: int) -> Session:
        assert self.may.wait(20)
        return self._workload.session(seed, index)


class Broken:
    def session(self, _seed: int, _index: int) -> Session:
        raise ZeroDivisionError


@pytest.fixture
def plan() -> Plan:
    sections = {"backend": {"kind": "sim"}, "workload": {"turns": 1}, "load": {"concurrency": 1, "sessions": 3}}
    return make_plan(Experiment.model_validate(sections))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path, "n")


def opened(folder: RunFolder, plan: Plan) -> Logbook:
    logbook = Logbook(folder, plan)
    logbook.manifest = Manifest(run_id="r", name="n", seed=1, started_at="")
    folder.write_manifest(logbook.manifest)
    return logbook


def test_the_hash_is_written_once_it_is_known(folder: RunFolder, plan: Plan) -> None:
    waiting = Waiting(plan)
    logbook = opened(folder, dataclasses.replace(plan, workload=waiting))
    for early_ns in (-1, 0, LATER_NS - 1):
        logbook.look(early_ns)
        assert logbook._hashing is None  # nothing is to hold the start up, nor to share a short load's cores
    logbook.look(LATER_NS)
    logbook.look(LATER_NS + 1)
    assert folder.read_manifest().plan_sha256 == ""
    waiting.may.set()
    assert logbook._hashing is not None
    logbook._hashing.join(20)
    logbook.look(LATER_NS + 2)
    told = folder.read_manifest()
    assert (told.plan_sha256, told.ended_at) == (plan.sha256, None)
    folder.manifest.unlink()
    logbook.look(LATER_NS + 3)
    assert not folder.manifest.exists()  # once


@pytest.mark.parametrize("looked", [False, True])
def test_the_end_waits_for_the_hash(folder: RunFolder, plan: Plan, looked: bool) -> None:
    waiting = Waiting(plan)
    logbook = opened(folder, dataclasses.replace(plan, workload=waiting))
    if looked:
        logbook.look(LATER_NS)
    threading.Timer(0.05, waiting.may.set).start()
    logbook.close([], {"cores": 2}, t0_ns=5, stolen=None)
    told = folder.read_manifest()
    assert told.plan_sha256 == plan.sha256 and told.ended_at is not None
    assert told.machine == {"cores": 2, "steal_share": None} and told.clock == {"t0_monotonic_ns": 5}


def test_what_goes_wrong_is_told_at_the_end(folder: RunFolder, plan: Plan) -> None:
    logbook = opened(folder, dataclasses.replace(plan, workload=Broken()))
    for t_ns in range(3):
        logbook.look(LATER_NS + t_ns)
    with pytest.raises(ZeroDivisionError):
        logbook.close([], {}, t0_ns=0, stolen=None)
