"""A kernel of pieces, each twice as long and half as strong as the one before: few parameters, and decay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from mercer.nn.convolution.hankel import hankel_basis, hankel_rows
from mercer.nn.convolution.kernel import ConvolutionKernel, stretched
from mercer.nn.precision import without_autocast
from mercer.nn.seeding import seeded

__all__ = ["SGConvKernel"]


class Part(NamedTuple):
    """A piece of a kernel: ``weights`` ``(C, H, d)``, each stretched over ``scale`` taps, from tap ``offset`` on."""

    offset: int
    scale: int
    weights: Tensor


class SGConvKernel(ConvolutionKernel):
    r"""The structured global convolution's kernel.

    .. math:: k = \frac1Z \bigl[\mathrm{Up}_{s_0}(w_0), \ldots, \alpha^{N-1} \mathrm{Up}_{s_{N-1}}(w_{N-1})\bigr],
        \quad s_i = 2^{\max(i - 1, 0)}, \quad \alpha = 1 / \text{decay}

    Each ``w_i`` has d numbers; Up stretches them to ``d s_i`` taps by linear interpolation. So the length L takes
    ``d (log2(L / d) + 1)`` parameters. Z makes the kernel's norm 1 at the start, and is fixed then.

    Args:
        channels, length, heads, learning_rate: as in :class:`ConvolutionKernel`.
        kernel_dim: d, numbers a scale. None is 64, or ``length`` where that is shorter.
        decay: how much weaker each next piece is, >= 1; a pair is spread linearly over the channels. 1 is no decay.
        power: instead of ``decay``, tap t is weakened by ``(t + 1)^-p``; one p for all channels, or a pair between
            which each channel's is drawn.
        learn_power: whether p is learnt.
        layout: "concat" as above; "sum" adds pieces that all start at tap 0, stretched by ``2^i``; "hankel" has d
            coefficients of the leading eigenvectors of ``H_ij = 2 / ((i + j)^3 - (i + j))``, and no pieces.
        init: "normal", or "cosine": channel h starts as ``cos(linspace(0, 2 pi h, d))``, channels in random order.
        interpolation: "linear" or "nearest".
        init_scale: all pieces stretched by ``2^init_scale`` more, and so many pieces fewer. What was trained on signals
            of one rate runs at twice that rate with one more: :meth:`at_rate`.
        resample: None cuts the pieces to ``length`` taps, as the paper does. Two ways of the official code's other
            branch: "length" resamples them to that ("expand" there), so that none is cut off; "sequence" resamples the
            ``length`` taps to as many as a sequence has steps, times ``length / steps`` ("trunc"), so that a kernel
            belongs to a share of the sequence and not to a lag: one of any length then, and without states.
        taper: whether the numbers of a piece start weaker towards its end, linearly down to ``2 / (low + high)`` of the
            decay or the power (its mode "decay").
        reference: compute what the official code does where that is not what was meant: "hankel" has the first d rows
            of the matrix of eigenvectors in place of columns (so of all L eigenvectors, whose signs are the machine's:
            they are saved with the weights), and a power of t has its logarithm in float32 whatever the type.
        random_state: of the start; None draws from torch's global generator.

    Attributes:
        kernel_list: the ``w_i``, ``(heads, channels, d)`` each; names as in the official code.
        kernel_norm: Z, ``(heads, channels, 1)``.

    Raises:
        ValueError: d outside 1 to ``length``, a decay below 1, an unknown option.

    Cost: ``O(C H L)``, a small linear map.
    Source: Li, Cai, Zhang, Chen & Dey, What Makes Convolutional Models Great on Long Sequence Modeling? (ICLR 2023).

    >>> kernel = SGConvKernel(4, 1024, kernel_dim=16, random_state=0)
    >>> kernel().shape, [tuple(w.shape) for w in kernel.kernel_list][:2], len(kernel.kernel_list)
    (torch.Size([1, 4, 1024]), [(1, 4, 16), (1, 4, 16)], 7)
    """

    multiplier: Tensor
    kernel_norm: Tensor
    basis: Tensor

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        kernel_dim: int | None = None,
        decay: float | Sequence[float] = 2.0,
        power: float | Sequence[float] | None = None,
        learn_power: bool = True,
        layout: Literal["concat", "sum", "hankel"] = "concat",
        init: Literal["normal", "cosine"] = "normal",
        interpolation: Literal["linear", "nearest"] = "linear",
        heads: int = 1,
        init_scale: int = 0,
        resample: Literal["length", "sequence"] | None = None,
        taper: bool = False,
        reference: bool = False,
        learning_rate: float | None = 1e-3,
        random_state: Any = None,
    ) -> None:
        super().__init__(channels, length, heads=heads, learning_rate=learning_rate)
        for name, value, allowed in (
            ("layout", layout, ("concat", "sum", "hankel")),
            ("init", init, ("normal", "cosine")),
            ("interpolation", interpolation, ("linear", "nearest")),
            ("resample", resample, (None, "length", "sequence")),
        ):
            if value not in allowed:
                raise ValueError(f"SGConvKernel: {name}={value!r} is not one of {', '.join(map(repr, allowed))}.")
        kernel_dim = min(64, length) if kernel_dim is None else kernel_dim
        if kernel_dim != int(kernel_dim) or not 1 <= kernel_dim <= length:
            raise ValueError(f"SGConvKernel: kernel_dim={kernel_dim} is a whole number from 1 to length={length}.")
        low, high = decay if isinstance(decay, Sequence) else (decay, decay)
        if power is None and not (1.0 <= low < math.inf and 1.0 <= high < math.inf):
            raise ValueError(
                f"SGConvKernel: decay={decay} must be finite and 1 or more, or later pieces grow. Use 1 for no decay."
            )
        n_scales = 1 + math.ceil(math.log2(length / kernel_dim)) - init_scale
        if init_scale < 0 or n_scales < 1:
            raise ValueError(f"SGConvKernel: init_scale={init_scale} leaves no piece of {kernel_dim} within {length}.")
        self.kernel_dim, self.layout, self.interpolation, self.init_scale = (
            kernel_dim,
            layout,
            interpolation,
            init_scale,
        )
        self.resample, self.n_taps, self.reference = resample, length, reference
        if resample == "sequence":
            self.length = None  # it never ends
        n_lists = 1 if layout == "hankel" else n_scales
        with seeded(random_state):
            self.kernel_list = nn.ParameterList(nn.Parameter(self._start(init)) for _ in range(n_lists))
            if power is not None:
                a, b = power if isinstance(power, Sequence) else (power, power)
                self.decay = nn.Parameter(torch.rand(channels) * (b - a) + a, requires_grad=learn_power)
            if taper:
                a, b = (low, high) if power is None else power if isinstance(power, Sequence) else (power, power)
                for w in self.kernel_list:
                    w.data *= torch.linspace(1.0, 2.0 / (a + b), kernel_dim)
        self.has_power = power is not None
        spread = torch.ones(()) if self.has_power else torch.linspace(low, high, channels).view(1, -1, 1)
        self.register_buffer("multiplier", spread)
        if layout == "hankel":
            basis = hankel_rows(length, kernel_dim) if reference else hankel_basis(length, kernel_dim)
            self.register_buffer("basis", basis, persistent=reference)
        self.register_buffer("kernel_norm", torch.ones(heads, channels, 1))
        self.set_norm()

    @torch.no_grad()
    def set_norm(self) -> None:
        """Make the norm of the whole kernel 1 for the weights as they are."""
        self.kernel_norm.fill_(1.0)
        self.kernel_norm.copy_(self._uncut(self.uncut_length).norm(dim=-1, keepdim=True))

    @property
    def uncut_length(self) -> int:
        """Taps of all pieces together, ``length`` or a little more."""
        if self.layout == "hankel":
            return len(self.basis)
        n: int = self.kernel_dim << (len(self.kernel_list) - 1 + self.init_scale)
        return n

    def forward(self, length: int | None = None) -> Tensor:
        """The first ``length`` taps, ``(heads, channels, length)``; with ``resample="sequence"`` all, in so many."""
        if self.resample is None:
            return self._uncut(self._cut(length))
        k = self._uncut(self.uncut_length)
        if self.resample == "length":
            return self._resized(k, self.n_taps)[..., : self._cut(length)]
        steps = self._cut(self.n_taps if length is None else length)
        return self._resized(k[..., : self.n_taps], steps) * (self.n_taps / steps)

    def parts(self) -> list[Part]:
        """The pieces, weakened and divided by Z as in :meth:`forward`; not of "hankel", a power of t or a resampling.

        Raises:
            ValueError: for these.
        """
        if self.layout == "hankel" or self.has_power or self.resample:
            what = (
                f"power (exponents {self.decay.tolist()[:3]}...)" if self.has_power else f"resample={self.resample!r}"
            )
            what = "layout='hankel'" if self.layout == "hankel" else what
            raise ValueError(f"an SGConvKernel with {what} is not made of pieces.")
        return [Part(o, s, w / self.kernel_norm) for o, s, w in self._pieces()]

    def at_rate(self, factor: float) -> Self:
        """The same pieces for signals that are sampled ``factor`` times as often: as much longer and weaker.

        Args:
            factor: a power of 2. Below ``2^-init_scale`` pieces have less than a tap a number: each halving then makes
                one piece of the first two, with means of their neighbouring numbers. That takes an even d, two pieces,
                and layout "concat".

        Raises:
            ValueError: another factor, a power of the lag, "hankel", or a kernel that is resampled.
        """
        made = stretched(self, factor)
        steps = math.log2(factor)
        if self.layout == "hankel" or self.has_power:
            raise ValueError("SGConvKernel.at_rate: neither layout='hankel' nor a power of the lag is made of pieces.")
        if self.resample:
            raise ValueError(f"SGConvKernel.at_rate: resample={self.resample!r} has a rate of its own.")
        joins = max(0, -self.init_scale - math.floor(steps))
        can_join = self.layout == "concat" and self.kernel_dim % 2 == 0 and joins < len(self.kernel_list)
        if steps != round(steps) or (joins and not can_join):
            raise ValueError(
                f"SGConvKernel.at_rate: factor={factor} must be a power of 2, and at least {2.0**-self.init_scale:g} "
                f"with init_scale={self.init_scale}, unless pieces can be joined: layout='concat', an even kernel_dim, "
                f"and more pieces than halvings; here {self.layout!r}, {self.kernel_dim} and {len(self.kernel_list)}."
            )
        made.init_scale = max(0, self.init_scale + round(steps))
        made.kernel_norm *= factor
        for _ in range(joins):
            made._join_first()
        return made

    @torch.no_grad()
    def _join_first(self) -> None:
        """One piece of the first two, at half the taps; those that follow have half the taps by their new places."""
        first, second, *rest = self.kernel_list
        halves = [w.unflatten(-1, (-1, 2)).mean(-1) for w in (first * self.multiplier, second)]
        self.kernel_list = nn.ParameterList([nn.Parameter(torch.cat(halves, -1)), *rest])

    def _start(self, init: str) -> Tensor:
        shape = (self.heads, self.channels, self.kernel_dim)
        if init == "normal":
            return torch.randn(shape)
        # linspace(0, 2 pi h, d) of all h at once
        angles = 2.0 * math.pi * torch.arange(self.channels)[:, None] * torch.linspace(0.0, 1.0, self.kernel_dim)
        return angles.cos()[torch.randperm(self.channels)].expand(shape).clone()

    def _pieces(self) -> Iterator[Part]:
        last, offset = len(self.kernel_list) - 1, 0
        for i, w in enumerate(self.kernel_list):
            if self.layout == "sum":
                yield Part(0, 2 ** (i + self.init_scale), w * self.multiplier ** (last - i))
                continue
            scale = 2 ** (max(i - 1, 0) + self.init_scale)
            yield Part(offset, scale, w * self.multiplier ** (last - i))
            offset += self.kernel_dim * scale

    def _uncut(self, length: int) -> Tensor:
        if self.layout == "hankel":
            with without_autocast(self.basis):
                k = self.kernel_list[0] @ self.basis[:length].mT.to(self.kernel_list[0])
        elif self.layout == "sum":
            k = torch.stack(
                [pad(self._stretched(p, length), (0, max(0, length - self._end(p)))) for p in self._pieces()]
            )
            k = k.sum(0)
        else:
            k = torch.cat([self._stretched(p, length) for p in self._pieces() if p.offset < length], -1)
        if self.has_power:
            t = torch.arange(1, length + 1, device=k.device, dtype=k.dtype)
            log = t.float().log().to(t.dtype) if self.reference else t.log()
            k = k * torch.exp(-self.decay[:, None] * log)
        divided: Tensor = k / self.kernel_norm
        return divided

    def _end(self, part: Part) -> int:
        return part.offset + self.kernel_dim * part.scale

    def _stretched(self, part: Part, length: int) -> Tensor:
        w = part.weights
        if part.scale > 1:
            w = self._resized(w, self.kernel_dim * part.scale)
        return w[..., : max(0, length - part.offset)]

    def _resized(self, k: Tensor, size: int) -> Tensor:
        return interpolate(k, size=size, mode=self.interpolation)

    def extra_repr(self) -> str:
        """What ``repr`` shows."""
        return f"{super().extra_repr()}, kernel_dim={self.kernel_dim}, scales={len(self.kernel_list)}"
