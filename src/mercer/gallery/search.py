"""Finds papers: those in which all words occur, and those that are close in meaning, ranked by a kernel of mercer."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mercer.gallery.embedding import Embedding, embedding_for
from mercer.gallery.shelf import Item
from mercer.kernels import Linear

__all__ = ["Found", "Search"]

LONGEST_QUERY = 200  # characters
_SHARE_OF_NEIGHBOURS = 0.4
_MOST_CLOSE = 8
_LEAST_OF_BEST = 0.35  # of the best score, below which a paper is not shown as close
_LEAST = {"words": 0.05, "sentences": 0.2}  # cosines that unrelated texts do not reach


@dataclass(frozen=True)
class Found:
    """What a search gives.

    Args:
        exact: papers in which every word occurs, in the order in which they were given.
        close: others, the closest in meaning first.
    """

    exact: tuple[Item, ...]
    close: tuple[Item, ...]


class Search:
    """Searches papers.

    The similarity of two texts is the linear kernel of their unit vectors. A paper's score for a query is its own
    similarity, and a share of that of the papers it is near to, so that a query finds papers of the same matter that
    use other words: ``(I + share * D^-1 K) k``, where k is the kernel column of the query, K the kernel matrix of the
    papers without its diagonal, and D its row sums.

    Args:
        items: all papers.
        embedding: makes vectors of texts; None takes the best there is.
    """

    def __init__(self, items: Sequence[Item], *, embedding: Embedding | None = None) -> None:
        self._keys = [item.entry.key for item in items]
        texts = [item.text for item in items]
        self._texts = [f" {text.lower()} " for text in texts]
        # What a paper is about stands in few words; its claims would drown them.
        short = [" ".join([i.entry.title, i.entry.summary, *i.entry.tags]) for i in items]
        self.embedding = embedding or embedding_for(short)
        self._vectors = self.embedding(short)
        self._kernel = Linear()
        self._similarity = self._kernel(self._vectors) @ torch.eye(len(short))  # (n, n)

    def __call__(self, query: str, items: Sequence[Item]) -> Found:
        """What a query finds among papers.

        Args:
            query: words; the first 200 characters count. Without any, all papers are exact.
            items: some or all of those that the search was made of, in the order in which exact ones are wanted.
        """
        words = query[:LONGEST_QUERY].lower().split()
        if not words:
            return Found(tuple(items), ())
        place = {key: i for i, key in enumerate(self._keys)}
        exact = tuple(i for i in items if all(word in self._texts[place[i.entry.key]] for word in words))
        is_exact = {item.entry.key for item in exact}
        by_key = {item.entry.key: item for item in items}
        close = [by_key[key] for key in self._close(" ".join(words)) if key in by_key and key not in is_exact]
        return Found(exact, tuple(close[:_MOST_CLOSE]))

    def near(self, key: str) -> list[tuple[str, float]]:
        """All papers with their similarity to one of them, the nearest first, itself left out."""
        pairs = zip(self._keys, self._similarity[self._keys.index(key)].tolist(), strict=True)
        return sorted((pair for pair in pairs if pair[0] != key), key=lambda pair: -pair[1])

    def _close(self, query: str) -> list[str]:
        vector = self.embedding([query])
        direct = self._kernel(self._vectors, vector) @ torch.ones(1, 1)  # (n, 1)
        if float(direct.max()) < _LEAST[self.embedding.name]:
            return []
        weights = self._similarity - torch.diag(self._similarity.diagonal())
        neighbours = weights @ direct / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
        score = (direct + _SHARE_OF_NEIGHBOURS * neighbours)[:, 0]
        order = score.argsort(descending=True).tolist()
        return [self._keys[i] for i in order if float(score[i]) >= _LEAST_OF_BEST * float(score.max())]
