"""Text for language models, character by character: Python's own documentation, or a file of yours."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["CharacterText", "TokenWindows", "python_documentation", "text_file"]


class CharacterText:
    """A text whose tokens are its characters.

    Args:
        text: at least one character.
        symbols: what tokens stand for, in their order; None is every character of the text, sorted.

    Attributes:
        text: as given.
        symbols: a string; its length is the vocabulary of a model.
        tokens: the whole text, ``(n,)``.

    Raises:
        ValueError: an empty text, or one with a character that is no symbol.

    >>> text = CharacterText("to be or not to be")
    >>> text.symbols, text.encode("not")
    (' benort', tensor([3, 4, 6]))
    >>> text.decode(text.encode("one"))
    'one'
    """

    def __init__(self, text: str, *, symbols: str | None = None) -> None:
        if not text:
            raise ValueError("CharacterText: the text is empty.")
        self.text = text
        self.symbols = "".join(sorted(set(text))) if symbols is None else symbols
        self._token = {symbol: token for token, symbol in enumerate(self.symbols)}
        self.tokens = self.encode(text)

    def encode(self, text: str) -> Tensor:
        """Tokens ``(n,)`` of a text.

        Raises:
            ValueError: a character that is none of ``symbols``.
        """
        try:
            return torch.tensor([self._token[character] for character in text], dtype=torch.long)
        except KeyError as error:
            raise ValueError(f"{error} is none of the {len(self.symbols)} symbols of this text.") from None

    def decode(self, tokens: Tensor) -> str:
        """The text of tokens ``(n,)``."""
        return "".join(self.symbols[token] for token in tokens.tolist())

    def split(self, valid: float = 0.1) -> tuple[Tensor, Tensor]:
        """Tokens to train on, and those of the last share of the text to validate with.

        Raises:
            ValueError: a share outside 0 to 1.
        """
        if not 0.0 <= valid < 1.0:
            raise ValueError(f"CharacterText.split(valid={valid}): it is a share, at least 0 and below 1.")
        n = round(len(self.tokens) * (1.0 - valid))
        return self.tokens[:n], self.tokens[n:]

    def __repr__(self) -> str:
        return f"<CharacterText of {len(self.text):,} characters, {len(self.symbols)} symbols>"


class TokenWindows:
    """Batches ``(B, length + 1)`` of a long row of tokens, for a loader: each token's target is the one after.

    Args:
        tokens: ``(n,)``.
        length: of the input; a window has one token more.
        batch_size: windows in a batch.
        n_batches: of windows at random places, drawn anew in each pass; None is each window once, in order, without
            what is left at the end.
        random_state: of the places; :func:`mercer.nn.training.train` seeds them anew in each epoch.

    Raises:
        ValueError: a text shorter than one window.

    >>> batches = list(TokenWindows(torch.arange(100), length=10, batch_size=4))
    >>> [tuple(batch.shape) for batch in batches], batches[0][1, :3]
    ([(4, 11), (4, 11), (1, 11)], tensor([10, 11, 12]))
    """

    def __init__(
        self, tokens: Tensor, *, length: int, batch_size: int, n_batches: int | None = None, random_state: int = 0
    ) -> None:
        if len(tokens) <= length or length < 1 or batch_size < 1:
            raise ValueError(
                f"TokenWindows(length={length}, batch_size={batch_size}): both are >= 1, and a window takes one token "
                f"more than its length; there are {len(tokens)} tokens."
            )
        self.tokens, self.length, self.batch_size, self.n_batches = tokens, length, batch_size, n_batches
        self.generator = torch.Generator().manual_seed(random_state)

    def __len__(self) -> int:
        """Batches of a pass."""
        n_windows = (len(self.tokens) - 1) // self.length
        return -(-n_windows // self.batch_size) if self.n_batches is None else self.n_batches

    def __iter__(self) -> Iterator[Tensor]:
        last = len(self.tokens) - self.length - 1
        steps = torch.arange(self.length + 1)
        for number in range(len(self)):
            if self.n_batches is None:
                first = torch.arange(number * self.batch_size, (number + 1) * self.batch_size) * self.length
                first = first[first <= last]
            else:
                first = torch.randint(last + 1, (self.batch_size,), generator=self.generator)
            yield self.tokens[first[:, None] + steps]


def python_documentation() -> CharacterText:
    """What ``help("topics")`` of this Python shows: 465,000 characters of English and code, 103 symbols (in 3.11).

    It comes with every Python (module ``pydoc_data.topics``), so that a language model can be trained without a
    download. Licence: PSF.

    >>> len(python_documentation().symbols) > 90
    True
    """
    from pydoc_data.topics import topics

    return CharacterText("\n\n".join(topics[name] for name in sorted(topics)))


def text_file(path: str | os.PathLike[str], *, encoding: str = "utf-8", symbols: str | None = None) -> CharacterText:
    """A text file of yours.

    Args:
        path: where it is.
        encoding: of its bytes.
        symbols: those of another text, so that a model of that one can read this one.

    Raises:
        ValueError: an empty file, bytes that are not in this encoding, or a character that is no symbol.
    """
    return CharacterText(Path(path).read_text(encoding=encoding), symbols=symbols)
