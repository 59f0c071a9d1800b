"""One live session: which of its requests wait for what, and what the next prompt says."""

from __future__ import annotations

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
        "_finish_ns",
        "_messages",
        "_waiting",
        "arrival_ns",
        "failed",
        "open_nodes",
        "outstanding",
        "session",
        "unread",
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
        self._waiting = [len(node.after) for node in nodes]
        self._dependents: list[list[int]] = [[] for _ in nodes]
        for index, node in enumerate(nodes):
            for needed in node.after:
                self._dependents[needed].append(index)
        self._finish_ns = [0] * len(nodes)
        self._answers: list[Message | None] = [None] * len(nodes)
        self._messages: list[list[Message] | None] = [None] * len(nodes)

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
            if not self._waiting[dependent]:
                node = self.session.nodes[dependent]
                last = max(self._finish_ns[needed] for needed in node.after)
                ready.append((dependent, last + node.gap_ns))
        return ready

    def messages(self, index: int, maker: TextMaker) -> list[Message]:
        """The whole prompt of a node: inherited conversation, then its own texts, joined answers before the last."""
        node = self.session.nodes[index]
        messages: list[Message] = []
        if node.history is not None:
            messages.extend(self._messages[node.history] or ())
            answer = self._answers[node.history]
            if answer is not None:
                messages.append(answer)
        for place, text in enumerate(node.texts):
            content = maker.text(text, self.session.index)
            if place == len(node.texts) - 1 and node.joins:
                content = "\n\n".join([*self._joined(node), content])
            messages.append({"role": text.role, "content": content})
        if self._dependents[index]:
            self._messages[index] = messages
        return messages

    def _joined(self, node: Node) -> list[str]:
        answers = (self._answers[join] for join in node.joins)
        return [answer["content"] for answer in answers if answer is not None]

    def filler(self, index: int, maker: TextMaker) -> Message:
        """A planned answer of the node: filler of the wanted length, for `context: planned`."""
        node = self.session.nodes[index]
        text = Text(role="assistant", key=f"{self.session.id}/{node.name}/answer", tokens=node.output_tokens)
        return {"role": "assistant", "content": maker.text(text, -1)}
