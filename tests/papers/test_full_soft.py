"""Paper 20 on weights and images from the disk: small ones, in the official forms."""

import numpy as np
import pytest
import torch

from mercer.errors import FileFormatError
from mercer.nn.models import SoftSize, SoftTransformer
from mercer.papers import NotMeasured, Verdict, catalog, imagenet, judge, measure, p20_soft, registry

claims = registry.load(catalog()[20]).claims
SMALL = SoftSize((1, 1, 1, 1), (64, 32, 32, 32), (2, 1, 1, 1))


@pytest.fixture
def folder(tmp_path):
    """Weights of a new network of two classes, and three images of each."""
    Image = pytest.importorskip("PIL.Image")
    torch.manual_seed(0)
    for name, normalize in (("soft_tiny.pth", False), ("soft_norm_tiny.pth", True)):
        torch.save({"state_dict": SoftTransformer(SMALL, 2, normalize=normalize).state_dict()}, tmp_path / name)
    draw = np.random.default_rng(0)
    for name in ("n01", "n02"):
        (tmp_path / "val" / name).mkdir(parents=True)
        for i in range(3):
            pixels = draw.integers(0, 256, (90 + i, 120, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "val" / name / f"{i}.JPEG")
    return tmp_path


@pytest.mark.slow(reason="norms of operators on 576 tokens")
@pytest.mark.filterwarnings("ignore:SoftmaxFreeAttention. Newton:mercer.errors.ApproximationWarning")  # 20 steps
def test_norms_are_those_of_the_first_attention(folder, monkeypatch):
    with pytest.raises(NotMeasured, match=r"soft_norm_tiny\.pth of the official|soft_norm_tiny\.pth and a folder val"):
        measure(claims["trained-norm"], mode="full")
    monkeypatch.setattr(p20_soft, "PIXELS", (64, 96))
    found = measure(claims["trained-norm"], mode="full", data=folder, seeds=[0])
    rows = found.tables[0].rows
    assert [row[0] for row in rows] == [64, 96]
    assert found.values["grows"] == (pytest.approx(rows[1][1] / rows[0][1]),)
    assert found.values["bounded"] == (max(row[2] for row in rows),)
    # Of this one layer, all at once: P A^-1 P' of all tokens.
    model = SoftTransformer.from_official(folder / "soft_norm_tiny.pth", normalize=True).eval()
    image = imagenet.read_image(imagenet.images_in(folder / "val")[0], 64)[None]
    q, landmarks = p20_soft._first_attention(model, image)
    assert (q.shape, landmarks.shape) == ((2, 256, 32), (2, 4, 32))
    norms = []
    for a, b in zip(q, landmarks, strict=True):
        P, A = (torch.exp(-0.5 * torch.cdist(x, b).square()) for x in (a, b))
        norms.append(float(torch.linalg.matrix_norm(P @ torch.linalg.inv(A + 0.01 * torch.eye(4)) @ P.mT, 2)))
    assert rows[0][1] == pytest.approx(max(norms), rel=1e-3)


@pytest.mark.filterwarnings("ignore:SoftmaxFreeAttention. Newton:mercer.errors.ApproximationWarning")  # 20 steps
def test_published_weights_are_compared_with_published_numbers(folder):
    found = measure(claims["official"], mode="full", data=folder, seeds=[0])
    rows = {name: (here, paper) for name, here, paper in found.tables[0].rows}
    assert {name: paper for name, (_, paper) in rows.items()} == {"soft_tiny.pth": 79.3, "soft_norm_tiny.pth": 79.4}
    assert all(0.0 <= here <= 100.0 for here, _ in rows.values())
    assert judge(claims["official"], found.values) is Verdict.DOES_NOT_HOLD
    (folder / "val" / "n03").mkdir()
    with pytest.raises(FileFormatError, match="3 folders, the network knows 2 classes"):
        measure(claims["official"], mode="full", data=folder, seeds=[0])


def test_what_is_right_counts(folder):
    class First(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.tensor([1.0, 0.0]))

        def forward(self, x):
            assert x.shape[1:] == (3, 32, 32)
            return self.logits.expand(len(x), 2)

    assert imagenet.accuracy(First(), folder / "val", side=32, batch=4) == 0.5


def test_the_middle_is_cut_out_and_normalised(tmp_path):
    Image = pytest.importorskip("PIL.Image")
    pixels = np.zeros((40, 80, 3), dtype=np.uint8)
    pixels[:, 40:] = 255
    Image.fromarray(pixels).save(tmp_path / "half.png")
    image = imagenet.read_image(tmp_path / "half.png", 36)
    expected = [(value - m) / s for value in (0.0, 1.0) for m, s in zip(imagenet.MEAN, imagenet.DEVIATION, strict=True)]
    assert torch.cat([image[:, 18, 5], image[:, 18, 30]]).tolist() == pytest.approx(expected, abs=1e-5)
    (tmp_path / "none.png").write_text("no image")
    with pytest.raises(FileFormatError, match="is no image"):
        imagenet.read_image(tmp_path / "none.png", 8)
