"""What estimators with a ``kernel`` argument share, whatever they estimate."""

from __future__ import annotations

from typing import Any

from mercer.learn.inputs import Given, estimator_columns
from mercer.learn.similarity import Similarity, resolve

__all__ = ["KernelArgument"]


class KernelArgument:
    """Reads ``kernel`` and, where the estimator has them, ``gamma``, ``degree``, ``coef0`` and ``kernel_params``."""

    _not_saved: tuple[str, ...] = ("kernel_",)  # made again from ``kernel``, which has a safe form more often

    kernel: Any
    n_features_in_: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc] # of BaseEstimator, which comes later
        tags.input_tags.sparse = True
        tags.input_tags.pairwise = self._is_precomputed()
        return tags

    def _is_precomputed(self) -> bool:
        return isinstance(self.kernel, str) and self.kernel == "precomputed"

    def _kernel_gamma(self) -> float | None:
        return getattr(self, "gamma", None)

    def _resolved(self) -> Similarity:
        given = {name: getattr(self, name, None) for name in ("degree", "coef0")}
        return resolve(
            self.kernel,
            width=self.n_features_in_,
            names=estimator_columns(self),
            gamma=self._kernel_gamma(),
            kernel_params=getattr(self, "kernel_params", None),
            **{name: value for name, value in given.items() if value is not None},
        )

    def _similarity(self, given: Given) -> Similarity | None:
        """The kernel for these training data; None when they are the kernel matrix."""
        if self._is_precomputed():
            if given.points.shape[0] != given.points.shape[1]:
                raise ValueError(
                    f"kernel='precomputed': X must be a square kernel matrix, not {tuple(given.points.shape)}."
                )
            return None
        return self._resolved()

    def _restore(self) -> None:
        if hasattr(self, "n_features_in_"):
            self.kernel_ = None if self._is_precomputed() else self._resolved().kernel
