"""The layer that maps the Gram matrices of one layer to the kernel matrices of the next."""

from __future__ import annotations

import math
from typing import overload

import torch
from torch import Tensor, nn

from mercer.errors import ShapeError
from mercer.kernels.gram import check_gram, is_homogeneous, kernel_of_gram, square
from mercer.nn.gram_state import GramState

__all__ = ["GramKernel"]

_JITTER = {torch.float64: 1e-8, torch.float32: 1e-5}


class GramKernel(nn.Module):
    r"""``K = height * kernel(weight * G + bias)``, of a Gram matrix or of a whole state.

    Args:
        kernel: "rbf", "relu", "normalized_gaussian", "erf", "gelu", "linear" or "identity"; see
            :func:`mercer.kernels.gram_kernel`. The lengthscale of "rbf" is ``weight ** -0.5``.
        height, weight: > 0; where they start. For kernels of which a multiple of G gives a multiple (relu,
            normalized_gaussian, linear) the weight stays, unless there is a bias.
        bias: >= 0, added to every inner product; at 0 there is none, and none is learnt. "rbf" does not notice it.
        learn: whether height, weight and bias are learnt (in their logarithms).
        jitter: added to the diagonal of ``ii`` and, alike, to ``t``, as a share of the mean diagonal of ``ii``; never
            to ``ti``. None is 1e-8 in float64 and 1e-5 in float32.
        dtype: of the parameters; None is torch's default.

    Raises:
        ValueError: an unknown kernel, or numbers out of range.

    >>> GramKernel("linear", height=4.0)(torch.eye(2))
    tensor([[4., 0.],
            [0., 4.]], grad_fn=<MulBackward0>)
    """

    def __init__(
        self,
        kernel: str = "rbf",
        *,
        height: float = 1.0,
        weight: float = 1.0,
        bias: float = 0.0,
        learn: bool = True,
        jitter: float | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._function = kernel_of_gram(kernel)
        for name, value in (("height", height), ("weight", weight)):
            if not 0.0 < value < math.inf:
                raise ValueError(f"GramKernel: {name} must be positive and finite, not {value!r}.")
        for name, value in (("bias", bias), ("jitter", 0.0 if jitter is None else jitter)):
            if not 0.0 <= value < math.inf:
                raise ValueError(f"GramKernel: {name} must be >= 0 and finite, not {value!r}.")
        dtype = dtype or torch.get_default_dtype()
        self.kernel = kernel
        self.jitter = _JITTER.get(dtype, 1e-3) if jitter is None else jitter

        def parameter(value: float, learnt: bool) -> nn.Parameter:
            return nn.Parameter(torch.tensor(math.log(value), dtype=dtype), requires_grad=learn and learnt)

        self.log_height = parameter(height, True)
        self.log_weight = parameter(weight, bias > 0.0 or not is_homogeneous(kernel))
        self.log_bias = parameter(bias, True) if bias > 0.0 else None

    @overload
    def forward(self, given: Tensor) -> Tensor: ...

    @overload
    def forward(self, given: GramState) -> GramState: ...

    def forward(self, given: Tensor | GramState) -> Tensor | GramState:
        """Kernel values: of a Gram matrix ``(P, P)`` without jitter, or of a state with jitter.

        Raises:
            ShapeError: a matrix that is not square.
            IndefiniteGram: a matrix that is not symmetric, or has negative eigenvalues.
        """
        if isinstance(given, Tensor):
            check_gram(given)
            return self.matrix(given)
        if not isinstance(given, GramState):
            raise ShapeError(f"GramKernel maps a Gram matrix or a GramState, not {type(given).__name__}.")
        ii = self.matrix(given.ii)
        p, q = self._scaled(given.t), self._scaled(given.ii.diagonal())
        height = self.log_height.exp()
        ti = height * self._function(self._scaled(given.ti), p[..., None], q)
        small = self.jitter * ii.diagonal().mean()
        eye = torch.eye(len(ii), dtype=ii.dtype, device=ii.device)
        return GramState(ii + small * eye, ti, height * self._function(p, p, p) + small)

    def matrix(self, G: Tensor) -> Tensor:
        """Of a Gram matrix ``(P, P)`` that is known to be one, without jitter."""
        return self.log_height.exp() * square(self._function, self._scaled(G))

    def _scaled(self, G: Tensor) -> Tensor:
        scaled = G * self.log_weight.exp()
        return scaled if self.log_bias is None else scaled + self.log_bias.exp()

    def extra_repr(self) -> str:
        """The kernel's name."""
        return repr(self.kernel)
