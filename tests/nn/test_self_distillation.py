"""Self-distillation of networks: what a student is taught, the weight, resuming, what is refused."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from mercer.errors import FileFormatError, ShapeError
from mercer.learn import optimal_weight
from mercer.nn import self_distill
from mercer.nn.distillation_loss import DistillationLoss
from mercer.nn.training import train


def blobs(n=60, *, seed=0):
    draw = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=draw)
    angle = 2.0 * y
    return torch.randn(n, 2, generator=draw) + 1.5 * torch.stack([angle.cos(), angle.sin()], 1), y


def network():
    return nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


FIT = partial(train, n_steps=15, optimizer=partial(torch.optim.Adam, lr=0.02))
TRAIN, VALID = [blobs()], [blobs(seed=1)]


def outputs(model, x):
    with torch.no_grad():
        return model(x).softmax(1)


def test_the_weight_is_that_of_the_closed_form():
    fitted = []

    def fit(model, loader, *, loss):
        FIT(model, loader, loss=loss)
        fitted.append((model, loss.weight))

    parts = [tuple(part[rows] for part in VALID[0]) for rows in (slice(45), slice(45, None))]
    rounds = self_distill(network, TRAIN, parts, n_rounds=2, fit_fn=fit, clip=None)
    (first, _), (student, alone), (last, used) = fitted
    x, y = VALID[0]
    expected = optimal_weight(nn.functional.one_hot(y), outputs(first, x), outputs(student, x))
    assert rounds[1].alpha == rounds[1].proposal == used == pytest.approx(expected, rel=1e-4)
    assert alone == 0.0
    assert rounds[1].model is last
    assert [r.n_trainings for r in rounds] == [1, 2]
    assert math.isnan(rounds[0].proposal)
    one_hot = nn.functional.one_hot(y)
    assert rounds[1].valid_loss == pytest.approx(float((outputs(last, x) - one_hot).square().sum(1).mean()), rel=1e-5)


@pytest.mark.parametrize(("clip", "index"), [((0.0, 1e-9), 1), ((1.0 - 1e-9, 1.0), 0)])
def test_a_weight_at_the_end_of_its_range_needs_no_second_training(clip, index, monkeypatch):
    low_or_high = 0.0 if index else 1.0
    monkeypatch.setattr("mercer.nn.self_distillation._Run._optimal_weight", lambda self, u, g: low_or_high)
    rounds = self_distill(network, TRAIN, VALID, fit_fn=FIT, clip=clip)
    assert (rounds[1].alpha, rounds[1].n_trainings) == (low_or_high, 1)
    assert (rounds[1].model is rounds[0].model) == (index == 0)


def test_given_weights_take_one_training_each_and_a_weight_of_one_none():
    rounds = self_distill(network, TRAIN, None, n_rounds=4, alpha=[1.0, 0.5, 1.0, 0.0], teacher="first", fit_fn=FIT)
    assert [r.n_trainings for r in rounds] == [1, 1, 0, 1]
    assert rounds[2].model is rounds[0].model
    assert math.isnan(rounds[3].valid_loss)


@pytest.mark.parametrize("teacher", ["previous", "first"])
def test_the_teacher_is_the_one_that_was_asked_for(teacher):
    teachers = []

    def fit(model, loader, *, loss):
        teachers.append(loss.teacher)

    rounds = self_distill(network, TRAIN, None, n_rounds=3, alpha=0.5, teacher=teacher, fit_fn=fit)
    assert teachers == [None, rounds[0].model, rounds[1 if teacher == "previous" else 0].model]


def test_the_teacher_is_frozen_while_the_student_learns():
    first = network().eval()
    state = {name: value.clone() for name, value in first.state_dict().items()}
    loss = DistillationLoss("brier").taught(first, 0.3)
    student = network().train()
    first.train()  # whoever did that
    loss(student, TRAIN[0]).backward()
    assert not first.training
    assert all(torch.equal(state[name], value) for name, value in first.state_dict().items())
    assert all(p.grad is None for p in first.parameters())
    assert all(p.grad is not None for p in student.parameters())


@pytest.mark.parametrize("kind", ["brier", "mse", "cross_entropy"])
def test_the_loss_is_the_mixture_of_its_two_parts(kind):
    x, y = TRAIN[0]
    teacher, student = network().eval(), network().eval()
    temperature = 3.0 if kind == "cross_entropy" else 1.0
    y = nn.functional.one_hot(y).float() if kind == "mse" else y
    found = DistillationLoss(kind, temperature).taught(teacher, 0.3)(student, (x, y))
    raw, taught = student(x), teacher(x)
    if kind == "mse":
        parts = (raw - y).square().sum(1).mean(), (raw - taught).square().sum(1).mean()
    elif kind == "brier":
        p = raw.softmax(1)
        parts = (p - nn.functional.one_hot(y)).square().sum(1).mean(), (p - taught.softmax(1)).square().sum(1).mean()
    else:
        soft = -((taught / 3.0).softmax(1) * (raw / 3.0).log_softmax(1)).sum(1).mean() * 9.0
        parts = nn.functional.cross_entropy(raw, y), soft
    assert float(found.detach()) == pytest.approx(float((0.3 * parts[0] + 0.7 * parts[1]).detach()), rel=1e-5)


def test_probabilities_and_numbers_are_labels_too():
    x, y = TRAIN[0]
    soft = nn.functional.one_hot(y).float()
    model = network().eval()
    assert torch.equal(DistillationLoss("brier")(model, (x, soft)), DistillationLoss("brier")(model, (x, y)))
    line = nn.Linear(2, 1)
    rounds = self_distill(lambda: nn.Linear(2, 1), [(x, x[:, 0])], [(x, x[:, 0])], loss="mse", fit_fn=FIT)
    assert len(rounds) == 2
    assert DistillationLoss("mse")(line, (x, x[:, 0])).dim() == 0


def test_the_same_seed_gives_the_same_rounds_and_each_training_its_own_start():
    starts = []

    def fit(model, loader, *, loss):
        starts.append(model[0].weight.detach().clone())
        FIT(model, loader, loss=loss)

    one, two = (self_distill(network, TRAIN, VALID, fit_fn=fit, random_state=4) for _ in range(2))
    assert torch.equal(one[1].model[0].weight, two[1].model[0].weight)
    assert len({float(start.sum()) for start in starts[: len(starts) // 2]}) == len(starts) // 2


def test_an_interrupted_run_goes_on_with_the_round_that_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("mercer.nn.self_distillation._EPOCHS", 3)
    options = {"n_rounds": 3, "clip": None, "random_state": 2}
    expected = self_distill(network, TRAIN, VALID, **options)

    def interrupt(done):
        if done.n_trainings == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        self_distill(network, TRAIN, VALID, folder=tmp_path, callbacks=[interrupt], **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-01.safetensors", "round-02.safetensors"]
    found = self_distill(network, TRAIN, VALID, folder=tmp_path, **options)
    for a, b in zip(found, expected, strict=True):
        assert (a.alpha, a.n_trainings, a.valid_loss) == (b.alpha, b.n_trainings, b.valid_loss)
        assert all(torch.equal(v, b.model.state_dict()[k]) for k, v in a.model.state_dict().items())
    assert math.isnan(found[0].proposal)
    with pytest.raises(FileFormatError, match=r"is of another run: alpha, clip differ. Give another folder"):
        self_distill(network, TRAIN, VALID, folder=tmp_path, alpha=0.5, n_rounds=3, random_state=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_rounds": 0}, "n_rounds must be >= 1, not 0"),
        ({"teacher": "best"}, "teacher must be 'previous' or 'first', not 'best'"),
        ({"alpha": "best"}, "alpha must be 'optimal', a number, or one for each round, not 'best'"),
        ({"alpha": 1.5}, r"alpha = 1.5 lies outside of clip=\(0.0, 1.0\). Give clip=None"),
        ({"alpha": [1.0]}, "1 weights for 2 rounds: give one for each, the first included"),
        ({"valid_loader": None}, "alpha='optimal' needs validation data: give valid_loader"),
        ({"loss": "hinge"}, "loss must be 'brier', 'mse' or 'cross_entropy', not 'hinge'"),
        ({"temperature": 0.0}, "temperature must be above 0, not 0.0"),
        ({"temperature": 2.0}, "temperature softens 'cross_entropy' only; loss='brier' has none"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        self_distill(network, **{"train_loader": TRAIN, "valid_loader": VALID, **options})


def test_labels_that_do_not_fit_are_refused():
    x, y = TRAIN[0]
    with pytest.raises(ShapeError, match="class 7 has no output: the network has 3, from class 0 on"):
        DistillationLoss("brier")(network(), (x, y + 5))
    with pytest.raises(ShapeError, match=r"the labels have shape \(60, 2\), the network's outputs \(60, 3\)"):
        DistillationLoss("cross_entropy")(network(), (x, torch.zeros(60, 2)))


def test_two_networks_that_agree_have_the_weight_one():
    model = network()
    rounds = self_distill(lambda: model, TRAIN, VALID, fit_fn=lambda model, loader, *, loss: None)
    assert rounds[1].proposal == 1.0


def test_the_report_of_all_rounds_is_that_of_kernel_models():
    rounds = self_distill(network, TRAIN, VALID, n_rounds=3, alpha=[1.0, 0.5, 0.25], fit_fn=FIT)
    assert rounds.alphas.tolist() == [1.0, 0.5, 0.25]
    assert rounds.scores.tolist() == [found.valid_loss for found in rounds]
    axes = rounds.plot_path()
    assert axes.lines[0].get_ydata().tolist() == rounds.scores.tolist()
    assert [text.get_text() for text in axes.texts] == ["α = 0.50", "α = 0.25"]


def test_rounds_without_validation_data_have_no_path_to_plot():
    rounds = self_distill(network, TRAIN, None, alpha=0.5, fit_fn=FIT)
    assert rounds.scores is None
    with pytest.raises(ValueError, match="give self_distill a valid_loader"):
        rounds.plot_path()
