"""WikiText: articles as words, from the files that its authors distribute."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mercer.errors import FileFormatError

__all__ = ["WordText", "load_wikitext"]

_UNKNOWN, _END = "<unk>", "<eos>"


@dataclass(frozen=True)
class WordText:
    """A text in words, in three parts.

    Attributes:
        train, valid, test: tokens ``(n,)``, int64; each line ends with that of ``<eos>``.
        words: what tokens stand for, the most frequent first.
    """

    train: Tensor
    valid: Tensor
    test: Tensor
    words: tuple[str, ...]

    def encode(self, text: str) -> Tensor:
        """Tokens ``(n,)`` of words with spaces between; those that are not known are ``<unk>``."""
        known = {word: token for token, word in enumerate(self.words)}
        return torch.tensor([known.get(word, known[_UNKNOWN]) for word in text.split()], dtype=torch.long)

    def decode(self, tokens: Tensor) -> str:
        """The words of tokens ``(n,)``, with spaces between."""
        return " ".join(self.words[token] for token in tokens.tolist())


def load_wikitext(path: str | os.PathLike[str], *, n_words: int | None = None) -> WordText:
    """WikiText-2 or WikiText-103 in words; nothing is downloaded.

    Args:
        path: a folder with ``wiki.train.tokens``, ``wiki.valid.tokens`` and ``wiki.test.tokens``.
        n_words: only so many words, the most frequent of the training part; the others become ``<unk>``. None is all,
            which are 267 735 of WikiText-103.

    Raises:
        ValueError: fewer than two words.
        FileNotFoundError: a file is missing; the message names it.
        FileFormatError: an empty file.

    Source: Merity et al., Pointer Sentinel Mixture Models (ICLR 2017).
    """
    if n_words is not None and n_words < 2:
        raise ValueError(f"load_wikitext(n_words={n_words}): at least 2, of which <unk> and <eos> are two.")
    files = [Path(path) / f"wiki.{part}.tokens" for part in ("train", "valid", "test")]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing: load_wikitext reads wiki.train.tokens and its like.")
    counts: Counter[str] = Counter()
    for words in _lines(files[0]):
        counts.update(words)
    if not counts:
        raise FileFormatError(f"{files[0]} is empty.")
    for name in (_UNKNOWN, _END):  # they are kept whatever their number
        counts[name] += sum(counts.values())
    kept = tuple(sorted(counts, key=lambda word: (-counts[word], word))[:n_words])
    known = {word: token for token, word in enumerate(kept)}
    parts = []
    for file in files:
        rows = [np.array([known.get(word, known[_UNKNOWN]) for word in words]) for words in _lines(file)]
        if not rows:
            raise FileFormatError(f"{file} is empty.")
        parts.append(torch.from_numpy(np.concatenate(rows)))
    train, valid, test = parts
    return WordText(train, valid, test, kept)


def _lines(path: Path) -> Iterator[list[str]]:
    with open(path, encoding="utf-8") as file:
        for line in file:
            yield [*line.split(), _END]
