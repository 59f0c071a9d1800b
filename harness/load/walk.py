"""One live session: which of its requests wait for what, and what the next prompt says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from harness.workloads import Node, Session, Text
from harness.workloads.text import TextMaker

Message = dict[str, Any]


class Walk:
    """The state of one session while it is played. Times are monotonic nanoseconds.

    A walk knows nothing of wires and timers: it says which nodes are ready when (`finished`), and what a node's
    messages are (`messages`).
    """

    __slots__ = (
        "_answers",
        "_dependents",
        "_failed",
        "_finish_ns",
        "_hopeless",
        "_inherited",
        "_messages",
        "_waiting",
        "_won",
        "arrival_ns",
        "cancelled",
        "failed",
        "open_nodes",
        "outstanding",
        "session",
        "under_way",
        "unread",
        "unsent",
        "warmup",
    )

    def __init__(self, session: Session, *, warmup: bool) -> None:
        self.session = session
        self.warmup = warmup
        self.arrival_ns = 0
        self.failed = False
        nodes = session.nodes
        self.open_nodes = len(nodes)  # whose answers are not read yet
        self.unread = 0  # answers that have ended but are not read yet
        self.outstanding = 0  # ready or sent, not yet finished
        self.unsent = 0  # cancelled before they were sent
        self.cancelled: frozenset[int] = frozenset()  # nodes that nobody needs any more
        self.under_way: dict[int, Any] | None = None  # what plays each node, where some may be cancelled
        if any(node.cancel_losers for node in nodes):
            self.under_way = {}
        self._waiting = [len(node.after) if node.need is None else node.need for node in nodes]
        self._dependents: list[list[int]] = [[] for _ in nodes]
        for index, node in enumerate(nodes):
            for needed in node.after:
                self._dependents[needed].append(index)
        self._failed: frozenset[int] = frozenset()
        self._hopeless = False  # no end of the session can be reached any more
        self._finish_ns = [0] * len(nodes)
        self._answers: list[Message | None] = [None] * len(nodes)
        self._inherited = frozenset(node.history for node in nodes if node.history is not None)
        self._messages: dict[int, list[Message]] = {}  # of nodes whose conversation goes on
        self._won: dict[int, list[int]] = {}  # whose answers a node that needs only some has waited for

    def roots(self) -> list[int]:
        """Nodes that wait for nothing."""
        return [index for index, node in enumerate(self.session.nodes) if not node.after]

    @property
    def complete(self) -> bool:
        """Every node has its answer."""
        return not self.open_nodes

    def has_dependents(self, index: int) -> bool:
        return bool(self._dependents[index])

    def finished(self, index: int, end_ns: int, answer: Message | None) -> list[tuple[int, int]]:
        """A node has its answer. The nodes that became ready by it, each with its intended start."""
        self._finish_ns[index] = end_ns
        self._answers[index] = answer
        ready = []
        for dependent in self._dependents[index]:
            self._waiting[dependent] -= 1
            if not self._waiting[dependent] and dependent not in self.cancelled:
                node = self.session.nodes[dependent]
                if node.need is not None:
                    self._won[dependent] = [needed for needed in node.after if self._finish_ns[needed]]
                last = max(self._finish_ns[needed] for needed in self.waited_for(dependent))
                ready.append((dependent, last + node.gap_ns))
        return ready

    def waited_for(self, index: int) -> Sequence[int]:
        """The nodes whose answers this one, which is due, has waited for: the first ones, where it needs only some."""
        return self._won.get(index, self.session.nodes[index].after)

    def cancel_losers(self, index: int) -> list[int]:
        """Nodes without an answer that nobody needs now that this one is due. They will never be ready."""
        nodes, lost = self.session.nodes, []
        stack = list(nodes[index].after) if nodes[index].cancel_losers else []
        while stack:
            loser = stack.pop()
            if self._finish_ns[loser] or loser in self.cancelled or self._is_needed(loser):
                continue
            self.cancelled |= {loser}
            lost.append(loser)
            stack.extend(nodes[loser].after)
        return lost

    def _is_needed(self, index: int) -> bool:
        """Whether a node still waits for this one, or may."""
        return any(self._waiting[each] > 0 and each not in self.cancelled for each in self._dependents[index])

    def lose(self, index: int) -> set[int]:
        """A node has failed. Nodes that cannot matter any more: those that will never be due, and those that lead to
        nothing but such. They are never started; what is under way may end.

        An end of the session is a node that nothing waits for. A node matters as long as an end may still be reached
        through it, so one of several independent branches goes on, as does one that a quorum can still use.
        """
        if self._hopeless or index in self._failed:
            return set()
        self._failed |= {index}
        nodes = self.session.nodes
        dead: set[int] = set()
        for place, node in enumerate(nodes):  # in topological order: whatever a node needs stands before it
            if place in self._failed or self._finish_ns[place]:
                if place in self._failed:
                    dead.add(place)
                continue
            possible = sum(needed not in dead for needed in node.after)
            if possible < (len(node.after) if node.need is None else node.need):
                dead.add(place)
        useless = set(dead)
        for place in range(len(nodes) - 1, -1, -1):
            followers = self._dependents[place]
            if followers and all(each in useless for each in followers):
                useless.add(place)
        lost = {place for place in useless if not self._finish_ns[place]} - self._failed - self.cancelled
        self.cancelled |= lost
        self._hopeless = all(place in useless for place, following in enumerate(self._dependents) if not following)
        return lost

    def messages(self, index: int, maker: TextMaker) -> list[Message]:
        """The whole prompt of a node: inherited conversation, then its own texts, joined answers before the last."""
        node = self.session.nodes[index]
        messages: list[Message] = []
        if node.history is not None:
            messages.extend(self._messages[node.history])
            answer = self._answers[node.history]
            if answer is not None:
                messages.append(answer)
        messages.extend(self._own(index, node, maker))
        if index in self._inherited:
            self._messages[index] = messages
        return messages

    def _own(self, index: int, node: Node, maker: TextMaker) -> Iterator[Message]:
        """The new messages of a node: parts in one with the text after them, joined answers before the last text.

        The first one makes room for what the prompt itself takes, or the message of the answer that was inherited. One
        that ends with a part pays for its own overhead with its last words.
        """
        parts, role = "", "user"
        last = len(node.texts) - 1
        joined = "\n\n".join(self._joined(index, node))
        owed = maker.calibration.a if node.history is None else maker.calibration.m
        for place, text in enumerate(node.texts):
            content, role = maker.text(text, self.session.index, less=owed), text.role
            if place == last and joined:
                content, joined = f"{joined}\n\n{content}", ""
            parts = f"{parts} {content}" if parts else content
            if text.part:
                owed += maker.surplus(text)
            else:
                yield {"role": role, "content": parts}
                parts, owed = "", max(0.0, owed + maker.least - text.tokens)
        if parts:
            parts = maker.trimmed(parts, owed + maker.calibration.m)
        if parts or joined:
            yield {"role": role, "content": parts or joined}

    def _joined(self, index: int, node: Node) -> list[str]:
        """The answers that become part of the prompt: of those waited for, where it needs only some."""
        lost = set(node.after).difference(self.waited_for(index)) if index in self._won else ()
        answers = (self._answers[join] for join in node.joins if join not in lost)
        return [answer["content"] for answer in answers if answer is not None]

    def filler(self, index: int, maker: TextMaker) -> Message:
        """A planned answer of the node: filler of the wanted length, for `context: planned`."""
        node = self.session.nodes[index]
        key = f"{self.session.id}/{node.name}/answer"
        text = Text(role="assistant", key=key, tokens=node.output_tokens, part=True)  # an answer has no overhead
        return {"role": "assistant", "content": maker.text(text, -1)}
