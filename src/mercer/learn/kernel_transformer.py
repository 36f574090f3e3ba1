"""What transformers with a ``kernel`` argument share: names of the columns that come out, the type of X kept, files."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from mercer.learn.kernel_argument import KernelArgument
from mercer.learn.saving import Saved

__all__ = ["KernelTransformer"]


class KernelTransformer(KernelArgument, Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Base of the transformers; a subclass's ``_n_features_out`` says how many columns come out."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
