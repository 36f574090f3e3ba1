"""The long convolution as a layer: a kernel, a skip, and what mixes the channels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from mercer.arguments import check_sizes
from mercer.errors import ShapeError
from mercer.nn.convolution.dense_kernel import LongConvKernel
from mercer.nn.convolution.folded import FoldedConv
from mercer.nn.convolution.kernel import ConvolutionKernel
from mercer.nn.convolution.layer_parts import (
    ACTIVATIONS,
    OUTPUTS,
    ConvolutionLayer,
    make_kernel,
    n_taps,
    require_options,
)
from mercer.nn.convolution.long_convolution import PLANS, PlanName, long_conv
from mercer.nn.convolution.pictures import draw_kernel
from mercer.nn.convolution.s4d_kernel import S4DKernel
from mercer.nn.convolution.sgconv_kernel import SGConvKernel
from mercer.nn.convolution.state import METHODS, ConvState, Method
from mercer.nn.lengths import Lengths, kept_rows

__all__ = ["KERNELS", "LongConv"]

KERNELS: dict[str, type[ConvolutionKernel]] = {"dense": LongConvKernel, "sgconv": SGConvKernel, "s4d": S4DKernel}


class LongConv(ConvolutionLayer):
    r"""A depthwise convolution whose kernel is as long as the sequence, then a map across channels.

    .. math:: y = \mathrm{GLU}(W\,\mathrm{dropout}(\mathrm{gelu}(k * u + D u)) + b)

    Args:
        channels: H.
        length: the longest kernel. A longer sequence meets zeros there, with one warning.
        kernel: "dense" (:class:`LongConvKernel`), "sgconv" (:class:`SGConvKernel`) or "s4d" (:class:`S4DKernel`) with
            their defaults; or what makes a kernel, called with ``(channels, length, heads=...)``, such as
            ``partial(SGConvKernel, kernel_dim=16)``; or a module that gives ``(heads, channels, n)`` for ``kernel(n)``.
        causal: False is two-sided: later inputs count too, by a second set of kernels, so kernels get ``2 heads``.
        heads: C, kernels a channel; the output map takes ``C H`` columns.
        activation: "gelu", "relu", "silu" or None.
        output: "glu" is linear to 2 H columns, half of which gate the others; "linear"; None gives the C H columns.
        dropout: after the activation, in training; with ``tie_dropout`` whole channels.
        plan: as in :func:`mercer.nn.functional.long_conv`.
        state: how steps are made, as in :class:`ConvState`.
        random_state: of all weights; None draws from torch's global generator.

    Attributes:
        kernel: the module.
        D: the skip, ``(heads, channels)``.
        output_linear: the map; names as in the official code.

    Raises:
        ValueError: an unknown option, or a kernel of other sizes.

    Cost: ``O(L log L)`` a channel and ``O(L H^2)`` for the map; a step as in :class:`ConvState`.
    Source: Fu et al., Simple Hardware-Efficient Long Convolutions (ICML 2023); Li et al., SGConv (ICLR 2023).

    >>> layer = LongConv(16, 1000, kernel="sgconv", random_state=0).eval()
    >>> u = torch.randn(2, 300, 16)
    >>> y, state = layer.prefill(u[:, :299])
    >>> last, state = layer.step(u[:, 299], state)
    >>> torch.allclose(last, layer(u)[:, 299], atol=1e-5)
    True
    """

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        kernel: str | nn.Module | Callable[..., nn.Module] = "dense",
        causal: bool = True,
        heads: int = 1,
        activation: Literal["gelu", "relu", "silu"] | None = "gelu",
        output: Literal["glu", "linear"] | None = "glu",
        dropout: float = 0.0,
        tie_dropout: bool = False,
        plan: PlanName = "auto",
        state: Method = "auto",
        random_state: Any = None,
    ) -> None:
        check_sizes("LongConv", channels=channels, length=length, heads=heads)
        require_options(
            "LongConv",
            activation=(activation, tuple(ACTIVATIONS)),
            output=(output, OUTPUTS),
            plan=(plan, PLANS),
            state=(state, METHODS),
        )
        super().__init__(
            channels,
            heads,
            partial(_make_kernel, kernel, channels, length, heads if causal else 2 * heads),
            activation=activation,
            output=output,
            dropout=nn.Dropout1d(dropout) if tie_dropout else nn.Dropout(dropout),
            mix=nn.Linear,
            dim=-1,
            random_state=random_state,
        )
        self.length, self.causal, self.plan, self.state = length, causal, plan, state

    def forward(self, u: Tensor, *, state: ConvState | None = None, lengths: Lengths | None = None) -> Any:
        """The output ``(B, L, H)`` of ``(B, L, H)``; with a state ``(y, state)``.

        Args:
            u: any L >= 1.
            state: what came before, from :meth:`initial_state` or an earlier call; it is changed in place. For
                evaluation: no gradients flow through the convolution.
            lengths: ``(B,)``, of each sequence where its end is padding; the padding is not mixed in.

        Raises:
            ShapeError: another number of channels, or lengths that do not fit.
            ValueError: a state in training, of a two-sided layer, of another layer, or together with lengths.
        """
        if u.dim() != 3 or u.shape[-1] != self.channels or u.shape[1] < 1:
            raise ShapeError(f"LongConv({self.channels}): u is (B, L, {self.channels}), not {tuple(u.shape)}.")
        kept = kept_rows(u, lengths)
        if kept is not None:
            if state is not None:
                raise ValueError("LongConv: a state goes on after the last step, padding too, so lengths have no say.")
            u = u.masked_fill(~kept.unsqueeze(-1), 0.0)
        if state is None:
            mixed = long_conv(u, self._taps(u.shape[1]), skip=self.D, causal=self.causal, plan=self.plan)
        else:
            self._require_streaming()
            self._check_state(state)
            x = u.mT  # (B, H, n)
            mixed = (state.advance(x) + (self.D.unsqueeze(-1) * x.unsqueeze(1))).movedim(-1, 1)
        y = self._output(mixed.flatten(-2))
        return y if state is None else (y, state)

    def initial_state(self, batch: int = 1, *, method: Method | None = None) -> ConvState:
        """An empty state of ``batch`` sequences; ``method`` as in :class:`ConvState`, None the layer's own.

        Raises:
            ValueError: in training, for a two-sided layer, or a method that the kernel has no structure for.
        """
        self._require_streaming()
        return ConvState.start(self.kernel, batch, method=self.state if method is None else method, length=self.length)

    def prefill(
        self, u: Tensor, state: ConvState | None = None, *, method: Method | None = None
    ) -> tuple[Tensor, ConvState]:
        """The output of a chunk ``(B, n, H)`` after a state, or of the first one, and the state after it; n may be 0.

        A state that is given is changed in place.
        """
        state = self.initial_state(u.shape[0], method=method) if state is None else state
        if u.shape[1] == 0:
            return self._output(u.repeat(1, 1, self.heads)), state
        y, state = self(u, state=state)
        return y, state

    def step(self, u: Tensor, state: ConvState) -> tuple[Tensor, ConvState]:
        """One step ``(B, H)``; its output ``(B, H)`` and the state, which is changed in place.

        Raises:
            ValueError: in training, or for a two-sided layer.
            ShapeError: another shape, or the state of a layer with other heads.
            TypeError: no state of a convolution.
        """
        self._require_streaming()
        self._check_state(state)
        mixed = state.step(u) + self.D * u.unsqueeze(1)  # (B, C, H)
        y: Tensor = self._output(mixed.flatten(-2).unsqueeze(1)).squeeze(1)
        return y, state

    def kernel_(self, length: int | None = None) -> Tensor:
        """The kernel as it is: ``(heads, channels, length)``, of lags 0, 1, ...

        Two-sided: ``(heads, channels, 2 length)``, of lags ``-length`` to ``length - 1``.
        """
        k = self._fixed_taps(self.length if length is None else length)
        return k if self.causal else torch.cat([k[self.heads :].flip(-1), k[: self.heads]], -1)

    def plot_kernel(self, *, channels: int = 4, head: int = 0, axes: Any = None) -> Any:
        """Draw the kernels of the first channels over their lags; gives the axes."""
        return draw_kernel(self.kernel_(), self.causal, channels=channels, head=head, axes=axes)

    def at_rate(self, factor: float) -> Self:
        """This layer for signals that are sampled ``factor`` times as often, with ``factor`` times the length.

        The kernel is stretched over that many more taps, each as much weaker, so that a sum over the same time stays
        what it was; all other weights are the same. What was learnt at one rate so runs at another, as well as the
        signal is as smooth as that.

        Args:
            factor: 2 for twice the rate, 0.5 for half of it; what a kernel allows is told by its own ``at_rate``.

        Raises:
            ValueError: a factor that the kernel cannot have, or a kernel that has no ``at_rate``.

        >>> layer = LongConv(4, 100, kernel="s4d", random_state=0).eval()
        >>> slow = torch.randn(1, 20, 4).cumsum(1)
        >>> fast = slow.repeat_interleave(2, 1)  # each value held for two steps
        >>> torch.allclose(layer.at_rate(2)(fast)[:, 1::2], layer(slow), atol=1e-5)
        True
        """
        kernel: Any = self.kernel
        if not hasattr(kernel, "at_rate"):
            name = type(kernel).__name__
            raise ValueError(f"LongConv.at_rate: {name} does not say how it looks at another rate. Give it at_rate().")
        made = deepcopy(self)
        made.kernel = kernel.at_rate(factor)
        made.length = max(1, round(factor * self.length))
        return made

    def fold(self, length: int | None = None) -> FoldedConv:
        """This layer with its kernel fixed, made of torch's own grouped convolution: for export where FFTs are not
        known.

        Args:
            length: of the kernel; None is all of it. Shorter sequences are fine, except with a kernel that is resampled
                to each of them: its length has to be given, and is the only one then.

        Raises:
            ValueError: none is given for such a kernel.
        """
        is_resampled = getattr(self.kernel, "resample", None) == "sequence"
        if is_resampled and length is None:
            raise ValueError(
                "LongConv.fold: resample='sequence' has other taps for each length. Give that of the sequences."
            )
        only = length if is_resampled else None
        return FoldedConv(self.kernel_(length), self.D, self._fixed_output(), causal=self.causal, only=only).eval()

    @classmethod
    def from_official(cls, state_dict: Mapping[str, Tensor], **options: Any) -> Self:
        """A layer with weights of the official long convolution (safari, or its standalone file), or of S4D.

        Args:
            state_dict: with ``D``, ``kernel.kernel`` or ``kernel``, and ``output_linear...``; of S4D with
                ``kernel.log_dt``, ``kernel.log_A_real``, ``kernel.A_imag`` and ``kernel.C``, as in ``s4d.py`` of
                state-spaces/s4, and ``length=``, which they do not tell.
            options: of :class:`LongConv`; ``kernel_options``, a dict, are those of :class:`LongConvKernel`. What the
                weights do not tell has to be said: ``kernel_options={"squash": 0.003}``, the activation.

        The standalone class has taps of twice its length in a cyclic transform: half of them act on the future. It is
        loaded as what it is, a two-sided layer.

        Raises:
            ValueError: weights that are not there or do not fit.
        """
        from mercer.nn.convolution.official import from_s4d, from_safari

        build = from_s4d if "kernel.log_dt" in state_dict else from_safari
        return build(cls, state_dict, **options)

    def _taps(self, L: int) -> Tensor:
        """What :func:`long_conv` takes: of the right type, two-sided ones in cyclic order."""
        k: Tensor = self.kernel(n_taps(self, self.kernel, L, self.length))
        if self.causal:
            return k
        return torch.cat([k[: self.heads], k[self.heads :].flip(-1)], -1)

    def _output(self, mixed: Tensor) -> Tensor:
        y = self.activation(mixed)
        # Dropout1d leaves out rows of (B, C, L): with channels there, whole channels.
        y = self.dropout(y.mT).mT if isinstance(self.dropout, nn.Dropout1d) else self.dropout(y)
        found: Tensor = self.output_linear(y)
        return found

    def _check_state(self, state: ConvState) -> None:
        """Batch and channels are compared by the state itself."""
        if not isinstance(state, ConvState):
            raise TypeError(f"{type(self).__name__}: its state is a ConvState, as prefill gives it, not {state!r}.")
        if state.heads != self.heads:
            raise ShapeError(
                f"{type(self).__name__}: the state is of {state.heads} kernels a channel, the layer has {self.heads}. "
                f"Was it made by another layer?"
            )

    def _require_streaming(self) -> None:
        if not self.causal:
            raise ValueError("LongConv(causal=False) needs the future: it has no steps and no state. Use causal=True.")
        if self.training:
            raise ValueError(
                "LongConv: steps and states are for evaluation, since they keep the kernel: call .eval() first."
            )

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"channels={self.channels}, length={self.length}, heads={self.heads}, causal={self.causal}"


def _make_kernel(kernel: Any, channels: int, length: int, heads: int) -> nn.Module:
    hint = " (two-sided layers take two heads for each of their own)"
    made = make_kernel("LongConv", kernel, KERNELS, channels, length, heads, hint)
    longest = getattr(made, "length", length)
    if longest is not None and longest < length:
        raise ValueError(f"LongConv: the kernel has {longest} taps, but length={length}.")
    return made
