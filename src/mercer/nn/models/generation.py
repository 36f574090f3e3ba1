"""Drawing tokens one after the other, in memory that does not grow where the network's state does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mercer.errors import ShapeError
from mercer.nn.lengths import Lengths

if TYPE_CHECKING:
    from mercer.nn.models.sequence_network import SequenceNetwork
    from mercer.nn.models.states import SequenceState

__all__ = ["generate", "sample"]


def generate(
    model: SequenceNetwork,
    prompt: Tensor,
    max_new_tokens: int,
    *,
    temperature: float,
    top_k: int | None,
    lengths: Lengths | None,
    state: SequenceState | None,
    random_state: int,
) -> Iterator[Tensor]:
    """As :meth:`SequenceNetwork.generate` with ``stream=True``; arguments are checked before the first token."""
    if prompt.dim() not in (1, 2) or prompt.shape[-1] < 1 or prompt.dtype.is_floating_point:
        raise ShapeError(
            f"generate: the prompt must be (n,) or (B, n) whole numbers with n >= 1, but is {tuple(prompt.shape)}, "
            f"{prompt.dtype}."
        )
    if not temperature >= 0.0 or (top_k is not None and top_k < 1) or max_new_tokens < 0:
        raise ValueError(
            f"generate(max_new_tokens={max_new_tokens}, temperature={temperature}, top_k={top_k}): temperature and "
            f"max_new_tokens are >= 0, top_k is >= 1 or None."
        )
    lengths = None if lengths is None else torch.as_tensor(lengths)
    if lengths is not None and bool((lengths < 1).any()):
        raise ShapeError(f"generate: every prompt needs at least one token, but lengths are {lengths.tolist()}.")
    return _draw(model, prompt, max_new_tokens, temperature, top_k, lengths, state, random_state)


@torch.no_grad()
def _draw(
    model: SequenceNetwork,
    prompt: Tensor,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    lengths: Tensor | None,
    state: SequenceState | None,
    random_state: int,
) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(random_state)
    batch = prompt if prompt.dim() == 2 else prompt[None]
    state = None if state is None else state.clone()  # steps of convolutions change theirs
    logits, state = model.prefill(batch, state, lengths=lengths)
    last = torch.full((len(batch),), batch.shape[1] - 1) if lengths is None else lengths - 1
    logits = logits[torch.arange(len(batch)), last]
    for count in range(1, max_new_tokens + 1):
        tokens = sample(logits, temperature=temperature, top_k=top_k, generator=generator)
        yield tokens if prompt.dim() == 2 else tokens[0]
        if count < max_new_tokens:
            logits, state = model.step(tokens, state)


def sample(logits: Tensor, *, temperature: float, top_k: int | None, generator: torch.Generator) -> Tensor:
    """A token a row, ``(B,)``, of logits ``(B, vocabulary)``; drawn on the CPU, the same on every device."""
    if temperature == 0.0:
        return logits.argmax(-1)
    found = logits.float().cpu() / temperature
    if top_k is not None and top_k < found.shape[-1]:
        least = found.topk(top_k, -1).values[:, -1:]
        found = found.masked_fill(found < least, -torch.inf)
    return torch.multinomial(found.softmax(-1), 1, generator=generator)[:, 0].to(logits.device)
