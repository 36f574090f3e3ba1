import gzip
import struct

import numpy as np
import pytest

from mercer.data import mnist, read_idx
from mercer.errors import FileFormatError

IMAGES = np.arange(5 * 3 * 2, dtype=np.uint8).reshape(5, 3, 2)
LABELS = np.array([7, 0, 9, 1, 4], dtype=np.uint8)


def idx(array):
    """The bytes of an IDX file, written by hand after the description of the format."""
    codes = {"uint8": 8, "int16": 11, "float64": 14}
    head = bytes([0, 0, codes[array.dtype.name], array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(array.dtype.newbyteorder(">")).tobytes()


def write(folder, mark="-", pack=lambda content: content, end=""):
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 5), ("t10k", 2)):
        (folder / f"{part}-images{mark}idx3-ubyte{end}").write_bytes(pack(idx(IMAGES[:n])))
        (folder / f"{part}-labels{mark}idx1-ubyte{end}").write_bytes(pack(idx(LABELS[:n])))


@pytest.mark.parametrize("array", [IMAGES, np.array([-3, 300], dtype=np.int16), np.array([[0.5, -1e300]])])
def test_an_idx_file_gives_its_array(tmp_path, array):
    (tmp_path / "file").write_bytes(idx(array))
    found = read_idx(tmp_path / "file")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


@pytest.mark.parametrize(
    ("inside", "options"),
    [("", {}), ("", {"mark": "."}), ("", {"pack": gzip.compress, "end": ".gz"}), ("MNIST/raw", {})],
)
def test_mnist_is_found_in_every_usual_place(tmp_path, inside, options):
    write(tmp_path / inside, **options)
    found = mnist(tmp_path)
    np.testing.assert_array_equal(found.images, IMAGES)
    assert (found.labels.tolist(), found.labels.dtype) == (LABELS.tolist(), np.int64)
    assert (found.test_images.shape, found.test_labels.tolist()) == ((2, 3, 2), [7, 0])


@pytest.mark.parametrize("name", ["mnist.npz", "other.npz"])
def test_mnist_is_read_from_an_archive(tmp_path, name):
    path = tmp_path / name
    np.savez(path, x_train=IMAGES, y_train=LABELS, x_test=IMAGES[:2], y_test=LABELS[:2])
    found = mnist(tmp_path if name == "mnist.npz" else path)
    np.testing.assert_array_equal(found.images, IMAGES)
    assert found.test_labels.tolist() == [7, 0]


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte is missing: give the folder"):
        mnist(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG", "is no IDX file: it begins with 89 50 4e 47"),
        (b"\0\0\x08\x03\0\0", "is cut off: it has 6 bytes"),
        (idx(IMAGES)[:-1], r"has 45 bytes, but an array of shape \(5, 3, 2\) takes 46"),
        (gzip.compress(idx(IMAGES))[:-9], "damaged gzip"),
    ],
    ids=[
        "empty",
        "picture",
        "cut-header",
        "cut-array",
        "cut-gzip",
    ],  # gzip notes the time, which workers see differently
)
def test_damaged_files_are_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        read_idx(tmp_path / "file")


def test_archives_that_are_something_else_are_refused(tmp_path):
    (tmp_path / "mnist.npz").write_bytes(b"hello")
    with pytest.raises(FileFormatError, match=r"no readable \.npz"):
        mnist(tmp_path)
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES, y_train=LABELS)
    with pytest.raises(FileFormatError, match="has x_train, y_train, but not x_test, y_test"):
        mnist(tmp_path)
    np.savez(tmp_path / "mnist.npz", x_train=IMAGES, y_train=LABELS[:4], x_test=IMAGES, y_test=LABELS)
    with pytest.raises(FileFormatError, match=r"training images of shape .* do not go together"):
        mnist(tmp_path)
