"""The states of convolutions by the names that files have for them."""

from mercer.nn.convolution.block_state import BlockState
from mercer.nn.convolution.diagonal_state import DiagonalState
from mercer.nn.convolution.relaxed_state import RelaxedState
from mercer.nn.convolution.ring_state import RingState
from mercer.nn.convolution.state import ConvState
from mercer.nn.convolution.structured_state import StructuredState

__all__ = ["CONVOLUTION_STATES"]

CONVOLUTION_STATES: dict[str, type[ConvState]] = {
    kind.__name__: kind for kind in (RingState, RelaxedState, BlockState, DiagonalState, StructuredState)
}
