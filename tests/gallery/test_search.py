import numpy as np
import pytest
import torch

from mercer.errors import ApproximationWarning
from mercer.gallery.embedding import Words, embedding_for
from mercer.gallery.search import Search
from mercer.gallery.shelf import Item
from mercer.papers import registry


@pytest.fixture(scope="module")
def search():
    items = [Item(entry) for entry in registry.entries()]
    search = Search(items)
    search.items = items
    return search


def slugs(items):
    return [item.entry.slug for item in items]


def test_every_word_has_to_occur_in_an_exact_paper(search):
    found = search("linear ATTENTION", search.items)
    assert slugs(found.exact) == ["transnormer", "soft"]
    assert slugs(search("10.1", search.items).exact) == slugs(
        [item for item in search.items if "10.1" in item.text.lower()]
    )


@pytest.mark.parametrize(
    ("query", "slug"),
    [
        ("photo editing", "gknet"),
        ("phones indoors", "rss-fingerprint"),
        ("forgetting old tasks", "generative-kernel-continual"),
        ("language models writing programs", "hpc-codegen"),
        ("recommendation bias", "causal-balancing"),
        ("physics equations", "gp-hm-pde"),
    ],
)
def test_a_paper_is_found_by_what_it_means(search, query, slug):
    found = search(query, search.items)
    assert found.exact == ()
    assert slug in slugs(found.close)[:3]


@pytest.mark.parametrize("query", ["zzzz qqq", "%", "((", "'; DROP TABLE runs; --", "☃"])
def test_nonsense_finds_nothing(search, query):
    found = search(query, search.items)
    assert found.exact == ()
    assert found.close == () or query not in ("zzzz qqq", "☃")


def test_without_words_all_papers_are_found_in_their_order(search):
    backwards = search.items[::-1]
    assert list(search("  ", backwards).exact) == backwards


def test_only_papers_that_are_given_are_found(search):
    some = [item for item in search.items if item.entry.slug != "gknet"]
    assert "gknet" not in slugs(search("photo editing", some).close)


def test_the_ranking_is_that_of_the_definition(search):
    # (I + share * D^-1 (K - I)) k, with K and k written out in numpy.
    vectors, query = search._vectors.numpy(), search.embedding(["attention of tokens"]).numpy()
    K, k = vectors @ vectors.T, vectors @ query[0]
    np.fill_diagonal(K, 0.0)
    score = k + 0.4 * (K @ k) / K.sum(axis=1)
    expected = [search._keys[i] for i in np.argsort(-score) if score[i] >= 0.35 * score.max()]
    assert search._close("attention of tokens") == expected


def test_near_papers_are_those_of_the_kernel_row(search):
    near = search.near("03-sgconv")
    assert len(near) == 35
    assert near[0][0] == "33-long-convs"
    row = search._vectors @ search._vectors[search._keys.index("03-sgconv")]
    assert near[0][1] == pytest.approx(row.sort().values[-2].item(), rel=1e-5)


def test_words_are_vectors_of_length_one_or_nothing():
    words = Words(["kernels of graphs", "waves on a grid"])
    vectors = words(["kernels of graphs", "???"])
    assert torch.linalg.vector_norm(vectors, dim=1).tolist() == pytest.approx([1.0, 0.0])


def test_the_sentence_model_is_taken_if_it_is_installed(monkeypatch):
    class Model:
        def encode(self, texts, *, convert_to_numpy, normalize_embeddings):
            assert convert_to_numpy
            assert normalize_embeddings
            return np.eye(len(texts), 3)

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("mercer.gallery.embedding._minilm", Model)
    embedding = embedding_for([])
    assert embedding.name == "sentences"
    assert embedding(["a", "b"]).dtype == torch.float32
    assert Search([Item(entry) for entry in registry.entries()[:3]]).near("01-kernel-heterogeneity")[0][1] == 0.0


def test_a_sentence_model_that_cannot_be_loaded_is_told_and_words_do(monkeypatch):
    def broken():
        raise ImportError("No module named 'httpx2'")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    monkeypatch.setattr("mercer.gallery.embedding._minilm", broken)
    with pytest.warns(ApproximationWarning, match=r"No module named 'httpx2'\): papers are searched by word vectors"):
        assert embedding_for(["a text"]).name == "words"
