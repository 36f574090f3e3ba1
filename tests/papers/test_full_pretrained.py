"""Paper 16 on encoders from the disk: tiny ones, by transformers or in its place, and two rows of each table."""

import sys
from collections import UserDict
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mercer.errors import MissingExtra
from mercer.papers import NotMeasured, catalog, measure, pretrained, registry

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
WIDTH = 8


class Output(nn.Module):
    """The end of a part of BERT's layers."""

    def __init__(self):
        super().__init__()
        self.dense, self.LayerNorm, self.dropout = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Dropout(0.1)

    def forward(self, x):
        return self.LayerNorm(x + self.dropout(self.dense(x)))


class Encoder(nn.Module):
    """With the names that transformers gives."""

    def __init__(self, is_image):
        super().__init__()
        self.config = SimpleNamespace(hidden_size=WIDTH, image_size=4)
        self.embeddings = nn.Linear(3, WIDTH) if is_image else nn.Embedding(30, WIDTH)
        self.query, self.value, self.key = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.output = Output()

    def forward(self, input_ids=None, attention_mask=None, pixel_values=None):
        x = self.embeddings(input_ids if pixel_values is None else pixel_values.flatten(2).mT)
        mixed = nn.functional.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return SimpleNamespace(last_hidden_state=self.output(mixed))


def tokenize(first, second=None, **_):
    rows = [[len(word) for word in f"{a} {b}".split()] for a, b in zip(first, second or first, strict=True)]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return UserDict(input_ids=ids, attention_mask=(ids > 0).long())


@pytest.fixture
def stubs(monkeypatch):
    def load(make):
        return SimpleNamespace(from_pretrained=lambda path, local_files_only: make(path))

    module = SimpleNamespace(AutoModel=load(lambda p: Encoder(p.name == "vit")), AutoTokenizer=load(lambda _: tokenize))
    monkeypatch.setattr(pretrained, "_transformers", lambda: module)
    monkeypatch.setattr(pretrained, "EPOCHS", 2)


def save_tables(folder):
    from test_cifar import save_cifar
    from test_glue import TABLES, save_glue

    for name, task in pretrained.GLUE_FOLDERS.items():
        (folder / name).mkdir()
        save_glue(folder / name, task)
        if task == "cola":  # its table has no line of names, so that lines may come twice
            save_glue(folder / name, task, "\n".join([TABLES[task]] * 10))
    (folder / "cifar-10-batches-py").mkdir()
    save_cifar(folder / "cifar-10-batches-py", n=2)


@pytest.mark.slow(reason="sixty trainings")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_every_way_is_measured_on_every_task(tmp_path, stubs):
    claim = registry.load(catalog()[16]).claims["pretrained"]
    with pytest.raises(NotMeasured, match="bert and folders of GLUE"):
        measure(claim, mode="full")
    with pytest.raises(NotMeasured, match="neither bert with a folder"):
        measure(claim, mode="full", data=tmp_path)
    for name in ("bert", "vit"):
        (tmp_path / name).mkdir()
    save_tables(tmp_path)
    found = measure(claim, mode="full", data=tmp_path, seeds=[0])
    rows = {(task, way): row for task, way, *row in found.tables[0].rows}
    assert len(rows) == 6 * 5
    counts = {way: rows["cola", way][-1] for way in pretrained.WAYS}
    assert counts == {
        "head": 0,
        "SNNK": 8 * WIDTH + WIDTH,
        "bottleneck": 2 * WIDTH * 24 + 24 + WIDTH,
        "bottleneck, small": 2 * WIDTH * 3 + 3 + WIDTH,
        "LoRA": 2 * 2 * WIDTH,
    }
    assert rows["cifar-10-batches-py", "SNNK"][-1] == 64 * WIDTH + WIDTH
    assert all(-100.0 <= score <= 100.0 for _, score, _ in rows.values())


def test_transformers_is_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "bert").mkdir()
    save_tables(tmp_path)
    with pytest.raises(MissingExtra, match="pip install transformers"):
        list(pretrained.find_tasks(tmp_path))


@pytest.mark.slow(reason="transformers takes seconds to be imported")
def test_encoders_of_transformers_have_places_for_all_ways(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    bert = transformers.BertModel(transformers.BertConfig(vocab_size=40, **sizes))
    vit = transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **sizes))
    for encoder, given, is_image in (
        (bert, {"input_ids": torch.ones(1, 3, dtype=torch.long)}, False),
        (vit, {"pixel_values": torch.randn(1, 3, 16, 16)}, True),
    ):
        encoder.eval().save_pretrained(tmp_path / "one")
        for way in pretrained.WAYS:
            adapted = transformers.AutoModel.from_pretrained(tmp_path / "one", local_files_only=True).eval()
            pretrained._adapt(adapted, way, is_image=is_image, seed=0)
            trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
            n = 64 if is_image else 8
            expected = {"head": 0, "LoRA": 4 * 2 * 16, "SNNK": 4 * (16 * n + 16), "bottleneck": 4 * (2 * 16 * 24 + 40)}
            assert trained == expected.get(way, trained)
            assert torch.allclose(
                adapted(**given).last_hidden_state, encoder(**given).last_hidden_state, atol=1e-5
            )  # until they are trained
