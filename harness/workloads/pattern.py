"""What patterns have in common: parameters in, sessions out; and patterns made of a plain function.

@pattern
def research(build: SessionBuilder, *, searches: int = 4) -> None:
    plan = build.call("plan", texts=[build.text(400)], output=100)
    found = [build.call(f"search-{n + 1}", after=plan, texts=[build.text(900)], output=200) for n in range(searches)]
    build.call("report", joins=found, history=plan, output=500)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar, get_type_hints

from pydantic import Field, create_model

from harness.config.experiment import WorkloadConfig
from harness.workloads.builder import DIVISORS, SessionBuilder
from harness.workloads.session import Session


class Pattern:
    """Base of patterns: subclasses say which `Params` they have and `build` one session."""

    Params: ClassVar[type[WorkloadConfig]] = WorkloadConfig
    params: WorkloadConfig

    def __init__(self, params: Any) -> None:
        self.params = params

    def session(self, seed: int, index: int) -> Session:
        """The session of this index. Pure; see `Workload`."""
        kind = self.params.kind.rpartition(":")[2]  # of `./agent.py:research`, `research`
        build = SessionBuilder(kind, seed, index, divisor=DIVISORS[self.params.scale])
        self.build(build)
        return build.session()

    def build(self, build: SessionBuilder) -> None:
        """Write down one session's calls."""
        raise NotImplementedError


def pattern(function: Callable[..., None]) -> type[Pattern]:
    """A workload out of a function: its keyword parameters become keys of the config, checked by their types.

    Raises:
        TypeError: a parameter has no type or no default, or there is none for the builder.
    """
    hints = get_type_hints(function, include_extras=True)
    _, *parameters = inspect.signature(function).parameters.values()
    fields: dict[str, Any] = {}
    for parameter in parameters:
        name = parameter.name
        if parameter.default is parameter.empty or name not in hints:
            raise TypeError(
                f"{function.__name__}: the parameter {name} needs a type and a default, as in {name}: int = 4"
            )
        if name in WorkloadConfig.model_fields:
            raise TypeError(f"{function.__name__}: every workload has a key {name} already; choose another name")
        fields[name] = (
            hints[name],
            Field(parameter.default, validate_default=True, description=name.replace("_", " ")),
        )

    class Written(Pattern):
        __doc__ = function.__doc__
        Params = create_model(f"{function.__name__}.Params", __base__=WorkloadConfig, **fields)

        def build(self, build: SessionBuilder) -> None:
            function(build, **{name: getattr(self.params, name) for name in fields})

    Written.__name__ = Written.__qualname__ = function.__name__
    return Written
