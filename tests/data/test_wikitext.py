"""WikiText, on a few lines in the official form."""

import pytest

from mercer.data import load_wikitext
from mercer.errors import FileFormatError


def save_wikitext(folder, train=" = Moon = \n \n The moon is the moon . \n", other=" The sun is <unk> . \n"):
    for part, text in (("train", train), ("valid", other), ("test", other)):
        (folder / f"wiki.{part}.tokens").write_text(text, encoding="utf-8")


def test_lines_end_and_words_stand_by_frequency(tmp_path):
    save_wikitext(tmp_path)
    text = load_wikitext(tmp_path)
    assert text.words == ("<eos>", "<unk>", "=", "moon", ".", "Moon", "The", "is", "the")
    assert text.decode(text.train) == "= Moon = <eos> <eos> The moon is the moon . <eos>"
    assert text.decode(text.valid) == "The <unk> is <unk> . <eos>"  # the sun is not in the training part
    assert text.encode("the moon").tolist() == [8, 3]


def test_rare_words_can_be_left_out(tmp_path):
    save_wikitext(tmp_path)
    text = load_wikitext(tmp_path, n_words=4)
    assert text.words == ("<eos>", "<unk>", "=", "moon")
    assert text.decode(text.train[5:]) == "<unk> moon <unk> <unk> moon <unk> <eos>"


def test_files_that_are_missing_or_empty_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wiki\.train\.tokens is missing"):
        load_wikitext(tmp_path)
    save_wikitext(tmp_path, other="")
    with pytest.raises(FileFormatError, match=r"wiki\.valid\.tokens is empty"):
        load_wikitext(tmp_path)
    with pytest.raises(ValueError, match="at least 2"):
        load_wikitext(tmp_path, n_words=1)
