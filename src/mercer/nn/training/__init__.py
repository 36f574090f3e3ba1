"""Training of networks: the one loop, and schemes for networks of their own."""

from mercer.nn.training.layerwise import LayerwiseHistory, train_layerwise
from mercer.nn.training.loop import History, Loss, evaluate, move, reproducible, train

__all__ = [
    "History",
    "LayerwiseHistory",
    "Loss",
    "evaluate",
    "move",
    "reproducible",
    "train",
    "train_layerwise",
]
