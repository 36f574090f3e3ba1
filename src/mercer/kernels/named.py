"""The kernels that scikit-learn calls by a string, with ``gamma``, ``degree`` and ``coef0``."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mercer.kernels.base import Kernel
from mercer.kernels.binder import Binder
from mercer.kernels.laplacian import Laplacian
from mercer.kernels.linear import Linear
from mercer.kernels.points import require_not_negative
from mercer.kernels.polynomial import Polynomial
from mercer.kernels.rbf import RBF
from mercer.operators.maps import Expression
from mercer.operators.statistics import Columns, TileStatistic

NAMES = ("additive_chi2", "chi2", "cosine", "laplacian", "linear", "poly", "polynomial", "rbf", "sigmoid")
METRICS = ("additive_chi2", "chi2", "cosine", "polynomial", "sigmoid")


@dataclass(frozen=True)
class PairwiseFunction:
    """A tile function of one of the :data:`METRICS`, in plain torch."""

    metric: str
    gamma: float
    degree: float
    coef0: float
    flops_per_pair: float = 1e3
    bytes_per_pair: float = 16.0

    def __call__(self, X: Tensor, Y: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d), (q, d) -> (p, q)``."""
        if self.metric == "cosine":
            return _unit(X) @ _unit(Y).mT
        if self.metric in ("chi2", "additive_chi2"):
            distance = sum((_chi2(x[:, None], y) for x, y in zip(X.mT, Y.mT, strict=True)), X.new_zeros(len(X), len(Y)))
            return -distance if self.metric == "additive_chi2" else torch.exp(-self.gamma * distance)
        return self._of_product(X @ Y.mT)

    def diagonal(self, X: Tensor, *theta: Tensor) -> Tensor:
        """``(p, d) -> (p,)``."""
        if self.metric == "cosine":
            return _unit(X).square().sum(-1)
        if self.metric in ("chi2", "additive_chi2"):
            return (X.new_zeros if self.metric == "additive_chi2" else X.new_ones)(len(X))
        return self._of_product(X.square().sum(-1))

    def _of_product(self, S: Tensor) -> Tensor:
        z = self.gamma * S + self.coef0
        return torch.tanh(z) if self.metric == "sigmoid" else z**self.degree


class Pairwise(Kernel):
    r"""A similarity of scikit-learn's ``pairwise_kernels`` that has no class of its own here; nothing is learnable.

    ========================  ==============================================================================
    ``"sigmoid"``             :math:`\tanh(\gamma \langle x, y \rangle + c)`; not positive semidefinite
    ``"cosine"``              :math:`\langle x, y \rangle / (|x|_2 |y|_2)`, 0 for a zero vector
    ``"chi2"``                :math:`\exp(-\gamma \sum_j (x_j - y_j)^2 / (x_j + y_j))`, for X, Y >= 0
    ``"additive_chi2"``       :math:`-\sum_j (x_j - y_j)^2 / (x_j + y_j)`, for X, Y >= 0; conditionally definite
    ``"polynomial"``          :math:`(\gamma \langle x, y \rangle + c)^p` for any p > 0 and c; a kernel only where
                              :class:`Polynomial` has it
    ========================  ==============================================================================

    Args:
        metric: one of the names above.
        gamma: as in scikit-learn; here it has a value.
        degree, coef0: as in scikit-learn.

    Raises:
        ValueError: an unknown name; at binding, negative data for the chi-squared ones.

    Cost: a tile of plain torch, without fusion; K is stored where it fits.
    Source: scikit-learn's user guide, pairwise metrics.

    >>> Pairwise("cosine")(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])).to_dense()
    tensor([[0.7071]])
    """

    def __init__(self, metric: str, gamma: float = 1.0, degree: float = 3, coef0: float = 1.0) -> None:
        self.metric, self.gamma, self.degree, self.coef0 = metric, gamma, degree, coef0
        self.check()

    def check(self) -> None:
        """Raise ValueError for an unknown name."""
        if self.metric not in METRICS:
            raise ValueError(f"Pairwise({self.metric!r}): there is no such metric. Choose from: {', '.join(METRICS)}.")

    def trace(self, binder: Binder) -> list[Expression]:
        """The tile function's values."""
        if "chi2" in self.metric:
            require_not_negative(binder.X, binder.Y, binder.all_columns, self.metric)
        function = PairwiseFunction(self.metric, float(self.gamma), float(self.degree), float(self.coef0))
        return [binder.statistic(TileStatistic(Columns(binder.columns), function=function))]


def from_name(
    name: str, *, n_features: int, gamma: float | None = None, degree: float = 3, coef0: float = 1.0
) -> Kernel:
    """What a string means as the kernel of scikit-learn's ``KernelRidge``, ``SVC`` and the like.

    Args:
        name: one of ``"linear"``, ``"rbf"``, ``"laplacian"``, ``"poly"``, ``"polynomial"``, ``"sigmoid"``,
            ``"cosine"``, ``"chi2"``, ``"additive_chi2"``.
        n_features: columns of X.
        gamma: None means ``1 / n_features`` (1 for ``"chi2"``). ``"rbf"`` is ``exp(-gamma |x - y|^2)``, so the
            lengthscale is ``(2 gamma) ** -0.5``.
        degree: of ``"poly"``.
        coef0: of ``"poly"`` and ``"sigmoid"``.

    Raises:
        ValueError: another name, or a negative gamma.

    >>> from_name("rbf", n_features=2)
    RBF(lengthscale=1.0)
    """
    if name not in NAMES:
        raise ValueError(f"There is no kernel {name!r}. Choose from: {', '.join(NAMES)}; or give a kernel object.")
    if gamma is None:
        gamma = 1.0 if name == "chi2" else 1.0 / max(1, n_features)
    if not gamma >= 0.0:
        raise ValueError(f"kernel {name!r} with gamma={gamma!r}: gamma must be >= 0.")
    if name == "linear":
        return Linear()
    if name == "rbf" and gamma > 0.0:
        return RBF((2.0 * gamma) ** -0.5)
    if name == "laplacian" and gamma > 0.0:
        return Laplacian(1.0 / gamma)
    if name in ("poly", "polynomial"):
        if gamma > 0.0 and coef0 >= 0.0 and float(degree).is_integer() and degree >= 1:
            return Polynomial(int(degree), coef0, gamma**-0.5)
        return Pairwise("polynomial", gamma, degree, coef0)
    if name in ("rbf", "laplacian"):
        from mercer.kernels.constant import Constant

        return Constant(1.0)  # gamma = 0: every two points are alike
    return Pairwise(name, gamma, degree, coef0)


def _unit(X: Tensor) -> Tensor:
    """Rows of length 1; zero rows stay."""
    length = torch.linalg.vector_norm(X, dim=-1, keepdim=True)
    return X / torch.where(length > 0.0, length, torch.ones_like(length))


def _chi2(x: Tensor, y: Tensor) -> Tensor:
    total = x + y
    positive = total > 0.0
    return torch.where(positive, (x - y).square() / torch.where(positive, total, torch.ones_like(total)), 0.0)
