"""The server of a config, up for several runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness import registry
from harness.config import Experiment


@contextmanager
def kept_up(experiment: Experiment) -> Iterator[Experiment]:
    """The same experiment, whose server is up: started once where the config says so, stopped at the end.

    Raises:
        TargetError: the server did not start.
    """
    backend = registry.load("harness.backends", experiment.backend.kind)(experiment.backend)
    with backend.launch() as params:
        attached = params.model_copy(update={"launch": None}) if params.url else params
        yield experiment.model_copy(update={"backend": attached})
