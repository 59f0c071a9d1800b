"""Which session a call belongs to, and what it waited for. docs/recording.md tells the rules to users."""

from __future__ import annotations

import hashlib

import msgspec

from harness.proxy.blocks import Blocks
from harness.proxy.conversation import Said
from harness.workloads.traces.harness import Request
from harness.workloads.traces.trace import estimate

_TELLING = 16  # characters; shorter answers ("yes") may stand in any prompt


class Placed(msgspec.Struct, frozen=True):
    """A call in its place: a node of the session of this id. `start_ms` is its start from that of the recording."""

    session: str
    start_ms: float
    node: Request


class _Known:
    """A call that others may continue or wait for."""

    def __init__(self, said: Said, session: _Session, name: str) -> None:
        self.said, self.session, self.name = said, session, name
        self.link = b""  # the chain of its messages
        self.cut = 0  # bytes in a block of its conversation
        self.history: _Known | None = None
        self.after: list[_Known] = []
        self.above: set[_Known] = set()  # all it has waited for, directly or not
        self.continued = False
        self.agent, self.depth = "main", 0
        told = said.input_tokens
        prompt = [said.tools, *said.messages] if said.tools else said.messages
        self.input_tokens = max(1, told if told is not None else sum(map(estimate, prompt)))
        told = said.output_tokens
        self.output_tokens = max(1, told if told is not None else estimate(said.answer))
        self.kept_tokens = said.kept_tokens if said.kept_tokens is not None else self.output_tokens

    @property
    def direct(self) -> list[_Known]:
        return [*self.after, *([self.history] if self.history else [])]


class _Session:
    """A session that may still go on."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.calls: list[_Known] = []
        self.agents = 0
        self.last_s = 0.0


class Grouping:
    """Takes calls in the order in which they ended; gives each its place. `salt` is what its hashes are keyed with."""

    def __init__(self, salt: bytes, origin_s: float) -> None:
        self._salt, self._origin_s = salt, origin_s
        self._blocks = Blocks(salt)
        self._ends: dict[bytes, _Known] = {}
        self._open: dict[str, _Session] = {}
        self._count = 0

    def add(self, said: Said) -> Placed:
        """The place of this call."""
        chain = [self._salt]
        for message in said.messages:
            chain.append(self._hash(chain[-1], message))
        history = next((self._ends[link] for link in reversed(chain) if link in self._ends), None)
        if history is not None and (
            said.header not in (None, history.said.header) or history.said.end_s > said.start_s
        ):
            history = None
        linked = self._holds(said, history)
        session = self._session(said, history, linked)
        linked = [call for call in linked if call.session is session]
        call = _Known(said, session, f"r{len(session.calls) + 1}")
        call.link, call.history = chain[-1], history
        self._place(call, linked)
        session.calls.append(call)
        session.last_s = max(session.last_s, said.end_s)
        self._ends[self._hash(chain[-1], said.answer)] = call
        start_ms = round((said.start_s - self._origin_s) * 1000, 3)
        return Placed(session=session.id, start_ms=start_ms, node=self._node(call))

    def over(self, before_s: float) -> list[str]:
        """Forget and name the sessions whose last answer ended before."""
        gone = {session for session in self._open.values() if session.last_s < before_s}
        for session in gone:
            del self._open[session.id]
        if gone:
            self._ends = {link: call for link, call in self._ends.items() if call.session not in gone}
        return [session.id for session in sorted(gone, key=lambda each: each.calls[0].said.start_s)]

    def _session(self, said: Said, history: _Known | None, linked: list[_Known]) -> _Session:
        if said.header is not None:
            key = "h-" + self._hash(b"", said.header).hex()[:12]  # a name of someone's own may say too much
            return self._open.setdefault(key, _Session(key))
        if history is not None:
            return history.session
        if linked:
            return max(linked, key=lambda call: call.said.end_s).session
        waiting = [session for session in self._open.values() if self._waits(session, said.start_s)]
        if len(waiting) == 1:
            return waiting[0]
        self._count += 1
        key = f"s{self._count:06d}"
        return self._open.setdefault(key, _Session(key))

    def _waits(self, session: _Session, at_s: float) -> bool:
        """Whether one of its calls has asked for tools, and has not been continued."""
        return any(c.said.waits_for_tools and c.said.end_s <= at_s and not c.continued for c in session.calls)

    def _holds(self, said: Said, history: _Known | None) -> list[_Known]:
        """Earlier calls whose answers stand in what this one adds to its history."""
        added = "\n".join(_added(said, history))
        calls = (call for session in self._open.values() for call in session.calls)
        return [
            call
            for call in calls
            if call is not history
            and call.said.header == said.header
            and call.said.end_s <= said.start_s
            and len(call.said.text) >= _TELLING
            and call.said.text in added
        ]

    def _place(self, call: _Known, linked: list[_Known]) -> None:
        """What it waited for: the latest of those whose answers it holds, else of those that had ended."""
        session, history = call.session, call.history
        after = linked
        if not linked and history is None:
            after = [other for other in session.calls if other.said.end_s <= call.said.start_s]
        older: set[_Known] = set().union(*(other.above for other in after))
        call.after = [other for other in after if other not in older and other is not history]
        call.above = set(call.direct).union(*(other.above for other in call.direct))
        if history is not None:
            history.continued = True
            call.agent, call.depth = history.agent, history.depth
        else:
            session.agents += 1
            call.agent = "main" if session.agents == 1 else f"agent-{session.agents}"
            called = linked or [other for other in call.after if other.said.waits_for_tools]
            call.depth = 1 + min(other.depth for other in called) if called else 0

    def _node(self, call: _Known) -> Request:
        history, said = call.history, call.said
        added = _joined(_added(said, history))
        new, told = call.input_tokens, None
        if history is None:
            added = _joined([said.tools]) + added
            call.cut = self._blocks.cut(added, call.input_tokens)
        else:
            call.cut = history.cut
            new -= history.input_tokens + history.kept_tokens
            if new < 1:  # e.g. reasoning of unknown length was dropped
                new = told = max(1, self._blocks.tokens(added, call.cut))
            elif history.kept_tokens != history.output_tokens:
                told = new
        link = self._hash(history.link, said.tools) if history else self._salt
        gap = max(0.0, said.start_s - max((other.said.end_s for other in call.direct), default=said.start_s))
        return Request(
            name=call.name,
            after=[other.name for other in call.after],
            history=history.name if history else None,
            input_tokens=call.input_tokens,
            new_tokens=told,
            output_tokens=call.output_tokens,
            gap_ms=round(gap * 1000, 3),
            blocks=self._blocks.hashes(added, link, new, call.cut),
            agent=call.agent,
            depth=call.depth,
            model=said.model,
        )

    def _hash(self, link: bytes, text: str) -> bytes:
        data = link + text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._salt, digest_size=16).digest()


def _added(said: Said, history: _Known | None) -> list[str]:
    """The messages after those of the history and its answer."""
    return said.messages[len(history.said.messages) + 1 :] if history else said.messages


def _joined(messages: list[str]) -> bytes:
    return "\n".join(messages).encode("utf-8", "surrogatepass")
