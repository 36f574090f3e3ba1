"""Convolutions whose kernels are as long as the sequence: kernels, layers, and their states."""

from mercer.nn.convolution.butterfly import ButterflyConv
from mercer.nn.convolution.dense_kernel import LongConvKernel
from mercer.nn.convolution.dense_kernel_2d import LongConvKernel2d
from mercer.nn.convolution.fold import fold
from mercer.nn.convolution.folded import FoldedConv
from mercer.nn.convolution.h3 import H3Conv, H3State
from mercer.nn.convolution.identify import identify_filter
from mercer.nn.convolution.kernel import ConvolutionKernel
from mercer.nn.convolution.kernel_2d import ConvolutionKernel2d
from mercer.nn.convolution.layer import LongConv
from mercer.nn.convolution.layer_2d import FoldedConv2d, LongConv2d
from mercer.nn.convolution.monarch_module import MonarchFFT
from mercer.nn.convolution.outer_kernel import OuterKernel2d
from mercer.nn.convolution.rate import at_rate
from mercer.nn.convolution.s4d_kernel import S4DKernel
from mercer.nn.convolution.sgconv import SGConv
from mercer.nn.convolution.sgconv_kernel import SGConvKernel
from mercer.nn.convolution.state import ConvState

__all__ = [
    "ButterflyConv",
    "ConvState",
    "ConvolutionKernel",
    "ConvolutionKernel2d",
    "FoldedConv",
    "FoldedConv2d",
    "H3Conv",
    "H3State",
    "LongConv",
    "LongConv2d",
    "LongConvKernel",
    "LongConvKernel2d",
    "MonarchFFT",
    "OuterKernel2d",
    "S4DKernel",
    "SGConv",
    "SGConvKernel",
    "at_rate",
    "fold",
    "identify_filter",
]
