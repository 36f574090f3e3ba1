"""What is learnt of kernels and equations, as leaves for Adam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mercer.kernels import SpectralMixture
from mercer.learn.pde.axis_kernel import AxisKernel

__all__ = ["Parameters"]


class Parameters:
    """Logarithms of weights and lengthscales, frequencies, and unknown coefficients, as leaves of a graph.

    Args:
        kernels: where they begin, one an axis.
        unknowns: start of every learnt coefficient of the equation.
        in_widths: count frequencies from where they were at the last :meth:`settle`, in units of one over their
            components' lengthscales. A component of a long lengthscale is a sharp line, and steps of one length for all
            throw it off the ridge of the likelihood that it has found: of 240 steps on sin 100x those after the
            hundredth were lost, on every grid that was tried. False: in cycles per unit, as the released code does.
        device: of all of them.
    """

    def __init__(
        self,
        kernels: Sequence[SpectralMixture],
        unknowns: Mapping[str, float],
        *,
        in_widths: bool,
        device: torch.device | str = "cpu",
    ) -> None:
        self.envelopes = [kernel.envelope for kernel in kernels]
        self.axes: list[list[Tensor]] = []
        self._settled: list[Tensor] = []
        for kernel in kernels:
            w, mu, scale = (
                kernel.hyperparameter(name).detach().to(device).reshape(-1)
                for name in ("weights", "frequencies", "lengthscale")
            )
            w = w.clamp(min=1e-300)
            start = (w.log(), torch.zeros_like(mu), scale.expand_as(w).log())
            self.axes.append([t.clone().requires_grad_() for t in start])
            self._settled.append(mu.clone())
        # in units of their start, since a step of Adam is as long for all leaves
        self._units = {n: abs(v) or 1.0 for n, v in unknowns.items()}
        self._relative = {
            n: torch.tensor(v / self._units[n], dtype=torch.float64, device=device, requires_grad=True)
            for n, v in unknowns.items()
        }
        self._widths = [_width(s) if in_widths else torch.ones_like(s) for _, _, s in self.axes]

    def leaves(self) -> list[Tensor]:
        """All of them."""
        return [t for axis in self.axes for t in axis] + list(self._relative.values())

    @torch.no_grad()
    def settle(self) -> None:
        """Count frequencies from where they are, in widths as they are."""
        for i, (_, steps, s) in enumerate(self.axes):
            self._settled[i] = self._settled[i] + self._widths[i] * steps
            steps.zero_()
            self._widths[i] = _width(s)

    def frequencies(self) -> list[Tensor]:
        """Of each axis, with their graph; of any sign."""
        both = zip(self._settled, self._widths, self.axes, strict=True)
        return [settled + width * steps for settled, width, (_, steps, _) in both]

    def unknowns(self) -> dict[str, Tensor]:
        """Coefficients of the equation, with their graph."""
        return {n: self._units[n] * value for n, value in self._relative.items()}

    def kernels(self) -> list[AxisKernel]:
        """Kernels with their graph."""
        parts = zip(self.axes, self.frequencies(), self.envelopes, strict=True)
        return [AxisKernel(w.exp(), mu, s.exp(), e) for (w, _, s), mu, e in parts]

    def mixtures(self) -> list[SpectralMixture]:
        """Kernels as plain numbers; frequencies without their sign, which does not matter."""
        return [
            SpectralMixture(
                len(w),
                weights=w.detach().exp().tolist(),
                frequencies=mu.detach().abs().tolist(),
                lengthscale=s.detach().exp().tolist(),
                envelope=e,
            )
            for (w, _, s), mu, e in zip(self.axes, self.frequencies(), self.envelopes, strict=True)
        ]


def _width(log_lengthscales: Tensor) -> Tensor:
    """2 pi widths of the line of each component, in cycles per unit."""
    return torch.exp(-log_lengthscales.detach())
