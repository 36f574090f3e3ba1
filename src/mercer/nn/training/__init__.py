"""Training: one loop for any network, one for many small networks at once, and schemes for networks of their own."""

from mercer.nn.training.batched import BatchedHistory, half_squares, mean_squares, train_batched
from mercer.nn.training.batches import TensorBatches
from mercer.nn.training.layerwise import LayerwiseHistory, train_layerwise
from mercer.nn.training.loop import History, Loss, evaluate, move, reproducible, train
from mercer.nn.training.next_token import next_token_loss
from mercer.nn.training.schedule import CosineDecay, InverseRootDecay

__all__ = [
    "BatchedHistory",
    "CosineDecay",
    "History",
    "InverseRootDecay",
    "LayerwiseHistory",
    "Loss",
    "TensorBatches",
    "evaluate",
    "half_squares",
    "mean_squares",
    "move",
    "next_token_loss",
    "reproducible",
    "train",
    "train_batched",
    "train_layerwise",
]
