"""The step simulator on cases computed by hand. Times are virtual."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.sim.engine import Engine
from harness.sim.job import Job
from harness.sim.profile import Cache, Profile, Scheduler, StepTime

MS = 1_000_000


def make(**changes: int | bool) -> Profile:
    """10 ms a step, 1 ms a prefill token, 2 ms a decoding sequence, 0.1 ms a token of context."""
    return Profile(
        name="test",
        model="test",
        scheduler=Scheduler(
            max_num_seqs=int(changes.get("seqs", 4)),
            max_num_batched_tokens=int(changes.get("budget", 8)),
            max_model_len=int(changes.get("length", 16)),
        ),
        cache=Cache(
            block_size=4,
            num_blocks=int(changes.get("blocks", 64)),
            prefix_caching=bool(changes.get("prefix", False)),
        ),
        step=StepTime(base=0.010, prefill_token=0.001, decode_sequence=0.002, context_token=0.0001),
    )


@dataclass
class Drive:
    """Plays an engine on virtual time and notes when each token came."""

    engine: Engine
    now: int = 0
    tokens: dict[Job, list[float]] = field(default_factory=dict)
    steps: list[tuple[int, int]] = field(default_factory=list)

    def submit(self, prompt: int | list[object], target: int, at: float = 0.0, words: str = "w") -> Job:
        content = [f"{id(object())}-{k}" for k in range(prompt)] if isinstance(prompt, int) else prompt
        job = Job(content, target, spell=lambda k: f"{words}{k}", arrival_ns=round(at * MS))
        self.tokens[job] = []
        self.engine.submit(job)
        return job

    def step(self) -> bool:
        step = self.engine.begin(self.now)
        if step is None:
            return False
        self.steps.append((step.prefill_tokens, step.decoding))
        self.now = step.end_ns
        for job, count in self.engine.finish():
            self.tokens[job] += [self.now / MS] * count
        return True

    def run(self) -> None:
        while self.step():
            pass


def test_one_request_alone() -> None:
    drive = Drive(Engine(make()))
    job = drive.submit(5, 3)
    drive.run()
    # prefill 10 + 5; decode 10 + 2 + 0.1 * 5; decode 10 + 2 + 0.1 * 6
    assert drive.tokens[job] == pytest.approx([15.0, 27.5, 40.1])
    assert job.scheduled_ns == 0 and job.first_token_ns == 15 * MS
    assert drive.engine.pool.free == 64


def test_a_long_prompt_is_prefilled_in_chunks_of_the_budget() -> None:
    drive = Drive(Engine(make(length=64)))
    job = drive.submit(20, 1)
    drive.run()
    assert drive.steps == [(8, 0), (8, 0), (4, 0)]
    # 10 + 8, then 10 + 8 + 0.8, then 10 + 4 + 1.6
    assert drive.tokens[job] == pytest.approx([52.4])


def test_decoding_comes_first_and_prefill_gets_the_rest_of_the_budget() -> None:
    drive = Drive(Engine(make(length=64)))
    first = drive.submit(4, 5)
    drive.step()
    second = drive.submit(10, 1)
    drive.run()
    assert drive.steps[1:3] == [(7, 1), (3, 1)]
    # 14; then 10 + 7 + 2 + 0.1 * 4; then 10 + 3 + 2 + 0.1 * (5 + 7)
    assert drive.tokens[first][:3] == pytest.approx([14.0, 33.4, 49.6])
    assert drive.tokens[second] == pytest.approx([49.6])


def test_a_request_waits_for_a_place_first_come_first_served() -> None:
    drive = Drive(Engine(make(seqs=1)))
    jobs = [drive.submit(3, 2) for _ in range(3)]
    drive.run()
    # each: 10 + 3, then 10 + 2 + 0.3
    ends = [25.3, 50.6, 75.9]
    assert [drive.tokens[job][-1] for job in jobs] == pytest.approx(ends)
    assert [job.scheduled_ns for job in jobs] == pytest.approx([0, 25.3 * MS, 50.6 * MS])


def test_a_request_that_arrives_in_a_step_is_not_scheduled_before_it_arrived() -> None:
    drive = Drive(Engine(make()))
    job = drive.submit(3, 1, at=7)
    drive.run()
    assert job.scheduled_ns == 7 * MS


def test_the_last_admitted_is_preempted_and_recomputed_when_blocks_run_out() -> None:
    drive = Drive(Engine(make(blocks=4, budget=32)))
    old, young = drive.submit(7, 6), drive.submit(7, 6)
    drive.step()  # both prefilled, two blocks each: the cache is full
    drive.step()  # token 8 of each still fits its second block
    assert drive.engine.pool.usage == 1.0
    drive.step()  # token 9 of the old one needs a third block
    assert (old.preemptions, young.preemptions) == (0, 1)
    assert drive.engine.running == [old] and list(drive.engine.waiting) == [young]
    assert young.blocks == [] and drive.engine.pool.free == 1
    while old.live:
        drive.step()
    assert len(drive.tokens[young]) == 2
    drive.step()
    assert drive.steps[-1] == (9, 0)  # its prompt and the two tokens it had
    drive.run()
    assert len(drive.tokens[young]) == len(drive.tokens[old]) == 6
    assert drive.engine.counters.preemptions == 1 and drive.engine.pool.free == 4


def test_an_equal_prompt_is_found_in_the_prefix_cache_but_for_its_last_block() -> None:
    drive = Drive(Engine(make(prefix=True, length=64, budget=32)))
    prompt: list[object] = [f"p{k}" for k in range(12)]
    drive.submit(prompt, 1)
    drive.run()
    again = drive.submit(prompt, 1)
    drive.step()
    assert again.cached_tokens == 8  # the last token must be computed, so its block is too
    assert drive.steps[-1] == (4, 0)
    longer = drive.submit([*prompt, "more"], 1)
    drive.run()
    assert longer.cached_tokens == 12
    assert (drive.engine.counters.prefix_queries, drive.engine.counters.prefix_hits) == (12 + 12 + 13, 8 + 12)


def test_the_answer_is_found_when_the_conversation_goes_on() -> None:
    drive = Drive(Engine(make(prefix=True, length=64, budget=32)))
    prompt: list[object] = [f"p{k}" for k in range(6)]
    drive.submit(prompt, 7, words="a")
    drive.run()
    answer: list[object] = [f"a{k}" for k in range(7)]
    other = drive.submit([*prompt, "x", *answer], 1)
    follow = drive.submit([*prompt, *answer, "and", "then"], 1)
    drive.run()
    assert follow.cached_tokens == 12  # 13 known, three full blocks
    assert other.cached_tokens == 4


def test_equal_prompts_in_one_step_share_their_blocks() -> None:
    drive = Drive(Engine(make(prefix=True, length=64, budget=64)))
    prompt: list[object] = [f"p{k}" for k in range(13)]
    jobs = [drive.submit(prompt, 1) for _ in range(3)]
    drive.step()
    assert [job.cached_tokens for job in jobs] == [0, 12, 12]
    assert drive.steps == [(15, 0)]


def test_speculation_yields_several_tokens_a_step_after_the_first() -> None:
    drive = Drive(Engine(make(), per_step=3))
    job = drive.submit(4, 8)
    drive.run()
    assert len(drive.steps) == 4
    assert [drive.tokens[job].count(time) for time in sorted(set(drive.tokens[job]))] == [1, 3, 3, 1]
    assert drive.engine.pool.free == 64


def test_cancelling_frees_the_blocks_wherever_the_job_is() -> None:
    drive = Drive(Engine(make(seqs=1)))
    running, waiting = drive.submit(5, 9), drive.submit(5, 9)
    drive.step()
    drive.engine.begin(drive.now)
    drive.engine.cancel(running)
    drive.engine.cancel(waiting)
    drive.engine.cancel(waiting)
    assert drive.engine.finish() == []
    assert drive.engine.pool.free == 64 and drive.engine.begin(drive.now) is None


def test_finish_without_a_step_is_an_error() -> None:
    with pytest.raises(ValueError, match="no step"):
        Engine(make()).finish()


def test_jitter_is_seeded_and_has_mean_one() -> None:
    profile = Profile(name="t", model="t", step=StepTime(base=0.01, jitter=0.2))

    def durations(seed: int) -> list[int]:
        engine = Engine(profile, seed=seed)
        engine.submit(Job(["a"], 4000, spell=str))
        found = []
        for _ in range(4000):
            step = engine.begin(0)
            assert step is not None
            found.append(step.end_ns)
            engine.finish()
        return found

    first = durations(1)
    assert first == durations(1) != durations(2)
    assert sum(first) / len(first) == pytest.approx(10 * MS, rel=0.02)


def test_time_scale_scales_every_step() -> None:
    drive = Drive(Engine(make(), time_scale=0.1))
    job = drive.submit(5, 2)
    drive.run()
    assert drive.tokens[job] == pytest.approx([1.5, 2.75])


@settings(max_examples=60, deadline=None)
@given(
    jobs=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 20), st.integers(0, 3)), min_size=1, max_size=12),
    blocks=st.integers(13, 20),
    prefix=st.booleans(),
    per_step=st.integers(1, 3),
)
def test_every_request_gets_its_tokens_and_no_block_is_lost(
    jobs: list[tuple[int, int, int]], blocks: int, prefix: bool, per_step: int
) -> None:
    drive = Drive(Engine(make(length=50, blocks=blocks, prefix=prefix, seqs=5), per_step=per_step))
    made = [
        drive.submit([f"{family}-{k}" for k in range(prompt)], target, words=f"{family}")
        for prompt, target, family in jobs
    ]
    while drive.step():
        assert 0 <= drive.engine.pool.free <= blocks
        assert len(drive.engine.running) <= 5
        assert sum(drive.steps[-1]) <= 8
    assert [len(drive.tokens[job]) for job in made] == [target for _, target, _ in jobs]
    assert drive.engine.pool.free == blocks
    assert not drive.engine.running and not drive.engine.waiting
    assert all(job.cached_tokens < job.prompt_tokens for job in made)
