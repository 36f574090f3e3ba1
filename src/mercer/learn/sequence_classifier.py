"""Classification of long sequences by stacked long convolutions, or any other mixer."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any, Self

import torch
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from mercer.arrays import like
from mercer.learn.classes import Array, find_classes
from mercer.learn.random_states import as_random_state
from mercer.learn.saving import Saved
from mercer.learn.sequence_data import as_sequence_lengths, as_sequences
from mercer.learn.sequence_settings import check_settings, sequence_network
from mercer.nn.models import SequenceModel
from mercer.nn.training import CosineDecay, TensorBatches, train

__all__ = ["SequenceClassifier"]

KERNEL_DIMS, LAYERS = (4, 16, 64), (1, 2, 4)  # tried by "auto"
CHUNK = 256  # sequences that are predicted at once


class SequenceClassifier(ClassifierMixin, Saved, BaseEstimator):
    """Classes of sequences of one length: sensors, audio, bytes, pixels, from a few dozen steps to a million.

    Each layer convolves every channel with a kernel as long as the sequence, in ``O(L log L)``, and mixes the channels.

    Args:
        kernel: "sgconv", "dense" or "s4d", as in :class:`mercer.nn.LongConv`.
        kernel_dim: numbers a scale of "sgconv"; "auto" tries 4, 16 and 64 on a fifth of the rows.
        decay: of "sgconv".
        causal: whether a step is mixed with earlier ones only.
        layer: another mixer than a long convolution of ``kernel``, by name ("softmax", "transnormer", "soft", ...); or
            what makes one of a given width, as in :class:`mercer.nn.models.SequenceModel`; a classifier with a function
            cannot be saved.
        layers: how many; "auto" tries 1, 2 and 4.
        width: columns within.
        norm: "batch", "rms" or "layer"; None is "batch" for two-sided layers and "rms" for causal ones.
        prenorm, pool, dropout: as in :class:`mercer.nn.models.SequenceModel`.
        max_epochs: passes over the rows.
        batch_size: sequences of a step.
        learning_rate: at the start of a cosine that ends at 0; kernels have their own.
        kernel_learning_rate: of the kernels.
        weight_decay: of what is neither kernel nor bias.
        validation_fraction: share of the rows, of each class, that stops the training; 0 uses all rows to learn.
        n_iter_no_change: epochs without a lower validation loss until it stops.
        standardize: whether each feature is centred and divided by its deviation over all rows and steps.
        checkpoint: a file from which an interrupted fit goes on.
        device: where it learns; None is the CPU.
        random_state: of weights, order and dropout.

    Attributes:
        classes_: the classes, sorted.
        network_: the :class:`mercer.nn.models.SequenceModel`.
        history_: losses by epoch, as :func:`mercer.nn.training.train` gives them.
        candidates_: with "auto", what was tried: ``kernel_dim``, ``layers`` and the validation loss of each.
        n_features_in_: steps of a sequence.

    Predictions are made in float64, so that they do not depend on what else is asked.
    Cost: ``O(L log L)`` a channel and ``O(L width^2)``, a layer and sequence.
    Source: Li et al., SGConv (ICLR 2023); Fu et al., Simple Hardware-Efficient Long Convolutions (ICML 2023).

    >>> t = np.arange(50)
    >>> X = np.array([np.sin(0.2 * f * t + p) for f in (1, 2) for p in range(20)])
    >>> y = np.repeat(["slow", "fast"], 20)
    >>> model = SequenceClassifier(width=8, layers=1, kernel_dim=4, max_epochs=30, batch_size=10, random_state=0)
    >>> model.fit(X, y).score(X, y) > 0.9
    True
    """

    _not_saved = ("network_",)

    def __init__(
        self,
        *,
        kernel: str = "sgconv",
        kernel_dim: int | str = 16,
        decay: Any = 2.0,
        causal: bool = False,
        layer: str | Callable[[int], nn.Module] | None = None,
        layers: int | str = 2,
        width: int = 64,
        norm: str | None = None,
        prenorm: bool = True,
        pool: str = "mean",
        dropout: float = 0.0,
        max_epochs: int = 40,
        batch_size: int = 64,
        learning_rate: float = 0.01,
        kernel_learning_rate: float = 1e-3,
        weight_decay: float = 0.05,
        validation_fraction: float = 0.0,
        n_iter_no_change: int = 10,
        standardize: bool = True,
        checkpoint: str | os.PathLike[str] | None = None,
        device: str | None = None,
        random_state: Any = None,
    ) -> None:
        self.kernel = kernel
        self.kernel_dim = kernel_dim
        self.decay = decay
        self.causal = causal
        self.layer = layer
        self.layers = layers
        self.width = width
        self.norm = norm
        self.prenorm = prenorm
        self.pool = pool
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.kernel_learning_rate = kernel_learning_rate
        self.weight_decay = weight_decay
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.standardize = standardize
        self.checkpoint = checkpoint
        self.device = device
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, lengths: Any = None) -> Self:
        """Learn from all sequences.

        Args:
            X: ``(n, L)``, or ``(n, L, features)``.
            y: ``(n,)`` classes: numbers or text.
            lengths: ``(n,)``, where the ends of sequences are padding.

        Raises:
            ValueError: arguments out of range, one class only, NaN or infinity.
            NotConverged: the loss became NaN.
        """
        check_settings(self)
        steps, y = as_sequences(self, X, y)
        self.classes_, codes = find_classes(y)
        sizes = as_sequence_lengths(lengths, steps)
        self._center, self._spread = _scales(steps, sizes, wanted=self.standardize)
        data = [(steps - self._center) / self._spread, torch.from_numpy(codes), *([] if sizes is None else [sizes])]
        data[0] = data[0].float()
        self._n_columns = steps.shape[-1]
        self._seed = int(as_random_state(self.random_state).randint(2**31 - 1))
        self._choose(data)
        self._learn(data)
        self._weights = {name: value.detach().cpu() for name, value in self.network_.state_dict().items()}
        return self

    def predict(self, X: Any, *, lengths: Any = None) -> Array:
        """The most probable class of each sequence, ``(m,)``."""
        places = self._probabilities(X, lengths).argmax(1).numpy()
        found: Array = self.classes_[places]
        return found

    def predict_proba(self, X: Any, *, lengths: Any = None) -> Any:
        """The probability of each class, ``(m, classes)``."""
        return like(self._probabilities(X, lengths), X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def _choose(self, data: list[Tensor]) -> None:
        """Set kernel_dim_ and layers_, tried on a fifth of the rows where "auto" is asked for."""
        length = data[0].shape[1]
        dims = [d for d in KERNEL_DIMS if d <= length] or [length] if self.kernel_dim == "auto" else [self.kernel_dim]
        depths = list(LAYERS) if self.layers == "auto" else [self.layers]
        self.candidates_: list[dict[str, float]] = []
        choices = [(int(d), int(n)) for d in dims for n in depths]
        if len(choices) > 1:
            fit, choose = _split(data, 0.2, self._seed)
            for d, n in choices:
                self.kernel_dim_, self.layers_ = d, n
                loss = self._learn(fit, choose, epochs=max(1, self.max_epochs // 3)).valid_losses
                self.candidates_.append({"kernel_dim": d, "layers": n, "loss": min(loss)})
            best = min(range(len(choices)), key=lambda i: self.candidates_[i]["loss"])
            choices = [choices[best]]
        self.kernel_dim_, self.layers_ = choices[0]

    def _learn(self, data: list[Tensor], choose: list[Tensor] | None = None, epochs: int | None = None) -> Any:
        is_final = epochs is None
        if is_final and self.validation_fraction:
            data, choose = _split(data, self.validation_fraction, self._seed)
        network = self._build(data[0].shape[1]).to(self.device or "cpu")
        total = self.max_epochs if epochs is None else epochs
        adam = partial(torch.optim.AdamW, lr=self.learning_rate, weight_decay=self.weight_decay, fused=True)
        decay = CosineDecay(adam, n_epochs=total)
        history = train(
            network,
            TensorBatches(data, int(self.batch_size)),
            loss=_loss,
            n_epochs=total,
            optimizer=decay,
            valid_loader=None if choose is None else TensorBatches(choose, CHUNK, shuffle=False),
            patience=None if choose is None or not is_final else int(self.n_iter_no_change),
            callbacks=[decay.after_epoch],
            checkpoint=self.checkpoint if is_final else None,
            random_state=self._seed,
            description=f"{type(self).__name__}",
        )
        if is_final:
            self.network_, self.history_ = network.cpu(), vars(history)
        return history

    def _build(self, length: int) -> SequenceModel:
        return sequence_network(self, length, self._n_columns, len(self.classes_), self.kernel_dim_, self.layers_)

    @torch.no_grad()
    def _probabilities(self, X: Any, lengths: Any) -> Tensor:
        check_is_fitted(self)
        steps, _ = as_sequences(self, X)
        sizes = as_sequence_lengths(lengths, steps)
        x = (steps - self._center) / self._spread
        network, found = self.network_.double(), []
        for first in range(0, len(x), CHUNK):
            rows = slice(first, first + CHUNK)
            found.append(network(x[rows], lengths=None if sizes is None else sizes[rows]).softmax(-1))
        return torch.cat(found)

    def _restore(self) -> None:
        """Build the network again around the saved weights."""
        if hasattr(self, "_weights"):
            self.network_ = self._build(self.n_features_in_).eval()
            self.network_.load_state_dict(self._weights)


def _loss(network: nn.Module, batch: Any) -> Tensor:
    x, y, *lengths = batch
    return nn.functional.cross_entropy(network(x, lengths=lengths[0] if lengths else None), y)


def _scales(steps: Tensor, sizes: Tensor | None, *, wanted: bool) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each feature without padding, or 0 and 1; a feature that never changes keeps its size."""
    if not wanted:
        return torch.zeros_like(steps[0, 0]), torch.ones_like(steps[0, 0])
    rows = steps.flatten(0, 1) if sizes is None else steps[torch.arange(steps.shape[1]) < sizes[:, None]]
    deviation = rows.std(0, correction=0)
    return rows.mean(0), torch.where(deviation > 0.0, deviation, torch.ones_like(deviation))


def _split(data: list[Tensor], share: float, seed: int) -> tuple[list[Tensor], list[Tensor]]:
    """Rows to learn and rows to choose by: ``share`` of each class, at least one where there are two."""
    order = torch.randperm(len(data[0]), generator=torch.Generator().manual_seed(seed))
    codes = data[1][order]
    held = torch.zeros(len(order), dtype=torch.bool)
    for code in codes.unique():
        places = (codes == code).nonzero()[:, 0]
        held[places[: max(round(share * len(places)), int(len(places) > 1))]] = True
    return [t[order[~held]] for t in data], [t[order[held]] for t in data]
