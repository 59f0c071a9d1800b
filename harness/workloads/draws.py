"""Where a session's luck comes from: (seed, session index) alone, whoever asks and in whatever order."""

from __future__ import annotations

import numpy as np


def draws(seed: int, index: int) -> np.random.Generator:
    """The random numbers of one session. Counter-based, so any session is reached at once.

    Philox with key (seed, index) [Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011].
    """
    return np.random.Generator(np.random.Philox(key=np.array((seed, index), dtype=np.uint64)))
