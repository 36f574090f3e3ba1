"""The Long Range Arena: tiny files in the official forms, and generators that follow the official rules."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from mercer.data import (
    LISTOPS_TOKENS,
    LRA_TASKS,
    encode_listops,
    load_lra,
    make_listops,
    make_pathfinder,
    save_listops,
)
from mercer.data.lra.pathfinder import SETTINGS
from mercer.errors import FileFormatError, ShapeError

VALUES = {"[MIN": min, "[MAX": max, "[MED": lambda v: int(np.median(v)), "[SM": lambda v: sum(v) % 10}


def value_of(source):
    """The value of an expression with the official brackets, by a stack."""
    stack = []
    for token in source.replace("(", " ").replace(")", " ").split():
        if token != "]":
            stack.append(token if token in VALUES else int(token))
            continue
        arguments = []
        while not isinstance(stack[-1], str):
            arguments.append(stack.pop())
        stack.append(VALUES[stack.pop()](arguments))
    return stack[0]


def test_expressions_have_their_values_and_lengths_and_the_official_brackets():
    found = make_listops(40, min_length=20, max_length=120, random_state=1)
    lengths = (found.inputs != 0).sum(1)
    assert lengths.min() > 20
    assert lengths.max() < 120
    assert [value_of(source) for source in found.sources] == found.targets.tolist()
    assert len(set(found.sources)) == 40
    assert all(source.count("(") == source.count(")") for source in found.sources)
    for source in found.sources:  # an opening bracket for every token but the first
        assert source.count("(") == len(source.replace("(", " ").replace(")", " ").split()) - 1
    again = make_listops(40, min_length=20, max_length=120, random_state=1)
    assert again.sources == found.sources
    depth = max(_depth(source) for source in make_listops(30, min_length=2, max_length=60, max_depth=3).sources)
    assert depth == 2  # operators stand above the deepest level


def _depth(source):
    depth = deepest = 0
    for token in source.split():
        depth += (token in VALUES) - (token == "]")
        deepest = max(deepest, depth)
    return deepest


def test_the_root_and_its_arguments_follow_the_official_chances():
    found = make_listops(300, min_length=2, max_length=400, random_state=0)
    words = [source.replace("(", " ").replace(")", " ").split() for source in found.sources]
    names = [word for row in words for word in row if word in VALUES]
    shares = [names.count(name) / len(names) for name in VALUES]
    np.testing.assert_allclose(shares, 0.25, atol=0.05)
    digits = [word for row in words for word in row if word.isdigit()]
    assert len(names) / (len(names) + len(digits)) == pytest.approx(0.2, abs=0.05)


def test_listops_are_written_and_read_in_the_official_form(tmp_path):
    parts = {part: make_listops(5, min_length=4, max_length=40, random_state=i) for i, part in enumerate("abc")}
    for name, data in zip(("train", "val", "test"), parts.values(), strict=True):
        save_listops(tmp_path / f"basic_{name}.tsv", data)
    assert (tmp_path / "basic_val.tsv").read_text().splitlines()[0] == "Source\tTarget"
    task = load_lra(tmp_path, "listops")
    assert (task.train.inputs.shape, task.n_classes, task.vocabulary, task.length) == ((5, 2000), 10, 16, 2000)
    np.testing.assert_array_equal(task.test.inputs[:, :40], parts["c"].inputs)
    np.testing.assert_array_equal(task.valid.targets, parts["b"].targets)
    short = load_lra(tmp_path, "listops", length=7, limit=2)
    np.testing.assert_array_equal(short.train.inputs, parts["a"].inputs[:2, :7])
    (tmp_path / "basic_test.tsv").write_text("Source\tTarget\n( 3 )\tthree\n")
    with pytest.raises(FileFormatError, match=r"basic_test.tsv, line 2: an expression, a tab and a digit"):
        load_lra(tmp_path, "listops")
    (tmp_path / "basic_test.tsv").write_text("3\t4\n")
    with pytest.raises(FileFormatError, match=r"first line must be Source and Target"):
        load_lra(tmp_path, "listops")
    (tmp_path / "basic_test.tsv").write_text("Source\tTarget\n( 3 )\t3\n[AVG 3 ]\t3\n")
    with pytest.raises(FileFormatError, match=r"basic_test.tsv, line 3: ListOps has no token '\[AVG'"):
        load_lra(tmp_path, "listops")
    (tmp_path / "basic_test.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"basic_test.tsv is missing: .*lra_release/listops-1000"):
        load_lra(tmp_path, "listops")


def test_tokens_are_numbered_from_one_and_strange_ones_refused():
    assert encode_listops(["( ( [SM 9 ) ] )"], 5).tolist() == [[14, 10, 15, 0, 0]]
    assert LISTOPS_TOKENS[13] == "[SM"
    assert encode_listops([], 4).shape == (0, 4)
    with pytest.raises(ValueError, match=r"no token '\[AVG'"):
        encode_listops(["[AVG 3 ]"])
    with pytest.raises(ValueError, match=r"room between the lengths"):
        make_listops(3, min_length=40, max_length=41)


def test_reviews_are_bytes_and_the_test_part_validates(tmp_path):
    for part in ("train", "test"):
        for kind, stars in (("pos", 9), ("neg", 2)):
            folder = tmp_path / part / kind
            folder.mkdir(parents=True)
            for i in (0, 2, 10):
                (folder / f"{i}_{stars}.txt").write_bytes(f"{part} {kind} {i} é".encode())
    task = load_lra(tmp_path, "text", length=16)
    assert task.train.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert bytes((task.train.inputs[1][task.train.inputs[1] > 0] - 1).astype(np.uint8)).decode() == "train neg 2 é"
    assert task.train.inputs[2].tolist()[:10] == [b + 1 for b in b"train neg 10"[:10]]
    assert task.valid is task.test
    assert (task.vocabulary, task.train.inputs.dtype) == (257, np.int16)
    assert load_lra(tmp_path, "text", limit=3).train.targets.tolist() == [0, 0, 1]  # as many of each class, almost
    assert load_lra(tmp_path, "text", limit=1).train.targets.tolist() == [0]
    with pytest.raises(FileNotFoundError, match=r"must be the folder aclImdb"):
        load_lra(tmp_path / "train", "text")


def test_pairs_of_papers_are_read_from_tabs(tmp_path):
    for part in ("train", "eval", "test"):
        rows = [
            f'{label}\tA{i}\tB{i}\tan "odd text {part}\tanother {i}\n' for i, label in enumerate(("0.0", "1", "1.0"))
        ]
        (tmp_path / f"new_aan_pairs.{part}.tsv").write_text("".join(rows))
    task = load_lra(tmp_path, "retrieval", length=20)
    assert task.train.inputs.shape == (3, 2, 20)
    assert task.valid.targets.tolist() == [0, 1, 1]
    assert bytes((task.train.inputs[2, 1, :9] - 1).astype(np.uint8)) == b"another 2"
    for line in ("2\ta\tb\tc\td\n", "1\ta\tb\tc\n"):
        (tmp_path / "new_aan_pairs.test.tsv").write_text(line)
        with pytest.raises(FileFormatError, match=r"line 1: a label 0 or 1, two names and two texts"):
            load_lra(tmp_path, "retrieval")


def test_papers_may_have_any_bytes_but_a_line_feed(tmp_path):
    first, second = b"caf\xe9 \xff\x85\rnew", "déjà\u2028vu\x85".encode()
    for part in ("train", "eval", "test"):
        (tmp_path / f"new_aan_pairs.{part}.tsv").write_bytes(b"1\ta\tb\t" + first + b"\t" + second + b"\r\n")
    found = load_lra(tmp_path, "retrieval", length=24).train.inputs
    assert found.shape == (1, 2, 24)
    for row, text in zip(found[0], (first, second), strict=True):
        assert bytes((row[row > 0] - 1).astype(np.uint8)) == text


@pytest.mark.parametrize("value", [0, 1.5, "a", True, float("nan")])
@pytest.mark.parametrize("name", ["length", "limit"])
def test_numbers_that_are_not_whole_are_refused(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"load_lra: {name} must be a whole number >= 1 or None, not {value!r}"):
        load_lra(tmp_path, "text", **{name: value})


def cifar(folder, n=10):
    """The binary and the Python form of the same random images."""
    draw = np.random.default_rng(0)
    (folder / "bin").mkdir()
    (folder / "py").mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        pixels, labels = draw.integers(0, 256, (n, 3072), dtype=np.uint8), draw.integers(0, 10, n)
        rows = np.concatenate([labels[:, None].astype(np.uint8), pixels], 1)
        (folder / "bin" / f"{name}.bin").write_bytes(rows.tobytes())
        (folder / "py" / name).write_bytes(pickle.dumps({b"data": pixels, b"labels": labels.tolist()}, protocol=2))
    return pixels, labels


def test_images_are_grey_and_the_last_tenth_of_the_training_images_validates(tmp_path):
    pixels, labels = cifar(tmp_path)
    task = load_lra(tmp_path / "bin", "image")
    assert [len(part.targets) for part in (task.train, task.valid, task.test)] == [45, 5, 10]
    np.testing.assert_array_equal(task.test.targets, labels)
    red, green, blue = pixels.reshape(10, 3, 1024).astype(float).transpose(1, 0, 2)
    grey = 0.2989 * red + 0.587 * green + 0.114 * blue
    assert np.abs(task.test.inputs - grey).max() <= 1.0
    assert (task.test.inputs.dtype, task.is_pixels, task.vocabulary) == (np.uint8, True, 256)
    for a, b in zip(vars(load_lra(tmp_path / "py", "image")).values(), vars(task).values(), strict=True):
        np.testing.assert_equal(a, b)
    assert len(load_lra(tmp_path / "bin", "image", limit=3).valid.targets) == 3
    with pytest.raises(ShapeError, match=r"have 1024 pixels"):
        load_lra(tmp_path / "bin", "image", length=784)
    (tmp_path / "bin" / "test_batch.bin").write_bytes(b"\0" * 3000)
    with pytest.raises(FileFormatError, match=r"no images of 3073"):
        load_lra(tmp_path / "bin", "image")


class Harmful:
    def __reduce__(self):
        return (print, ("code of the file runs",))


@pytest.mark.parametrize("content", [pickle.dumps(Harmful()), pickle.dumps({b"data": 3}), b"", pickle.dumps([1])])
def test_a_pickle_is_read_without_running_it(tmp_path, content, capsys):
    cifar(tmp_path)
    (tmp_path / "py" / "test_batch").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"is no batch of CIFAR-10"):
        load_lra(tmp_path / "py", "image")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("task", "side"), [("pathfinder", 32), ("pathx", 128)])
@pytest.mark.parametrize("form", ["text", "array"])
def test_pathfinder_folders_are_read_by_their_metadata(tmp_path, task, side, form):
    folder = tmp_path / "curv_contour_length_14"
    (folder / "metadata").mkdir(parents=True)
    labels = {}
    for batch in (0, 10):
        (folder / "imgs" / str(batch)).mkdir(parents=True)
        rows = []
        for i in range(10):
            level = 10 * (batch > 0) + i + 1
            labels[level] = i % 2
            Image.new("L", (side, side), level).save(folder / "imgs" / str(batch) / f"sample_{i}.png")
            rows.append(
                [f"imgs/{batch}", f"sample_{i}.png", str(i), str(i % 2), "1.0", "14", "4", "2", "0.5", "1", "1"]
            )
        path = folder / "metadata" / f"{batch}.npy"
        if form == "text":
            path.write_text("\n".join(" ".join(row) for row in rows) + "\n")
        else:
            np.save(path, np.array(rows))
    (folder / "imgs" / "0" / "sample_3.png").write_bytes(b"")  # the release has such an image
    found = load_lra(tmp_path, task)
    parts = (found.train, found.valid, found.test)
    assert sum(len(part.targets) for part in parts) == 19
    levels = np.concatenate([part.inputs[:, 0] for part in parts])
    assert sorted(levels.tolist()) == [level for level in range(1, 21) if level != 4]
    assert [labels[level] for level in levels] == np.concatenate([part.targets for part in parts]).tolist()
    assert found.train.inputs.shape[1] == side * side
    np.testing.assert_array_equal(
        load_lra(folder, task).train.inputs, found.train.inputs
    )  # the inner folder will do too
    other = load_lra(tmp_path, task, random_state=1)
    assert not np.array_equal(np.sort(other.test.inputs[:, 0]), np.sort(found.test.inputs[:, 0]))
    if form == "array":
        return
    (folder / "imgs" / "0" / "sample_3.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"sample_3.png is missing"):
        load_lra(tmp_path, task)
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "PNG")
    (folder / "imgs" / "0" / "sample_3.png").write_bytes(buffer.getvalue())
    with pytest.raises(FileFormatError, match=r"has 8 x 8 pixels"):
        load_lra(tmp_path, task)
    (folder / "imgs" / "0" / "sample_3.png").write_bytes(b"no image")
    with pytest.raises(FileFormatError, match=r"no image that can be read"):
        load_lra(tmp_path, task)
    (folder / "metadata" / "10.npy").write_text("imgs/10 sample_0.png 0 yes\n")
    with pytest.raises(FileFormatError, match=r"label 0 or 1 were expected"):
        load_lra(tmp_path, task)


def test_what_is_no_task_or_no_folder_is_refused(tmp_path):
    assert len(LRA_TASKS) == 6
    with pytest.raises(ValueError, match=r"choose from: listops, text, retrieval, image, pathfinder, pathx"):
        load_lra(tmp_path, "path-256")
    with pytest.raises(FileNotFoundError, match=r"is no folder"):
        load_lra(tmp_path / "nowhere", "text")
    with pytest.raises(FileNotFoundError, match=r"has no \*.npy: .*pathfinder32"):
        load_lra(tmp_path, "pathfinder")
    with pytest.raises(ShapeError, match=r"16384 pixels"):
        load_lra(tmp_path, "pathx", length=1024)
    with pytest.raises(FileNotFoundError, match=r"data_batch_1.bin is missing: .*cifar"):
        load_lra(tmp_path, "image")


def bars(image):
    """Connected regions of pixels that show something."""
    from scipy.ndimage import label

    return label(image > 0, structure=np.ones((3, 3)))


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_images_are_reproducible_and_leave_the_border_free(size):
    images = make_pathfinder(2, size=size, contour_length=6, random_state=3)
    assert images.inputs.shape == (2, size * size)
    assert images.inputs.max(1).tolist() == [255] * 2
    np.testing.assert_array_equal(images.inputs, make_pathfinder(2, size=size, contour_length=6, random_state=3).inputs)
    assert not np.array_equal(images.inputs, make_pathfinder(2, size=size, contour_length=6, random_state=4).inputs)
    for image in images.inputs.reshape(2, size, size):
        edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert edge.mean() < 0.05 * 255.0


def test_bars_of_a_snake_stand_a_margin_apart_and_others_further():
    image = make_pathfinder(1, size=256, contour_length=6, distractors=0, random_state=0).inputs[0].reshape(256, 256)
    # Twelve bars, of which up to three at each dot touch it; a margin of 3 pixels on each side keeps the others apart.
    assert 8 <= bars(image)[1] <= 12


def test_the_label_says_whether_the_dots_are_on_one_snake():
    # On a large image without distractors: the gaps within a snake are 6 pixels, and closing them leaves two regions
    # where the snakes are further apart than that.
    from scipy.ndimage import binary_dilation, label

    right = usable = 0
    images = make_pathfinder(16, size=256, contour_length=6, distractors=0, random_state=0)
    disc = np.hypot(*np.mgrid[-5:6, -5:6]) <= 5.0
    for pixels, truth in zip(images.inputs.reshape(-1, 256, 256), images.targets, strict=True):
        joined, count = label(binary_dilation(pixels > 0, disc))
        rows, columns = np.nonzero(_opened(pixels == 255))
        dots = np.stack([rows, columns], 1)
        apart = np.hypot(*(dots - dots[0]).T) > 12.0
        if count == 2 and apart.any():
            usable += 1
            right += (joined[tuple(dots[0])] == joined[tuple(dots[apart][0])]) == bool(truth)
    assert usable >= 4
    assert right == usable


def _opened(bright):
    """What is wider than a bar: the dots."""
    from scipy.ndimage import binary_opening

    return binary_opening(bright, np.ones((5, 5)))


def test_settings_are_those_of_the_arena_and_others_refused():
    assert {size: s.seed_distance for size, s in SETTINGS.items()} == {32: 7, 64: 12, 128: 20, 256: 27}
    with pytest.raises(ValueError, match=r"the arena has 32, 64, 128, 256"):
        make_pathfinder(1, size=48)
    with pytest.raises(ValueError, match=r"at least 3 paddles"):
        make_pathfinder(1, contour_length=2)
    assert make_pathfinder(0).inputs.shape == (0, 1024)
