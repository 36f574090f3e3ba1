"""Nystrom features: a kernel as some of its points see it."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from mercer.arrays import generator
from mercer.config import require_memory
from mercer.kernels.base import Kernel
from mercer.kernels.features.base import Features, require_count
from mercer.kernels.points import as_points
from mercer.operators.solvers import pivoted_cholesky

JITTER = 1e-10  # as for the centres of mercer.learn: what float64 resolves, with room for the round-off of the kernel


class NystromFeatures(Features):
    r"""Nystrom features of any kernel: its projection onto the functions k(., c) of m centres c.

    .. math:: \phi(x) = L^{-1} k(C, x), \quad L L^\top = k(C, C) + \varepsilon I, \quad
        \langle \phi(x), \phi(y) \rangle = k(x, C) \left(k(C, C) + \varepsilon I\right)^{-1} k(C, y)

    Never more than the kernel (the difference is positive semidefinite), and exact where x or y is a centre, up to the
    jitter. The factor and the features are computed in float64 whatever X is: small pivots magnify round-off.

    Args:
        kernel: any kernel without noise of its own; positive semidefinite.
        centers: ``(m, d)``. From data: :meth:`from_data`.
        jitter: epsilon, as a fraction of the mean of the diagonal of k(C, C).

    Raises:
        ValueError: the kernel has noise (White), or k(C, C) is not positive definite even with the jitter.
        MemoryBudgetError: k(C, C) does not fit.

    Cost: ``n m`` entries of the kernel and ``n m^2 / 2`` multiply-adds; ``m^3 / 3`` once, and again at every call while
    gradients in hyperparameters or centres are recorded.
    Source: Williams & Seeger, Using the Nystrom method to speed up kernel machines (NIPS 2000), eq. 8 and 11.

    >>> X = torch.linspace(0.0, 1.0, 50).reshape(-1, 1)
    >>> features = NystromFeatures.from_data(mc.kernels.RBF(lengthscale=0.3), X, 10, random_state=0)
    >>> float((features(X) @ features(X).mT - mc.kernels.RBF(lengthscale=0.3)(X).to_dense()).abs().max()) < 1e-4
    True
    """

    def __init__(self, kernel: Kernel, centers: Any, *, jitter: float = JITTER) -> None:
        self.kernel, self.centers, self.jitter = kernel, centers, jitter
        self.check()

    @classmethod
    def from_data(
        cls,
        kernel: Kernel,
        X: Any,
        n_centers: int,
        *,
        sampling: str = "pivoted",
        jitter: float = JITTER,
        random_state: Any = None,
    ) -> Self:
        """Centres chosen among the rows of X.

        Args:
            kernel: the kernel.
            X: ``(n, d)``.
            n_centers: at most so many; fewer where more would add nothing but round-off.
            sampling: "pivoted" draws each row in proportion to what the others leave unexplained of it (randomly
                pivoted Cholesky); "uniform".
            jitter: as in the constructor.
            random_state: int, generator or None.

        Raises:
            ValueError: another sampling.

        Cost: pivoted, ``n * n_centers^2`` multiply-adds and ``8 n * n_centers`` bytes.
        """
        points = as_points(X, "X")
        require_count("NystromFeatures.from_data", "n_centers", n_centers)
        source = generator(random_state)
        if sampling == "pivoted":
            chosen = pivoted_cholesky(kernel(points), n_centers, random_state=source).pivots
        elif sampling == "uniform":
            chosen = torch.randperm(len(points), generator=source)[:n_centers].to(points.device)
        else:
            raise ValueError(f"sampling={sampling!r}: choose 'pivoted' or 'uniform'.")
        return cls(kernel, points[chosen.sort().values], jitter=jitter)

    @property
    def d(self) -> int:  # type: ignore[override]
        """Columns of the points."""
        return int(self._centers.shape[-1])

    @property
    def n_features(self) -> int:  # type: ignore[override]
        """The number of centres."""
        return int(self._centers.shape[-2])

    def check(self) -> None:
        """Raise for an argument outside its domain, and where k(C, C) has no factor."""
        super().check()
        if not (isinstance(self.jitter, float | int) and self.jitter >= 0.0):
            raise ValueError(f"NystromFeatures(jitter={self.jitter!r}): jitter must be a number >= 0.")
        self._centers = as_points(self.centers, "centers").to(torch.float64)
        if self._centers.dim() != 2 or not len(self._centers):
            raise ValueError(f"NystromFeatures: centers must be (m, d) with m >= 1, not {tuple(self._centers.shape)}.")
        if self.kernel(self._centers[:1]).spec.has_delta:
            raise ValueError(
                f"{self.kernel!r} has noise (White), which features of centres cannot carry. Leave it out, and add it "
                f"to the diagonal afterwards: features.as_kernel() + White(...)."
            )
        self._factor: tuple[str, Tensor] | None = None
        if not self.is_batched:
            self._lower()

    def compute(self, X: Tensor) -> Tensor:
        """Triangular solves with the kernel between centres and points."""
        K = self.kernel(X.to(torch.float64), self._centers.to(X.device)).to_dense()  # (*batch, n, m)
        features: Tensor = torch.linalg.solve_triangular(self._lower().to(X.device), K.mT, upper=False).mT
        return features.to(X.dtype)

    def _lower(self) -> Tensor:
        """L, kept as long as the kernel stays the same and no gradient is recorded."""
        recorded = [self._centers, *(h.value for h in self.kernel.hyperparameters())]
        if torch.is_grad_enabled() and any(t.requires_grad for t in recorded):
            return self._factorise()
        text = repr(self.kernel)
        if self._factor is None or self._factor[0] != text:
            self._factor = (text, self._factorise().detach())
        return self._factor[1]

    def _factorise(self) -> Tensor:
        m = len(self._centers)
        require_memory(24 * m * m, asked=f"{m} centres", instead="Give fewer centres.")
        gram = self.kernel(self._centers).to_dense()
        shift = self.jitter * gram.diagonal().mean()
        lower: Tensor
        lower, failed = torch.linalg.cholesky_ex(gram + torch.diag(shift.expand(m)))
        if int(failed):
            raise ValueError(
                f"The kernel matrix of the {m} centres is not positive definite with a jitter of {self.jitter:g} of "
                f"its diagonal (row {int(failed)}). Give fewer centres, a larger jitter, or a kernel that is positive "
                f"semidefinite."
            )
        return lower

    def __repr__(self) -> str:
        m, d = self._centers.shape
        return f"NystromFeatures({self.kernel!r}, <{m} centers of {d} columns>, jitter={self.jitter!r})"
