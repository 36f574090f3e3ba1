"""Networks: layers, functions of them, and their training."""

from mercer.nn import training
from mercer.nn.batched_mlp import BatchedMLP
from mercer.nn.batched_module import BatchedModule
from mercer.nn.distilled_round import DistilledRound
from mercer.nn.distilled_rounds import DistilledRounds
from mercer.nn.self_distillation import self_distill

__all__ = ["BatchedMLP", "BatchedModule", "DistilledRound", "DistilledRounds", "self_distill", "training"]
