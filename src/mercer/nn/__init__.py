"""Networks: layers, functions of them, and their training."""

from mercer.nn import training
from mercer.nn.bottleneck import BottleneckResidualMLP
from mercer.nn.distilled_round import DistilledRound
from mercer.nn.distilled_rounds import DistilledRounds
from mercer.nn.self_distillation import self_distill

__all__ = ["BottleneckResidualMLP", "DistilledRound", "DistilledRounds", "self_distill", "training"]
