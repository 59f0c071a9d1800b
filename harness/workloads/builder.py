"""The builder: a session's DAG written down call by call, in the words of the pattern.

    build = SessionBuilder("map_reduce", seed, index)
    maps = [build.call(f"map-{n + 1}", texts=[build.text(1000)], output=200) for n in range(8)]
    build.call("reduce", joins=maps, output=400)

A call can only need calls that exist, so nodes are in topological order by themselves. Sizes and gaps are numbers, or
distributions that are drawn from in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.config.distribution import Distribution
from harness.units import NS_PER_S
from harness.workloads.draws import draws
from harness.workloads.session import Node, Role, Session, Text

Amount = int | float | Distribution
Calls = int | Iterable[int]

DIVISORS = {"full": 1, "lab": 4, "laptop": 16}


class SessionBuilder:
    """Builds one session, or the part of one of its agents (see `agent`).

    Attributes:
        rng: the session's luck; the same for the same (seed, index).
    """

    def __init__(self, kind: str, seed: int, index: int, *, divisor: int = 1) -> None:
        self.rng = draws(seed, index)
        self._kind = kind
        self._seed = seed
        self._index = index
        self._divisor = divisor
        self._nodes: list[Node] = []
        self._own = f"{seed}.{index}."
        self._texts = [0]  # how many texts were made; one for all agents
        self._agent = "main"
        self._depth = 0
        self._prefix = ""
        self._model: str | None = None

    # -- what is drawn

    def draw(self, amount: Amount) -> float:
        """A number, or one draw of a distribution."""
        return amount.sample(self.rng) if isinstance(amount, Distribution) else amount

    def count(self, amount: Amount) -> int:
        """A whole number, or one draw of a distribution of them."""
        return int(self.draw(amount))

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return bool(self.rng.random() < share)

    def choose(self, calls: Sequence[int], keep: int) -> list[int]:
        """So many of the calls, or all where there are no more, each as likely as any other; in their order."""
        chosen = self.rng.permutation(len(calls))[:keep]
        return [calls[place] for place in sorted(chosen)]

    def tokens(self, amount: Amount) -> int:
        """A length in tokens, scaled (`scale` in the config). Nothing stays nothing, all else is at least 1."""
        drawn = self.draw(amount)
        return max(1, round(drawn / self._divisor)) if drawn else 0

    # -- what is said

    def text(self, amount: Amount, role: Role = "user", *, less: int = 0, part: bool = False) -> Text:
        """A text of this session's own, `less` (scaled) tokens shorter than told.

        A `part` goes on in the message of the text after it.
        """
        self._texts[0] += 1
        tokens = self.tokens(amount)
        return Text(role, f"{self._own}{self._texts[0]}", max(1, tokens - less) if tokens else 0, part=part)

    def shared(self, name: str, amount: Amount, role: Role = "system", *, part: bool = False) -> Text:
        """A text that is the same in every session of the run that asks for this name."""
        return Text(role, f"{self._seed}.{name}", self.tokens(amount), shared=True, part=part)

    # -- what is asked

    def call(
        self,
        name: str,
        *,
        texts: Sequence[Text] = (),
        output: Amount,
        history: int | None = None,
        joins: Calls = (),
        after: Calls = (),
        need: int | None = None,
        cancel_losers: bool = False,
        gap: Amount = 0.0,
        agent: str | None = None,
        depth: int | None = None,
        model: str | None = None,
    ) -> int:
        """Add a model call and return its index, for calls that need it.

        Args:
            name: unique in the session (an agent's name is put before it).
            texts: its new messages; those of no length are left out.
            output: length of the answer in tokens.
            history: the call whose conversation it continues; None: a fresh context.
            joins: calls whose answers become part of the prompt.
            after: further calls it has to wait for.
            need: how many of `joins` are enough, the first ones; None: all.
            cancel_losers: cancel what only this call waited for, once `need` have answered.
            gap: seconds between the last answer it needs and its being due: tools, thinking.
            agent, depth, model: who asks, how deep, and whom; None: as the builder says (see `agent`).

        Raises:
            ValueError: `need` is not between 1 and the number of joins, or goes with `after` or a history among them.
        """
        nodes, joined, waits = self._nodes, _indices(joins), _indices(after)
        if need is not None and not (0 < need <= len(joined) and not waits and history not in joined):
            raise ValueError(f"{name}: need {need} of {len(joined)} joins, with nothing else to wait for")
        if need is None:
            waits = self._needed((*waits, *joined, *(() if history is None else (history,))))
        said = tuple(text for text in texts if text.tokens)
        nodes.append(
            Node(
                name=self._prefix + name,
                after=waits or joined,
                need=need,
                cancel_losers=cancel_losers,
                history=history,
                joins=joined,
                texts=said,
                input_tokens=self._prompt(said, history, joined, need),
                output_tokens=self.tokens(output) or 1,
                gap_ns=round(self.draw(gap) * NS_PER_S),
                agent=agent or self._agent,
                depth=self._depth if depth is None else depth,
                model=model or self._model,
            )
        )
        return len(nodes) - 1

    def _prompt(self, said: tuple[Text, ...], history: int | None, joined: tuple[int, ...], need: int | None) -> int:
        """The tokens of a prompt: what is new, what went before it, and the answers it is made of."""
        nodes = self._nodes
        tokens = sum(text.tokens for text in said)
        if history is not None:
            tokens += nodes[history].input_tokens + nodes[history].output_tokens
        if joined:
            answers = sum(nodes[join].output_tokens for join in joined)
            tokens += answers if need is None else round(answers * need / len(joined))
        return tokens

    def _needed(self, calls: tuple[int, ...]) -> tuple[int, ...]:
        """These calls without those that another of them has waited for anyhow: what is left are the branches."""
        waited: set[int] = set()
        first = min(calls, default=0)
        stack = list(calls)
        while stack:
            for place in self._nodes[stack.pop()].after:
                if place >= first and place not in waited:
                    waited.add(place)
                    stack.append(place)
        return tuple(call for call in dict.fromkeys(calls) if call not in waited)

    def agent(self, name: str, *, stage: str = "", model: str | None = None) -> SessionBuilder:
        """A builder for the calls of a sub-agent, in the same session, one level deeper.

        Its calls are named `<stage><agent>.<call>`: an agent that comes again needs a stage.
        """
        below = SessionBuilder.__new__(SessionBuilder)
        below.__dict__.update(self.__dict__)
        below._agent = name if self._agent == "main" else f"{self._agent}.{name}"
        below._depth = self._depth + 1
        below._prefix = f"{self._prefix}{stage}{name}."
        below._model = model or self._model
        return below

    def reach(self, call: int) -> int:
        """How long the conversation is after a call: its planned prompt and answer, in tokens."""
        return self._nodes[call].input_tokens + self._nodes[call].output_tokens

    def session(self) -> Session:
        """What was built."""
        return Session(index=self._index, kind=self._kind, nodes=tuple(self._nodes))


def _indices(calls: Calls) -> tuple[int, ...]:
    return (calls,) if isinstance(calls, int) else tuple(calls)
