"""Classification of sequences: what it learns, saves, resumes and refuses."""

from functools import partial

import numpy as np
import pytest
import torch

from mercer.errors import ShapeError
from mercer.learn import SequenceClassifier
from mercer.nn import H3Conv

RNG = np.random.default_rng(0)
T = np.arange(60)
# Where the slow wave turns, not how large it is, tells the classes apart.
X = np.array([np.sin(0.1 * f * T + p) + 0.1 * RNG.normal(size=60) for f in (1, 2, 3) for p in RNG.uniform(0, 6, 20)])
Y = np.repeat(["one", "two", "three"], 20)
QUICK = {"width": 8, "layers": 1, "kernel_dim": 4, "batch_size": 20, "random_state": 0}


@pytest.fixture(scope="module")
def fitted():
    return SequenceClassifier(max_epochs=30, **QUICK).fit(X, Y)


def test_it_learns_and_gives_probabilities(fitted):
    assert fitted.score(X, Y) > 0.95
    P = fitted.predict_proba(X)
    np.testing.assert_allclose(P.sum(1), 1.0)
    assert (fitted.classes_[P.argmax(1)] == fitted.predict(X)).all()
    assert len(fitted.history_["losses"]) == 30
    # What is predicted for a row does not depend on the others.
    np.testing.assert_allclose(fitted.predict_proba(X[3:4])[0], P[3], rtol=1e-9)


@pytest.mark.parametrize("kernel", ["dense", "s4d"])
def test_other_kernels(kernel):
    model = SequenceClassifier(kernel=kernel, max_epochs=20, causal=kernel == "s4d", **QUICK).fit(X, Y)
    assert model.score(X, Y) > 0.8


def test_a_loaded_classifier_is_the_saved_one(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    loaded = SequenceClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert loaded.get_params() == fitted.get_params()
    with pytest.raises(TypeError, match="layer cannot be saved"):
        SequenceClassifier(layer=partial(H3Conv, length=60)).save(tmp_path / "other")


def test_several_features_lengths_and_tensors():
    both = np.stack([X, X[::-1]], -1)
    lengths = RNG.integers(30, 61, size=len(X))
    model = SequenceClassifier(max_epochs=3, **QUICK).fit(torch.from_numpy(both), Y, lengths=lengths)
    P = model.predict_proba(torch.from_numpy(both), lengths=lengths)
    assert isinstance(P, torch.Tensor)
    for i in range(len(both)):
        both[i, lengths[i] :] = 7.0
    np.testing.assert_allclose(model.predict_proba(both, lengths=lengths), P.numpy(), atol=1e-12)
    with pytest.raises(ShapeError, match="1 features a step, but 2 at fit"):
        model.predict(X)
    with pytest.raises(ValueError, match="whole numbers from 1 to 60"):
        model.predict(both, lengths=lengths + 60)
    with pytest.raises(ShapeError, match=r"not .60, 60, 2, 1."):
        model.fit(both[..., None], Y)


def test_what_stands_in_the_padding_is_not_learnt_from():
    lengths = RNG.integers(30, 61, size=len(X))
    padded = [np.where(np.arange(60) < lengths[:, None], X, value) for value in (0.0, 50.0)]
    a, b = (SequenceClassifier(max_epochs=2, **QUICK).fit(P, Y, lengths=lengths) for P in padded)
    expected = a.predict_proba(padded[0], lengths=lengths)
    np.testing.assert_allclose(b.predict_proba(padded[1], lengths=lengths), expected, atol=1e-5)


def test_the_same_seed_learns_the_same_and_any_mixer_will_do():
    a, b = (SequenceClassifier(max_epochs=2, **QUICK).fit(X, Y).predict_proba(X) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    layer = partial(H3Conv, length=60)
    assert SequenceClassifier(layer=layer, norm="rms", max_epochs=2, **QUICK).fit(X, Y).predict(X).shape == (60,)


def test_a_mixer_by_name_is_saved_too(tmp_path):
    model = SequenceClassifier(layer="norm", norm="layer", learning_rate=3e-3, max_epochs=2, **QUICK).fit(X, Y)
    model.save(tmp_path / "model")
    loaded = SequenceClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert SequenceClassifier(layer="h3", causal=True, max_epochs=1, **QUICK).fit(X, Y).network_.causal
    with pytest.raises(ValueError, match="a function of the width or one of transnormer, softmax"):
        SequenceClassifier(layer="mamba", **QUICK).fit(X, Y)


def test_an_interrupted_fit_goes_on(tmp_path):
    whole = SequenceClassifier(max_epochs=4, **QUICK).fit(X, Y).predict_proba(X)
    path = tmp_path / "fit"

    class Interrupted(SequenceClassifier):
        def _learn(self, *args, **kwargs):
            import mercer.learn.sequence_classifier as module

            real = module.train

            def stop(model, history):
                if history.n_epochs == 2:
                    raise KeyboardInterrupt

            def train(*args, callbacks, **kwargs):
                return real(*args, callbacks=[*callbacks, stop], **kwargs)

            module.train = train
            try:
                return super()._learn(*args, **kwargs)
            finally:
                module.train = real

    with pytest.raises(KeyboardInterrupt):
        Interrupted(max_epochs=4, checkpoint=path, **QUICK).fit(X, Y)
    resumed = SequenceClassifier(max_epochs=4, checkpoint=path, **QUICK).fit(X, Y)
    np.testing.assert_allclose(resumed.predict_proba(X), whole, atol=1e-6)


def test_rows_left_out_stop_and_choose():
    options = {**QUICK, "learning_rate": 0.05}
    model = SequenceClassifier(max_epochs=60, validation_fraction=0.25, n_iter_no_change=3, **options).fit(X, Y)
    assert 0 < model.history_["best_epoch"] <= len(model.history_["losses"])
    auto = SequenceClassifier(max_epochs=3, **{**QUICK, "kernel_dim": "auto", "layers": "auto"}).fit(X, Y)
    assert [(c["kernel_dim"], c["layers"]) for c in auto.candidates_] == [(d, n) for d in (4, 16) for n in (1, 2, 4)]
    best = min(auto.candidates_, key=lambda c: c["loss"])
    assert (auto.kernel_dim_, auto.layers_) == (best["kernel_dim"], best["layers"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "gauss"}, "kernel must be one of 'sgconv'"),
        ({"layers": 0}, "layers must be a whole number"),
        ({"kernel_dim": "many"}, "kernel_dim must be a whole number"),
        ({"learning_rate": -1.0}, "learning_rate must be"),
        ({"validation_fraction": 1.0}, "validation_fraction must lie in"),
        ({"pool": None}, "pool must be 'mean' or 'last'"),
        ({"causal": True, "norm": "batch"}, "the model would see the future"),
    ],
)
def test_what_cannot_be_learnt_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SequenceClassifier(**{**QUICK, **options}).fit(X, Y)
    with pytest.raises(ValueError, match="at least two classes"):
        SequenceClassifier(**QUICK).fit(X, np.zeros(60))
