"""Which session a call belongs to, and what it waited for. docs/recording.md tells the rules to users."""

from __future__ import annotations

import hashlib

from harness.proxy.conversation import Said
from harness.workloads.traces.harness import VERSION, Line, Request
from harness.workloads.traces.trace import estimate

BLOCK_TOKENS = 64
_TELLING = 16  # characters; shorter answers ("yes") may stand in any prompt


class Known:
    """A call with its place in its session."""

    def __init__(self, said: Said, session: Gathered, chain: list[bytes]) -> None:
        self.said, self.session, self.chain = said, session, chain
        self.history: Known | None = None
        self.after: list[Known] = []
        self.above: set[Known] = set()  # all it has waited for, directly or not
        self.continued = False
        self.agent, self.depth = "main", 0
        told = said.input_tokens
        self.input_tokens = max(1, told if told is not None else sum(estimate(text) for text in said.messages))
        told = said.output_tokens
        self.output_tokens = max(1, told if told is not None else estimate(said.answer))


class Gathered:
    """A session that may still go on."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.calls: list[Known] = []
        self.agents = 0
        self.last_s = 0.0


class Grouping:
    """Takes calls in the order in which they ended; gives sessions that are over."""

    def __init__(self, salt: bytes, origin_s: float) -> None:
        self._salt, self._origin_s = salt, origin_s
        self._ends: dict[bytes, Known] = {}
        self._open: dict[str, Gathered] = {}
        self._count = 0
        self._block_bytes = 0

    def add(self, said: Said) -> Known:
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
        call = Known(said, session, chain)
        call.history = history
        self._place(call, linked)
        session.calls.append(call)
        session.last_s = max(session.last_s, said.end_s)
        self._ends[self._hash(chain[-1], said.answer)] = call
        if not self._block_bytes:
            self._block_bytes = max(1, round(BLOCK_TOKENS * len(_joined(said.messages)) / call.input_tokens))
        return call

    def over(self, before_s: float) -> list[Gathered]:
        """Forget and give the sessions whose last answer ended before."""
        done = [session for session in self._open.values() if session.last_s < before_s]
        for session in done:
            del self._open[session.id]
        gone = set(done)
        self._ends = {link: call for link, call in self._ends.items() if call.session not in gone}
        return done

    def line(self, session: Gathered) -> Line:
        """The session as a line of the trace."""
        calls = sorted(session.calls, key=lambda call: call.said.start_s)
        names = {call: f"r{number}" for number, call in enumerate(calls, 1)}
        start = (calls[0].said.start_s - self._origin_s) * 1000
        nodes = [self._node(call, names) for call in calls]
        return Line(
            harness_trace=VERSION, session=session.id, start_ms=round(start, 3), block_tokens=BLOCK_TOKENS, nodes=nodes
        )

    def _session(self, said: Said, history: Known | None, linked: list[Known]) -> Gathered:
        if said.header is not None:
            key = "h-" + self._hash(b"", said.header).hex()[:12]  # a name of someone's own may say too much
            return self._open.setdefault(key, Gathered(key))
        if history is not None:
            return history.session
        if linked:
            return max(linked, key=lambda call: call.said.end_s).session
        waiting = [session for session in self._open.values() if self._waits(session, said.start_s)]
        if len(waiting) == 1:
            return waiting[0]
        self._count += 1
        key = f"s{self._count:06d}"
        return self._open.setdefault(key, Gathered(key))

    def _waits(self, session: Gathered, at_s: float) -> bool:
        """Whether one of its calls has asked for tools, and has not been continued."""
        return any(c.said.waits_for_tools and c.said.end_s <= at_s and not c.continued for c in session.calls)

    def _holds(self, said: Said, history: Known | None) -> list[Known]:
        """Earlier calls whose answers stand in what this one adds to its history."""
        added = "\n".join(said.messages[len(history.said.messages) + 1 :] if history else said.messages)
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

    def _place(self, call: Known, linked: list[Known]) -> None:
        """What it waited for: the latest of those whose answers it holds, else of those that had ended."""
        session, history = call.session, call.history
        after = linked
        if not linked and history is None:
            after = [other for other in session.calls if other.said.end_s <= call.said.start_s]
        older: set[Known] = set().union(*(other.above for other in after))
        call.after = [other for other in after if other not in older and other is not history]
        direct = [*call.after, *([history] if history else [])]
        call.above = set(direct).union(*(other.above for other in direct))
        if history is not None:
            history.continued = True
            call.agent, call.depth = history.agent, history.depth
        else:
            session.agents += 1
            call.agent = "main" if session.agents == 1 else f"agent-{session.agents}"
            called = linked or [other for other in call.after if other.said.waits_for_tools]
            call.depth = 1 + min(other.depth for other in called) if called else 0

    def _node(self, call: Known, names: dict[Known, str]) -> Request:
        history = call.history
        new, told = call.input_tokens, None
        added = call.said.messages
        if history is not None:
            added = added[len(history.said.messages) + 1 :]
            new -= history.input_tokens + history.output_tokens
            if new < 1:  # e.g. its reasoning was dropped
                new = told = max(1, round(len(_joined(added)) * BLOCK_TOKENS / self._block_bytes))
        direct = [*call.after, *([history] if history else [])]
        gap = max(0.0, call.said.start_s - max((other.said.end_s for other in direct), default=call.said.start_s))
        return Request(
            name=names[call],
            after=[names[other] for other in call.after],
            history=names[history] if history else None,
            input_tokens=call.input_tokens,
            new_tokens=told,
            output_tokens=call.output_tokens,
            gap_ms=round(gap * 1000, 3),
            blocks=self._blocks(added, history.chain[-1] if history else self._salt, new),
            agent=call.agent,
            depth=call.depth,
            model=call.said.model,
        )

    def _blocks(self, added: list[str], link: bytes, tokens: int) -> list[int | str]:
        """A chained hash for every block, so that equal means: equal up to here."""
        data, blocks = _joined(added), list[int | str]()
        for place in range(0, min(len(data), -(-tokens // BLOCK_TOKENS) * self._block_bytes), self._block_bytes):
            link = hashlib.blake2b(
                link + data[place : place + self._block_bytes], key=self._salt, digest_size=16
            ).digest()
            blocks.append(link[:8].hex())
        return blocks[: -(-tokens // BLOCK_TOKENS)]

    def _hash(self, link: bytes, text: str) -> bytes:
        data = link + text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(data, key=self._salt, digest_size=16).digest()


def _joined(messages: list[str]) -> bytes:
    return "\n".join(messages).encode("utf-8", "surrogatepass")
