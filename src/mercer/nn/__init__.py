"""Networks: layers, functions of them, and their training."""

from mercer.nn import diagnostics, training
from mercer.nn.distilled_round import DistilledRound
from mercer.nn.distilled_rounds import DistilledRounds
from mercer.nn.linearized_network import LinearizedNetwork
from mercer.nn.self_distillation import self_distill

__all__ = ["DistilledRound", "DistilledRounds", "LinearizedNetwork", "diagnostics", "self_distill", "training"]
