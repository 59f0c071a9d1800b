"""The simulated server without its socket: which path does what, and how a request becomes an answer."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import Any

import msgspec

from harness import __version__
from harness.clock import now_ns
from harness.sim.answer import Answer, Setting
from harness.sim.ask import Ask, Refusal, parse_chat, parse_completion, parse_tokenize
from harness.sim.engine import Engine
from harness.sim.faults import Kind, draw
from harness.sim.frames import Frames, error_body
from harness.sim.http import Connection, Request
from harness.sim.limiter import Limiter
from harness.sim.metrics import Metrics
from harness.sim.options import SimOptions
from harness.sim.pace import Pace
from harness.sim.profile import Habits, Profile
from harness.sim.replica import Replica
from harness.sim.script import Script
from harness.sim.source import Source
from harness.sim.streamed import StreamedAnswer
from harness.sim.tokenizer import token_id
from harness.sim.truth import Truth, TruthFile
from harness.sim.whole import WholeAnswer
from harness.units import parse_duration, parse_rate

PACED_MODEL = "sim"
PACED_LENGTH = 1_048_576

_Handler = Callable[["Simulator", Connection, Request], None]


class Simulator:
    """Answers requests. `profile` is None for a fixed pace."""

    def __init__(
        self,
        options: SimOptions,
        profile: Profile | None,
        loop: asyncio.AbstractEventLoop,
        truth: TruthFile | None,
    ) -> None:
        self._options = options
        self._profile = profile
        self._habits = profile.answer if profile else Habits()
        self.faults = profile.faults.merged(options.faults) if profile else options.faults
        self.faults.check()
        self._limiter = Limiter(parse_rate(self.faults.rate_limit)) if self.faults.rate_limit else None
        self._model = profile.model if profile else PACED_MODEL
        self._length = profile.scheduler.max_model_len if profile else PACED_LENGTH
        self._truth = truth
        self._requests = 0
        self.metrics = Metrics(self._model)
        self.source = self._make_source(loop)
        self._setting = Setting(
            loop=loop,
            source=self.source,
            metrics=self.metrics,
            stall_s=parse_duration(self.faults.stall_for) * options.time_scale,
            role_first=options.role_first,
            keep=truth.add if truth else None,
        )

    @property
    def slow_accept(self) -> float:
        """Seconds before a new connection is read."""
        return parse_duration(self.faults.slow_accept) * self._options.time_scale

    def handle(self, connection: Connection, request: Request) -> None:
        """Answer one request, now or later."""
        route = _ROUTES.get(request.path)
        if route is None:
            _refuse(connection, 404, f"no such path: {request.path}", "NotFoundError")
        elif request.method != route[0]:
            _refuse(connection, 405, f"{request.path} takes {route[0]}", "MethodNotAllowedError")
        else:
            route[1](self, connection, request)

    def _make_source(self, loop: asyncio.AbstractEventLoop) -> Source:
        options = self._options
        if self._profile is None:
            assert options.ttft is not None and options.itl is not None
            scale = options.time_scale
            return Pace(loop, options.ttft * scale, options.itl * scale, per_event=options.tokens_per_event)
        engine = Engine(
            self._profile, seed=options.seed, time_scale=options.time_scale, per_step=options.tokens_per_event
        )
        return Replica(loop, engine)

    def _chat(self, connection: Connection, request: Request) -> None:
        self._complete(connection, request, parse_chat)

    def _completion(self, connection: Connection, request: Request) -> None:
        self._complete(connection, request, parse_completion)

    def _complete(self, connection: Connection, request: Request, parse: Callable[[bytes], Ask]) -> None:
        self._requests += 1
        truth = Truth(
            id=request.id,
            number=self._requests,
            conn=connection.number,
            accept_ns=connection.accept_ns,
            first_byte_ns=request.first_byte_ns,
            full_ns=request.full_ns,
            bytes_in=request.bytes_in,
        )
        wait = self._limiter.wait() if self._limiter else 0.0
        if wait:
            retry = [("retry-after", str(math.ceil(wait)))]
            self._refused(connection, truth, 429, "rate limit exceeded", "RateLimitError", headers=retry)
            return
        fate = draw(self.faults, self._options.seed, truth.number, request.id)
        if fate and fate.kind is Kind.STATUS:
            truth.fault = Kind.STATUS.value
            status = self.faults.status or 500
            self._refused(connection, truth, status, "simulated failure", "InternalServerError")
            return
        try:
            ask = parse(request.body)
            script = self._script(ask, truth)
        except Refusal as refusal:
            self._refused(connection, truth, refusal.status, str(refusal), refusal.kind, param=refusal.param)
            return
        truth.prompt_tokens = len(ask.prompt)
        truth.stream = ask.stream
        frames = Frames(ask, script, request.id or f"sim-{truth.number}", ask.model or self._model)
        kind: type[Answer] = StreamedAnswer if ask.stream else WholeAnswer
        answer = kind(
            setting=self._setting, connection=connection, frames=frames, script=script, fate=fate, truth=truth
        )
        connection.exchange = answer
        answer.start(ask.prompt)

    def _script(self, ask: Ask, truth: Truth) -> Script:
        """The answer to a request: its length, how it ends, and its words."""
        if self._options.strict_model and ask.model != self._model:
            raise Refusal(f"The model `{ask.model}` does not exist.", status=404, kind="NotFoundError", param="model")
        room = self._length - len(ask.prompt)
        if room < (ask.max_tokens or 1):
            raise Refusal(
                f"This model's maximum context length is {self._length} tokens. However, you requested "
                f"{ask.max_tokens or 1} output tokens and your prompt contains {len(ask.prompt)} tokens.",
                param="max_tokens",
            )
        salt = "" if ask.greedy else str(ask.seed if ask.seed is not None else truth.id or truth.number)
        dice = random.Random(f"{self._options.seed} {ask.fingerprint()} {salt}")
        habits = self._habits
        limit, finish = ask.max_tokens, "length"
        if limit is None:
            wanted = round(habits.median * math.exp(habits.sigma * dice.gauss()))
            limit, finish = max(1, ask.min_tokens, min(wanted, habits.max, room)), "stop"
        if habits.eos and not ask.ignore_eos:
            ends = max(ask.min_tokens, _geometric(dice, habits.eos))
            if ends <= limit:
                limit, finish = ends, "stop"
        tool = ask.tool if habits.tool_calls else None
        reasoning = round(habits.reasoning * limit) if ask.chat else 0
        return Script(
            dice.getrandbits(32),
            limit,
            finish="tool_calls" if tool else finish,
            reasoning=reasoning,
            tool=tool,
        )

    def _refused(
        self,
        connection: Connection,
        truth: Truth,
        status: int,
        message: str,
        kind: str,
        *,
        param: str | None = None,
        headers: list[tuple[str, str]] | None = None,
    ) -> None:
        truth.status = status
        truth.head_ns = now_ns()
        truth.bytes_out = _refuse(connection, status, message, kind, param=param, headers=headers)
        truth.end_ns = now_ns()
        self.metrics.finished["error"] += 1
        if self._truth:
            self._truth.add(truth)

    def _models(self, connection: Connection, request: Request) -> None:
        card = {
            "id": self._model,
            "object": "model",
            "created": 0,
            "owned_by": "harness-sim",
            "root": self._model,
            "parent": None,
            "max_model_len": self._length,
        }
        _json(connection, {"object": "list", "data": [card]})

    def _health(self, connection: Connection, request: Request) -> None:
        connection.reply(200, b"")

    def _version(self, connection: Connection, request: Request) -> None:
        options = self._options
        _json(
            connection,
            {
                "version": __version__,
                "engine": "harness-sim",
                "profile": self._profile.name if self._profile else None,
                "time_scale": options.time_scale,
                "seed": options.seed,
            },
        )

    def _tokenize(self, connection: Connection, request: Request) -> None:
        try:
            tokens = parse_tokenize(request.body)
        except Refusal as refusal:
            _refuse(connection, refusal.status, str(refusal), refusal.kind, param=refusal.param)
            return
        ids = [token_id(token) for token in tokens]
        _json(connection, {"count": len(ids), "max_model_len": self._length, "tokens": ids})

    def _metrics(self, connection: Connection, request: Request) -> None:
        page = self.metrics.text(self.source)
        connection.reply(200, page, content_type="text/plain; version=0.0.4; charset=utf-8")

    def _reset_prefix_cache(self, connection: Connection, request: Request) -> None:
        _json(connection, {"success": self.source.forget_prefixes()})


def _geometric(dice: random.Random, chance: float) -> int:
    """The number of tokens, the last included, where each ends the answer with this chance."""
    if chance >= 1:
        return 1
    return 1 + math.floor(math.log(1 - dice.random()) / math.log(1 - chance))


def _json(connection: Connection, payload: Any) -> None:
    connection.reply(200, msgspec.json.encode(payload))


def _refuse(
    connection: Connection,
    status: int,
    message: str,
    kind: str,
    *,
    param: str | None = None,
    headers: list[tuple[str, str]] | None = None,
) -> int:
    return connection.reply(status, error_body(message, kind=kind, code=status, param=param), headers=headers)


_ROUTES: dict[str, tuple[str, _Handler]] = {
    "/v1/chat/completions": ("POST", Simulator._chat),
    "/v1/completions": ("POST", Simulator._completion),
    "/v1/models": ("GET", Simulator._models),
    "/health": ("GET", Simulator._health),
    "/version": ("GET", Simulator._version),
    "/tokenize": ("POST", Simulator._tokenize),
    "/metrics": ("GET", Simulator._metrics),
    "/reset_prefix_cache": ("POST", Simulator._reset_prefix_cache),
}
