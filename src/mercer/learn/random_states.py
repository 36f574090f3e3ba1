"""The ``random_state`` of estimators that draw with NumPy, so that answers agree with those of scikit-learn's twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state

from mercer.arrays import generator

__all__ = ["as_random_state"]


def as_random_state(random_state: Any) -> np.random.RandomState:
    """What scikit-learn makes of an int, None or RandomState; of a generator of torch or NumPy, seeded by one draw."""
    if isinstance(random_state, torch.Generator | np.random.Generator):
        random_state = int(torch.randint(2**31 - 1, (1,), generator=generator(random_state)))
    state: np.random.RandomState = check_random_state(random_state)
    return state
