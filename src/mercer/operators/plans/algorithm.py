"""What every plan is: one way to multiply by a kernel matrix, with its price."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from mercer.operators.operands import Identity, Operands
from mercer.operators.planning import Plan, Request
from mercer.operators.tiles import Call, OuterCotangent, multiply, pull

if TYPE_CHECKING:
    from mercer.operators.kernel_operator import KernelOperator
    from mercer.operators.solvers import DirectSolution

__all__ = ["Algorithm", "EntryAlgorithm"]


class Algorithm:
    """One way to multiply by a kernel matrix. Stateless: what it prepares lives in ``memory``, with the operator.

    Attributes:
        name: what users write, ``plan="tiles"``.
        structured: whether it uses more than the entries (grids, spectra, ranks), so that its cost is not ``n * m``.
        approximates: whether its error depends on the tolerance asked for.
        least_entries: below, the planner does not consider it: looking for its structure costs more than the product.
    """

    name: ClassVar[str]
    structured: ClassVar[bool] = True
    approximates: ClassVar[bool] = False
    least_entries: ClassVar[int] = (1 << 20) + 1

    def require(self) -> None:
        """Raise MissingExtra where it needs a package that is not installed."""

    def applies(self, request: Request) -> str | None:
        """None if it can do what is asked, else why not, as a sentence with what to do."""
        raise NotImplementedError

    def predict(self, request: Request) -> Plan:
        """Cost and error of what is asked; only called where it applies."""
        raise NotImplementedError

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """K @ v for v ``(*batch, m, t)``, without ``delta``, in the dtype of tiles; differentiable.

        Args:
            operands: those of K, with their graph.
            memory: lives as long as the operator, or for this call while gradients are recorded.
        """
        raise NotImplementedError

    def direct(self, K: KernelOperator, memory: dict[Any, Any]) -> DirectSolution | None:
        """Solutions and log-determinants of ``K + noise I`` without iterations over the points, if it has such."""
        return None


class EntryAlgorithm(Algorithm):
    """A plan that works with the entries of K: detached operands in, recomputed gradients by tiles out."""

    structured = False
    least_entries = 0

    def takes_batches(self, operands: Operands) -> bool:
        """Whether ``product`` and ``pull`` take a batch, in one leading dimension of all tensors."""
        return False

    def product(self, operands: Operands, identity: Identity | None, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """K @ v for unbatched, detached operands and v ``(m, t)``."""
        raise NotImplementedError

    def pull(
        self,
        operands: Operands,
        identity: Identity | None,
        cotangent: OuterCotangent,
        wanted: tuple[bool, ...],
        memory: dict[Any, Any],
    ) -> tuple[Tensor | None, ...]:
        """The gradient of a product in each of ``operands.flat()``, recomputed by tiles."""
        return pull(operands, cotangent, wanted, identity)

    def multiply(self, K: KernelOperator, operands: Operands, v: Tensor, memory: dict[Any, Any]) -> Tensor:
        """The product as an autograd function whose gradient is recomputed, never remembered."""
        return multiply(Call(operands.structure, K.identity, self, memory), v, operands)
