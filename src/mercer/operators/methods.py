"""Which method solves a system, predicted from its size and the memory, and what every method reports."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mercer.config import format_bytes, memory_budget
from mercer.operators.cholesky import cholesky_bytes
from mercer.operators.rates import rates
from mercer.operators.system import System

__all__ = ["Attempt", "choose_method", "finish", "product_seconds", "cholesky_seconds"]

_SMALL = 4000  # up to here a Cholesky factorisation takes well under a second
