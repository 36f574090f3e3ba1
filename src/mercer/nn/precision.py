"""What must not be computed in half precision, inside autocast too."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ["without_autocast"]


def without_autocast(like: Tensor) -> AbstractContextManager[object]:
    """A context in which operations on the device of ``like`` keep the types of their arguments."""
    device = like.device.type
    is_on = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if is_on else nullcontext()
