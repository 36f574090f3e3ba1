"""Training: one loop for any network, and one for many small networks at once."""

from mercer.nn.training.batched import BatchedHistory, half_squares, mean_squares, train_batched
from mercer.nn.training.loop import History, Loss, evaluate, move, reproducible, train

__all__ = [
    "BatchedHistory",
    "History",
    "Loss",
    "evaluate",
    "half_squares",
    "mean_squares",
    "move",
    "reproducible",
    "train",
    "train_batched",
]
