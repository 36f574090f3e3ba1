"""CIFAR in colour, on tiny files in the official forms."""

import pickle

import numpy as np
import pytest

from mercer.data import load_cifar
from mercer.errors import FileFormatError


def save_cifar(folder, name="cifar10", *, n=2, binary=False):
    """Random batches of ``n`` images in the official form; their planes and classes."""
    draw, fine = np.random.default_rng(0), name == "cifar100"
    stems = ["train", "test"] if fine else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    planes, labels = [], []
    for stem in stems:
        data = draw.integers(0, 256, (n, 3072), dtype=np.uint8)
        y = draw.integers(0, 100 if fine else 10, n, dtype=np.uint8)
        if binary:
            heads = [np.zeros((n, 1), np.uint8), y[:, None]] if fine else [y[:, None]]
            np.concatenate([*heads, data], 1).tofile(folder / f"{stem}.bin")
        else:
            named = {b"fine_labels" if fine else b"labels": y.tolist(), b"data": data}
            (folder / stem).write_bytes(pickle.dumps(named, protocol=2))
        planes.append(data)
        labels.append(y)
    return planes, labels


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(("name", "n_classes"), [("cifar10", 10), ("cifar100", 100)])
def test_both_sets_are_read_in_both_forms(tmp_path, name, n_classes, binary):
    planes, labels = save_cifar(tmp_path, name, binary=binary)
    found = load_cifar(tmp_path, name)
    assert found.n_classes == n_classes
    assert found.train.targets.tolist() == np.concatenate(labels[:-1]).tolist()
    assert found.test.targets.tolist() == labels[-1].tolist()
    image, row = found.test.inputs[1], planes[-1][1]
    assert image.shape == (32, 32, 3)
    # The first 1024 bytes are red, row by row.
    assert (image[3, 5, 0], image[31, 31, 2]) == (row[3 * 32 + 5], row[-1])
    assert len(load_cifar(tmp_path, name, limit=1).train.inputs) == 1


def test_images_as_sequences_of_pixels(tmp_path):
    save_cifar(tmp_path)
    images = load_cifar(tmp_path)
    train, test = images.sequences()
    assert (train.inputs.shape, test.inputs.shape) == ((10, 1024, 3), (2, 1024, 3))
    assert train.inputs.dtype == np.float32
    np.testing.assert_allclose(train.inputs[0, 33], images.train.inputs[0, 1, 1] / 127.5 - 1.0, atol=1e-6)


def test_files_that_are_missing_or_cut_off_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin is missing"):
        load_cifar(tmp_path)
    with pytest.raises(ValueError, match="name='cifar'"):
        load_cifar(tmp_path, "cifar")
    save_cifar(tmp_path, binary=True)
    file = tmp_path / "data_batch_3.bin"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match="6145 bytes, which are no images of 3073"):
        load_cifar(tmp_path)
