"""Positive random features of the softmax and the Gaussian kernel."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.kernels.base import Kernel
from mercer.kernels.draws import draw
from mercer.kernels.features.base import Features, require_count, require_method
from mercer.kernels.points import as_points
from mercer.kernels.rbf import RBF
from mercer.kernels.softmax import Softmax
from mercer.kernels.spectra import one_a_column


class PositiveFeatures(Features):
    r"""Positive random features of exp(x . y): what linear attention needs, since its rows are divided by their sums.

    .. math:: \phi_i(x) = \frac{(1 + 4 a)^{d/4}}{\sqrt m} \exp\left(-a |\omega_i|^2 + \sqrt{1 + 4 a}\, \omega_i \cdot x
        - \frac{|x|^2}{2}\right), \quad \omega_i \sim N(0, I)

    for x in lengthscales and a damping a >= 0: unbiased for every a. Of the Gaussian kernel, which is
    ``exp(-|x|^2 / 2) exp(x . y) exp(-|y|^2 / 2)``, the same with ``-|x|^2``. The variance of one feature's product is

    .. math:: \left(\frac{(1 + 4 a)^2}{1 + 8 a}\right)^{d/2} \exp\left(\frac{2 (1 + 4 a)}{1 + 8 a} |x + y|^2
        - |x|^2 - |y|^2\right) - e^{2 x \cdot y}

    so it is small where k is small, unlike that of waves (:class:`RandomFourier`), and large where ``|x + y|`` is.

    Args:
        kernel: :class:`mercer.kernels.Softmax` or :class:`mercer.kernels.RBF`.
        n_features: how many; even when hyperbolic.
        d: columns of the points.
        method: how omega is drawn: "orthogonal" (the default), "iid" or "quasi".
        damping: a. 0 gives the features of FAVOR+; :func:`optimal_damping` the best value for given points.
        hyperbolic: use every omega with both signs: at a = 0 the variance is ``1 - exp(-|x + y|^2)`` times that of as
            many features without, and orthogonal ones gain more.
        random_state: int, generator or None.

    Raises:
        TypeError: another kernel.
        ValueError: a negative damping, an odd number of hyperbolic features, or an unknown method.

    Cost: ``n * d * n_features`` multiply-adds and ``n * n_features`` exponentials.
    Source: Choromanski et al., Rethinking attention with Performers (ICLR 2021), lemma 1; damping: Likhosherstov et
    al., Chefs' random tables (NeurIPS 2022), section 3 (their A is -a).

    >>> features = PositiveFeatures(mc.kernels.Softmax(), 4096, d=2, random_state=0)
    >>> features(torch.tensor([[0.5, 0.0]])) @ features(torch.tensor([[1.0, 0.3]])).mT  # exp(0.5) = 1.6487
    tensor([[1.7...]])
    """

    def __init__(
        self,
        kernel: Kernel,
        n_features: int,
        *,
        d: int,
        method: str = "orthogonal",
        damping: float = 0.0,
        hyperbolic: bool = False,
        random_state: Any = None,
    ) -> None:
        self.kernel, self.n_features, self.d, self.method = kernel, n_features, d, method
        self.damping, self.hyperbolic, self.random_state = damping, hyperbolic, random_state
        self.check()

    @classmethod
    def for_points(cls, kernel: Kernel, n_features: int, X: Any, Y: Any = None, **arguments: Any) -> Self:
        """The features with the damping that is best for the pairs of X and Y (None: X); see the constructor."""
        points = as_points(X, "X")
        require_exponential(kernel)
        scale = one_a_column(kernel.hyperparameter("lengthscale").detach(), points.shape[-1])
        others = points if Y is None else as_points(Y, "Y", like=points)
        damping = optimal_damping(points.double() / scale.to(points.device), others.double() / scale.to(points.device))
        return cls(kernel, n_features, d=points.shape[-1], damping=damping, **arguments)

    def check(self) -> None:
        """Raise for an argument outside its domain; draw anew where another draw is asked for."""
        super().check()
        require_exponential(self.kernel)
        require_count("PositiveFeatures", "d", self.d)
        signs = 2 if self.hyperbolic else 1
        require_count("PositiveFeatures", "n_features", self.n_features, multiple=signs)
        require_method("PositiveFeatures", self.method)
        if not (isinstance(self.damping, float | int) and 0.0 <= self.damping < math.inf):
            raise ValueError(f"PositiveFeatures(damping={self.damping!r}): damping must be a finite number >= 0.")
        asked = (self.n_features // signs, self.d, self.method, self.random_state)
        if asked != getattr(self, "_asked", None):
            self._asked = asked
            m = self.n_features // signs
            self._normals = draw(m, (self.d,), 0, method=self.method, random_state=self.random_state).normals[0]

    def compute(self, X: Tensor) -> Tensor:
        """Exponentials of :meth:`log_features`."""
        return self.log_features(X).exp()

    def log_features(self, X: Tensor) -> Tensor:
        """log phi(x), ``(*batch, n, d) -> (*batch, n, n_features)``, for sums that must not overflow."""
        a = float(self.damping)
        U = X / one_a_column(self.kernel.hyperparameter("lengthscale"), self.d).to(X)
        omega = self._normals
        front = 0.25 * self.d * math.log1p(4.0 * a) - 0.5 * math.log(self.n_features) - a * omega.square().sum(1)
        share = 1.0 if isinstance(self.kernel, RBF) else 0.5
        waves = U @ (math.sqrt(1.0 + 4.0 * a) * omega).to(X).mT
        rest = front.to(X) - share * U.square().sum(-1, keepdim=True)
        return torch.cat([waves + rest, rest - waves], -1) if self.hyperbolic else waves + rest


def optimal_damping(X: Any, Y: Any = None) -> float:
    """The damping of :class:`PositiveFeatures` with the least variance at the mean of ``|x + y|^2`` over all pairs.

    Args:
        X: ``(n, d)``, in lengthscales.
        Y: ``(m, d)``; None means X.

    Raises:
        ShapeError: no points, or other columns.

    Cost: one pass over the points.
    Source: Likhosherstov et al., Chefs' random tables (NeurIPS 2022), theorem 3.2.

    >>> round(optimal_damping(torch.ones(5, 4)), 4)
    1.1019
    """
    X = as_points(X, "X").double()
    Y = X if Y is None else as_points(Y, "Y", like=X)
    if X.shape[-1] != Y.shape[-1] or not X.numel() or not Y.numel():
        raise ShapeError(f"optimal_damping(X, Y): points are needed with equal columns, not {X.shape} and {Y.shape}.")
    d = X.shape[-1]
    means = X.reshape(-1, d).mean(0), Y.reshape(-1, d).mean(0)
    spread = float(X.square().sum(-1).mean() + Y.square().sum(-1).mean() + 2.0 * means[0] @ means[1])
    # The positive root of 2 s r^2 + (2 s + d) r - d = 0, in the form that does not cancel; a = (1 / r - 1) / 8.
    root: float = 2.0 * d / (math.sqrt((2.0 * spread + d) ** 2 + 8.0 * d * spread) + 2.0 * spread + d)
    return max(0.0, (1.0 / root - 1.0) / 8.0)


def require_exponential(kernel: Any) -> None:
    """Raise TypeError for a kernel that has no positive features."""
    if not isinstance(kernel, Softmax | RBF):
        raise TypeError(f"PositiveFeatures are of Softmax or RBF, not of {kernel!r}. RandomFourier takes more kernels.")
