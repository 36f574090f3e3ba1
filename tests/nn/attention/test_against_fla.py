"""Linear attention against the references of flash-linear-attention, which are plain torch."""

import importlib.util
from pathlib import Path

import pytest
import torch

from mercer.nn.functional import linear_attention

TOLERANCE = 1e-5  # theirs compute in float32, summed token by token


def reference(operation, name):
    """A function from one file of fla, by itself: its packages import Triton's kernels, which need a GPU."""
    found = importlib.util.find_spec("fla")
    if found is None or importlib.util.find_spec("einops") is None:
        pytest.skip("fla-core is not installed: pip install 'mercer[parity]'")
    path = Path(found.submodule_search_locations[0]) / "ops" / operation / "naive.py"
    spec = importlib.util.spec_from_file_location(f"fla_{operation}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def draw(n, *, e=8, t=5):
    """Positive queries and keys, as feature maps give them, and values: ``(B, H, n, e)``."""
    q, k = torch.rand(2, 2, 3, n, e).unbind()
    return q, k, torch.randn(2, 3, n, t)


def theirs(*tensors):
    """Their order of axes, ``(B, n, H, e)``."""
    return [x.transpose(1, 2) for x in tensors]


def gap(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("plan", ["loop", "batched", "direct"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("n", [1, 7, 150])
def test_it_is_the_recurrence_of_fla(plan, normalize, n):
    naive = reference("linear_attn", "naive_recurrent_linear_attn")
    q, k, v = draw(n)
    found = linear_attention(q, k, v, plan=plan, normalize=normalize)
    expected, _ = naive(*theirs(q, k, v), scale=1.0, normalize=normalize)
    assert gap(found, expected.transpose(1, 2)) <= TOLERANCE


def test_states_go_to_fla_and_come_back():
    naive = reference("linear_attn", "naive_recurrent_linear_attn")
    q, k, v = draw(100)
    _, state = linear_attention(*(x[:, :, :60] for x in (q, k, v)), return_state=True)
    rest = [x[:, :, 60:] for x in (q, k, v)]
    found, after = linear_attention(*rest, state=state, return_state=True)
    expected, last = naive(*theirs(*rest), scale=1.0, initial_state=state, output_final_state=True)
    assert gap(found, expected.transpose(1, 2)) <= TOLERANCE
    assert gap(after, last) <= TOLERANCE


def test_chunks_are_those_of_fla():
    naive = reference("linear_attn", "naive_chunk_linear_attn")
    q, k, v = draw(192, t=8)
    assert gap(linear_attention(q, k, v), naive(*theirs(q, k, v), scale=1.0).transpose(1, 2)) <= TOLERANCE


def test_a_decay_is_the_retention_of_fla():
    naive = reference("retention", "naive_retention")
    q, k, v = draw(90)
    decay = [1.0 - 2.0 ** (-5 - h) for h in range(3)]  # theirs, a head each
    found = linear_attention(q / 8**0.5, k, v, decay=decay)
    assert gap(found, naive(q, k, v)) <= TOLERANCE
