"""A model of a continuous-batching engine, one step at a time. No sockets, no asyncio, no wall clock.

Whoever drives it calls `begin(start)`, waits until the step it returns has ended, and calls `finish(end)`.
Scheduling follows vLLM's: running sequences first, in order of admission; one token budget a step for decode
and prefill chunks alike; waiting sequences first come, first served; when blocks run out, the sequence
admitted last gives its blocks back and is recomputed later. The time of a step is

    base + prefill_tokens * prefill_token + decoding * decode_sequence + context * context_token

times a lognormal jitter of mean 1. `decoding` counts the sequences past their prompt, `prefill_tokens` the
tokens of all others (recomputed ones too), `context` the tokens that the sequences of the step have in the
cache at its begin.
"""

from __future__ import annotations

import random
from collections import deque

import msgspec

from harness.sim.blocks import BlockPool
from harness.sim.job import Job
from harness.sim.profile import Profile
from harness.units import NS_PER_S


class Step(msgspec.Struct, gc=False):
    """One step under way. `work` lists (job, tokens computed for it)."""

    start_ns: int
    end_ns: int
    work: list[tuple[Job, int]]
    prefill_tokens: int = 0
    decoding: int = 0
    context: int = 0


class Counters(msgspec.Struct):
    """What the engine did since it was made, in tokens and times."""

    prefix_queries: int = 0
    prefix_hits: int = 0
    preemptions: int = 0
    prefill_tokens: int = 0
    steps: int = 0


class Engine:
    """The scheduler and the KV cache of one model replica.

    Args:
        profile: sizes, step times and answer habits.
        seed: of the jitter.
        time_scale: every step takes this many times as long.
        per_step: tokens a decode step yields for each sequence; above 1 like speculative decoding that always
            holds.
    """

    def __init__(self, profile: Profile, *, seed: int = 0, time_scale: float = 1.0, per_step: int = 1) -> None:
        self.profile = profile
        self.pool = BlockPool(profile.cache.num_blocks)
        self.running: list[Job] = []
        self.waiting: deque[Job] = deque()
        self.counters = Counters()
        self._size = profile.cache.block_size
        self._hash_size = self._size if profile.cache.prefix_caching else 0
        self._scale = NS_PER_S * time_scale
        self._per_step = per_step
        self._random = random.Random(f"jitter {seed}")
        self._step: Step | None = None

    def submit(self, job: Job) -> None:
        """Put a job at the end of the queue. Its prompt and answer together must fit `max_model_len`."""
        if self._hash_size:
            job.hash_blocks(self._hash_size)
        self.waiting.append(job)

    def cancel(self, job: Job) -> None:
        """Forget a job, wherever it is. It gets no more tokens; its blocks are free at once."""
        if not job.live:
            return
        if job in self.waiting:
            self.waiting.remove(job)
        else:
            self.running.remove(job)
        self._retire(job)

    def begin(self, start_ns: int) -> Step | None:
        """Decide the batch of the step that starts now. None where there is nothing to do."""
        step = Step(start_ns, start_ns, [])
        budget, preempted = self._continue_running(step)
        if not preempted:
            self._admit(step, budget)
        if not step.work:
            return None
        step.end_ns = start_ns + self._duration_ns(step)
        self._step = step
        self.counters.steps += 1
        self.counters.prefill_tokens += step.prefill_tokens
        return step

    def finish(self) -> list[tuple[Job, int]]:
        """End the step under way. Returns (job, new tokens) for each sequence that produced any."""
        step, self._step = self._step, None
        if step is None:
            raise ValueError("no step is under way")
        outputs: list[tuple[Job, int]] = []
        finished = False
        for job, tokens in step.work:
            if not job.live:
                continue
            job.computed += tokens
            if job.computed < job.prompt_tokens + job.produced:
                continue
            count = 1
            if job.produced:
                count = min(self._per_step, job.target - job.produced)
            else:
                job.first_token_ns = step.end_ns
            job.produce(count, self._hash_size)
            outputs.append((job, count))
            if job.produced >= job.target:
                self._retire(job)
                finished = True
        if finished:
            self.running = [job for job in self.running if job.live]
        return outputs

    def _continue_running(self, step: Step) -> tuple[int, bool]:
        """Schedule what runs already. Returns the budget left and whether a sequence had to be preempted."""
        budget = self.profile.scheduler.max_num_batched_tokens
        preempted = False
        index = 0
        while index < len(self.running) and budget > 0:
            job = self.running[index]
            tokens = self._wanted(job, budget)
            while not self._extend(job, tokens):
                preempted = True
                victim = self.running.pop()
                self._preempt(victim)
                if victim is job:
                    return budget, preempted
            self._schedule(step, job, tokens)
            budget -= tokens
            index += 1
        return budget, preempted

    def _admit(self, step: Step, budget: int) -> None:
        """Let waiting sequences in while there is budget, a place and room; the first blocks the rest."""
        while self.waiting and budget > 0 and len(self.running) < self.profile.scheduler.max_num_seqs:
            job = self.waiting[0]
            found = self.pool.find(job.hashes, (job.length - 1) // self._size)
            hit = len(found) * self._size
            tokens = min(job.length - hit, budget)
            wanted = -(-(hit + tokens) // self._size) - len(found)
            if wanted > self.pool.free - self.pool.idle(found):
                return
            self.waiting.popleft()
            self.pool.share(found)
            job.blocks = found + self.pool.take(wanted)
            job.computed, job.known = hit, len(found)
            if job.scheduled_ns is None:
                job.scheduled_ns = max(step.start_ns, job.arrival_ns)
                job.cached_tokens = hit
                if self._hash_size:
                    self.counters.prefix_queries += job.prompt_tokens
                    self.counters.prefix_hits += hit
            self.running.append(job)
            self._schedule(step, job, tokens)
            budget -= tokens

    def _wanted(self, job: Job, budget: int) -> int:
        missing = job.prompt_tokens + job.produced - job.computed
        if missing == 1 and job.produced:
            missing = min(self._per_step, job.target - job.produced)
        return min(missing, budget)

    def _extend(self, job: Job, tokens: int) -> bool:
        """Give the job blocks for `tokens` more tokens; False where the pool has too few."""
        wanted = -(-(job.computed + tokens) // self._size) - len(job.blocks)
        if wanted <= 0:
            return True
        if wanted > self.pool.free:
            return False
        job.blocks += self.pool.take(wanted)
        return True

    def _schedule(self, step: Step, job: Job, tokens: int) -> None:
        step.work.append((job, tokens))
        step.context += job.computed
        if job.produced and job.computed == job.prompt_tokens + job.produced - 1:
            step.decoding += 1
        else:
            step.prefill_tokens += tokens
        if self._hash_size:  # as in vLLM, a block can be found from the step that computes it
            full = min((job.computed + tokens) // self._size, len(job.hashes))
            while job.known < full:
                self.pool.remember(job.blocks[job.known], job.hashes[job.known])
                job.known += 1

    def _preempt(self, job: Job) -> None:
        self.pool.release(job.blocks)
        job.blocks = []
        job.computed = job.known = 0
        job.preemptions += 1
        self.counters.preemptions += 1
        self.waiting.appendleft(job)

    def _retire(self, job: Job) -> None:
        job.live = False
        self.pool.release(job.blocks)
        job.blocks = []

    def _duration_ns(self, step: Step) -> int:
        time = self.profile.step
        seconds = (
            time.base
            + step.prefill_tokens * time.prefill_token
            + step.decoding * time.decode_sequence
            + step.context * time.context_token
        )
        if seconds and time.jitter:
            seconds *= self._random.lognormvariate(-time.jitter * time.jitter / 2, time.jitter)
        return round(seconds * self._scale)
