"""The gated feed-forward layer of many transformers."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["GatedMLP"]


class GatedMLP(nn.Module):
    r"""``W3 (swish(W1 x) * W2 x)``, with ``swish(t) = t sigmoid(t)``.

    Args:
        width: d, of inputs and outputs.
        hidden: width between them; None is ``int(8 d / 3)``, so that it has the parameters of an ungated one of 4 d.
        reference: as the official code of TransNormer at its newest commit, which does not know its own "swish" and
            takes the identity: ``W3 (W1 x * W2 x)``.

    Raises:
        ValueError: a hidden width below 1.

    Source: Shazeer 2020, "GLU variants improve transformer".

    >>> GatedMLP(6)(torch.zeros(2, 5, 6)).shape, GatedMLP(6).gate.out_features
    (torch.Size([2, 5, 6]), 16)
    """

    def __init__(self, width: int, hidden: int | None = None, *, reference: bool = False) -> None:
        super().__init__()
        hidden = 8 * width // 3 if hidden is None else hidden
        if hidden < 1:
            raise ValueError(f"GatedMLP(hidden={hidden}): it is a number of units >= 1.")
        self.reference = reference
        self.gate, self.up = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., d)`` to the same."""
        gate = self.gate(x) if self.reference else functional.silu(self.gate(x))
        out: Tensor = self.down(gate * self.up(x))
        return out
