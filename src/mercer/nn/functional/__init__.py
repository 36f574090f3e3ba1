"""Functions without parameters: convolutions and attentions that layers are made of, and losses."""

from mercer.nn.attention.linear_attention import linear_attention
from mercer.nn.attention.nystrom import gaussian_attention, nystrom_attention
from mercer.nn.convolution.long_convolution import fft_convolution_plan, long_conv
from mercer.nn.convolution.long_convolution_2d import long_conv2d
from mercer.nn.convolution.monarch import monarch_convolve, monarch_factors
from mercer.nn.functional.softmax_response import expected_log_softmax, softmax_probabilities

__all__ = [
    "expected_log_softmax",
    "fft_convolution_plan",
    "gaussian_attention",
    "linear_attention",
    "long_conv",
    "long_conv2d",
    "monarch_convolve",
    "monarch_factors",
    "nystrom_attention",
    "softmax_probabilities",
]
