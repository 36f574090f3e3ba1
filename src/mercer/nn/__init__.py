"""Networks: layers, functions of them, and their training."""

from mercer.nn import diagnostics, functional, models, random_features, training
from mercer.nn.attention import (
    AttentionState,
    BlockState,
    DiagAttention,
    GatedMLP,
    LinearAttention,
    LinearState,
    NormAttention,
    RotaryPositions,
    SoftBlock,
    SoftmaxAttention,
    SoftmaxFreeAttention,
    SRMSNorm,
)
from mercer.nn.batched_mlp import BatchedMLP
from mercer.nn.batched_module import BatchedModule
from mercer.nn.bottleneck import BottleneckResidualMLP
from mercer.nn.convolution import (
    ButterflyConv,
    ConvolutionKernel,
    ConvolutionKernel2d,
    ConvState,
    FoldedConv,
    FoldedConv2d,
    H3Conv,
    H3State,
    LongConv,
    LongConv2d,
    LongConvKernel,
    LongConvKernel2d,
    MonarchFFT,
    OuterKernel2d,
    S4DKernel,
    SGConv,
    SGConvKernel,
    at_rate,
    identify_filter,
)
from mercer.nn.distilled_round import DistilledRound
from mercer.nn.distilled_rounds import DistilledRounds
from mercer.nn.gram_batch_norm import GramBatchNorm
from mercer.nn.gram_convolution import GramConvolution, GramPooling, GramStandardization, PatchesToGram
from mercer.nn.gram_features import FeaturesToGram
from mercer.nn.gram_kernel import GramKernel
from mercer.nn.gram_layer import GramLayer, GramResidual, gram_divergence
from mercer.nn.gram_noise import GramNoise
from mercer.nn.gram_output import GramOutput, gram_objective, gram_penalty
from mercer.nn.gram_state import GramState
from mercer.nn.linearized_network import LinearizedNetwork
from mercer.nn.parameter_groups import parameter_groups
from mercer.nn.random_features import (
    AdapterReport,
    BundledNetwork,
    CompressedLayer,
    CompressionReport,
    LowRankLinear,
    RandomFeatureLayer,
    SNNKAdapter,
    SNNKLinear,
    add_adapters,
    add_low_rank,
    bundle,
    compress,
    load_adapters,
)
from mercer.nn.self_distillation import self_distill

__all__ = [
    "AdapterReport",
    "AttentionState",
    "BatchedMLP",
    "BatchedModule",
    "BlockState",
    "BottleneckResidualMLP",
    "BundledNetwork",
    "ButterflyConv",
    "CompressedLayer",
    "CompressionReport",
    "ConvState",
    "ConvolutionKernel",
    "ConvolutionKernel2d",
    "DiagAttention",
    "DistilledRound",
    "DistilledRounds",
    "FeaturesToGram",
    "FoldedConv",
    "FoldedConv2d",
    "GatedMLP",
    "GramBatchNorm",
    "GramConvolution",
    "GramKernel",
    "GramLayer",
    "GramNoise",
    "GramOutput",
    "GramPooling",
    "GramResidual",
    "GramStandardization",
    "GramState",
    "H3Conv",
    "H3State",
    "LinearAttention",
    "LinearState",
    "LinearizedNetwork",
    "LongConv",
    "LongConv2d",
    "LongConvKernel",
    "LongConvKernel2d",
    "LowRankLinear",
    "MonarchFFT",
    "NormAttention",
    "OuterKernel2d",
    "PatchesToGram",
    "RandomFeatureLayer",
    "RotaryPositions",
    "S4DKernel",
    "SGConv",
    "SGConvKernel",
    "SNNKAdapter",
    "SNNKLinear",
    "SRMSNorm",
    "SoftBlock",
    "SoftmaxAttention",
    "SoftmaxFreeAttention",
    "add_adapters",
    "add_low_rank",
    "at_rate",
    "bundle",
    "compress",
    "diagnostics",
    "functional",
    "gram_divergence",
    "gram_objective",
    "gram_penalty",
    "identify_filter",
    "load_adapters",
    "models",
    "parameter_groups",
    "random_features",
    "self_distill",
    "training",
]
