"""Networks: layers, functions of them, and their training."""

from mercer.nn import training
from mercer.nn.self_distillation import DistilledRound, self_distill

__all__ = ["DistilledRound", "self_distill", "training"]
