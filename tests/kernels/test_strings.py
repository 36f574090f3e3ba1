"""String kernels."""

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.kernels import RBF, Spectrum, Subsequence, encode

DOUBLE = torch.float64


def test_strings_become_code_points_and_zeros():
    assert encode(["ab", "", "é𝄞"]).tolist() == [[97, 98], [0, 0], [233, 0x1D11E]]
    assert encode(["ab"], length=3).tolist() == [[97, 98, 0]]
    assert encode([]).shape == (0, 0)


def test_what_is_no_string_is_refused():
    with pytest.raises(TypeError, match=r"not the one string 'abc': give \['abc'\]"):
        encode("abc")
    with pytest.raises(TypeError, match=r"entry 1 .* is no string, but int"):
        encode(["a", 1])
    with pytest.raises(ValueError, match=r"string 0 .* holds the character 0"):
        encode(["a\0b"])
    with pytest.raises(ShapeError, match=r"a string has 3 characters. Give length=3 or more"):
        encode(["abc"], length=2)
    for kernel in (Spectrum, Subsequence):
        for length in (0, 1.5, True):
            with pytest.raises(ValueError, match="the length must be a whole number >= 1"):
                kernel(length)
    with pytest.raises(ValueError, match="decay must be > 0"):
        Subsequence(decay=0.0)


def test_counts_of_substrings_are_those_of_scikit_learn():
    from sklearn.feature_extraction.text import CountVectorizer

    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("acgt𝄞"), generator.integers(5, 40))) for _ in range(30)]
    counts = CountVectorizer(analyzer="char", ngram_range=(3, 3), lowercase=False).fit_transform(texts).toarray()
    counts = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    K = Spectrum(3)(encode(texts))
    np.testing.assert_allclose(K.to_dense().numpy(), counts @ counts.T, rtol=1e-6)
    v = np.ones((30, 2), dtype=np.float32)
    for plan in ("dense", "tiles"):
        np.testing.assert_allclose(
            (K.with_plan(plan) @ torch.from_numpy(v)).numpy(), counts @ (counts.T @ v), rtol=1e-6
        )


@pytest.mark.parametrize("decay", [0.1, 0.5, 0.9])
def test_values_of_the_paper(decay):
    # Lodhi et al. (2002), section 3: K(car, cat) = decay^4 and K(car, car) = 2 decay^4 + decay^6
    K = Subsequence(2, decay)(encode(["cat", "car", "bat", "bar"]).double()).to_dense()
    one = 1.0 / (2.0 + decay**2)
    # rows: cat and car share "ca", cat and bat "at", car and bar "ar", bat and bar "ba", cat and bar nothing
    expected = [[1.0, one, one, 0.0], [one, 1.0, 0.0, one], [one, 0.0, 1.0, one], [0.0, one, one, 1.0]]
    torch.testing.assert_close(K, torch.tensor(expected, dtype=DOUBLE))


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_subsequences_agree_with_the_recursion_of_the_paper(length):
    generator = np.random.default_rng(1)
    texts = ["".join(generator.choice(list("abc"), generator.integers(1, 9))) for _ in range(7)]
    decay = 0.6

    def prefixes(i, s, t):
        """K'_i of the paper."""
        if i == 0:
            return 1.0
        if min(len(s), len(t)) < i:
            return 0.0
        found = sum(prefixes(i - 1, s[:-1], t[:j]) * decay ** (len(t) - j + 1) for j in range(len(t)) if t[j] == s[-1])
        return decay * prefixes(i, s[:-1], t) + found

    def whole(s, t):
        if min(len(s), len(t)) < length:
            return 0.0
        found = sum(prefixes(length - 1, s[:-1], t[:j]) * decay**2 for j in range(len(t)) if t[j] == s[-1])
        return whole(s[:-1], t) + found

    K = np.array([[whole(s, t) for t in texts] for s in texts])
    root = np.sqrt(K.diagonal())
    size = np.outer(root, root)
    expected = np.divide(K, size, out=np.zeros_like(K), where=size > 0.0)
    ours = Subsequence(length, decay)(encode(texts).double())
    np.testing.assert_allclose(ours.to_dense().numpy(), expected, rtol=1e-12, atol=1e-14)
    v = torch.linspace(-1.0, 1.0, 7, dtype=DOUBLE)
    np.testing.assert_allclose((ours.with_plan("tiles") @ v).numpy(), expected @ v.numpy(), rtol=1e-12, atol=1e-13)


def test_strings_that_are_too_short_are_like_nothing():
    X = encode(["", "a", "ab", "ab"])
    expected = torch.zeros(4, 4)
    expected[2:, 2:] = 1.0
    for kernel in (Spectrum(2), Subsequence(2)):
        torch.testing.assert_close(kernel(X).to_dense(), expected)
        torch.testing.assert_close(kernel(X).diagonal(), expected.diagonal())
    assert torch.equal(Spectrum(9)(X).to_dense(), torch.zeros(4, 4))


def test_the_decay_is_learnable():
    theta = torch.tensor(0.5, dtype=DOUBLE, requires_grad=True)
    X = encode(["gattaca", "attac", "cat"]).double()
    assert torch.autograd.gradcheck(lambda t: Subsequence(2, t)(X).to_dense(), theta)


def test_strings_and_numbers_stand_in_one_table():
    text = encode(["abc", "abd"]).double()
    X = torch.cat([torch.tensor([[0.5], [1.0]], dtype=DOUBLE), text], 1)
    kernel = RBF().on([0]) * Spectrum(2).on([1, 2, 3])
    torch.testing.assert_close(kernel(X).to_dense(), RBF()(X[:, :1]).to_dense() * Spectrum(2)(text).to_dense())
