"""Real data sets, each as one :class:`Bunch`: the table, its target, source and licence. Nothing is downloaded."""

from mercer.data.bunch import Bunch
from mercer.data.cifar import ColourImages, load_cifar
from mercer.data.concrete import concrete
from mercer.data.diamonds import diamonds
from mercer.data.flights import flights
from mercer.data.glue import GLUE_TASKS, GlueTask, Sentences, load_glue
from mercer.data.hierarchical import hierarchical_polynomial
from mercer.data.impulse_responses import ImpulseResponses, impulse_responses
from mercer.data.label_noise import noisy_labels, noisy_split
from mercer.data.lra import (
    LISTOPS_TOKENS,
    LRA_TASKS,
    SMALL_LRA,
    ListOps,
    LongRangeTask,
    Split,
    encode_listops,
    load_lra,
    make_listops,
    make_pathfinder,
    save_listops,
    small_lra,
)
from mercer.data.mnist import LabelledImages, mnist, read_idx
from mercer.data.mnist1d import mnist1d
from mercer.data.multisphere import gaussian_field, multisphere
from mercer.data.pde import PDE_BENCHMARKS, PDEProblem, pde_benchmark
from mercer.data.permutations import PermutationTask, permutation_task
from mercer.data.small_tables import SmallTable, small_table, small_table_names
from mercer.data.speech_commands import SPEECH_COMMANDS, SpeechCommands, load_speech_commands, mel_cepstrum
from mercer.data.spiked import spiked_regression
from mercer.data.text import CharacterText, TokenWindows, python_documentation, text_file
from mercer.data.toy import toy_sine
from mercer.data.uci import uci_split
from mercer.data.wikitext import WordText, load_wikitext

__all__ = [
    "GLUE_TASKS",
    "LISTOPS_TOKENS",
    "LRA_TASKS",
    "PDE_BENCHMARKS",
    "SMALL_LRA",
    "SPEECH_COMMANDS",
    "Bunch",
    "CharacterText",
    "ColourImages",
    "GlueTask",
    "ImpulseResponses",
    "LabelledImages",
    "ListOps",
    "LongRangeTask",
    "PDEProblem",
    "PermutationTask",
    "SmallTable",
    "Sentences",
    "SpeechCommands",
    "Split",
    "TokenWindows",
    "WordText",
    "concrete",
    "diamonds",
    "encode_listops",
    "flights",
    "gaussian_field",
    "hierarchical_polynomial",
    "impulse_responses",
    "load_cifar",
    "load_glue",
    "load_lra",
    "load_speech_commands",
    "load_wikitext",
    "make_listops",
    "make_pathfinder",
    "mnist",
    "mel_cepstrum",
    "mnist1d",
    "multisphere",
    "noisy_labels",
    "noisy_split",
    "pde_benchmark",
    "permutation_task",
    "python_documentation",
    "read_idx",
    "save_listops",
    "small_lra",
    "small_table",
    "small_table_names",
    "spiked_regression",
    "text_file",
    "toy_sine",
    "uci_split",
]
