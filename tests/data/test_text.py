"""Text by characters, and batches of it."""

import pytest
import torch

from mercer.data import CharacterText, TokenWindows, python_documentation, text_file
from mercer.nn.training import train


def test_pythons_documentation_is_there():
    text = python_documentation()
    assert 4e5 < len(text.text) < 1e6
    assert text.decode(text.encode("The for statement")) == "The for statement"
    assert text.decode(text.tokens) == text.text
    assert repr(text).startswith("<CharacterText of ")


def test_a_file_is_read_with_the_symbols_of_another(tmp_path):
    (tmp_path / "a.txt").write_text("cabbage")
    (tmp_path / "b.txt").write_text("é", encoding="latin-1")
    text = text_file(tmp_path / "a.txt", symbols="abcdefg")
    assert text.tokens.tolist() == [2, 0, 1, 1, 0, 6, 4]
    assert text_file(tmp_path / "b.txt", encoding="latin-1").symbols == "é"
    with pytest.raises(ValueError, match="'é' is none of the 7 symbols"):
        text_file(tmp_path / "b.txt", encoding="latin-1", symbols="abcdefg")
    with pytest.raises(ValueError, match="the text is empty"):
        CharacterText("")


def test_a_split_keeps_the_order():
    train_part, valid = CharacterText("abcdefghij").split(0.3)
    assert (train_part.tolist(), valid.tolist()) == ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9])
    with pytest.raises(ValueError, match="it is a share"):
        CharacterText("ab").split(1.0)


def test_windows_in_order_hold_every_target_once():
    windows = TokenWindows(torch.arange(50), length=7, batch_size=3)
    targets = torch.cat([batch[:, 1:].flatten() for batch in windows])
    assert targets.tolist() == list(range(1, 50))
    assert len(windows) == len(list(windows)) == 3


def test_windows_at_random_are_seeded():
    tokens = torch.arange(50)
    windows = TokenWindows(tokens, length=7, batch_size=4, n_batches=5, random_state=1)
    batches = list(windows)
    assert len(batches) == len(windows) == 5
    assert all(torch.equal(batch - batch[:, :1], torch.arange(8).expand(4, 8)) for batch in batches)
    assert not torch.equal(batches[0], next(iter(windows)))  # another pass, other places
    again = TokenWindows(tokens, length=7, batch_size=4, n_batches=5, random_state=1)
    assert torch.equal(batches[0], next(iter(again)))
    seen = torch.stack(list(TokenWindows(tokens, length=49, batch_size=2, n_batches=2)))
    assert torch.equal(seen, tokens.expand(2, 2, 50))


def test_training_seeds_the_windows():
    tokens, seen = torch.randint(5, (200,)), []
    model = torch.nn.Embedding(5, 5)

    def loss(model, batch):
        seen.append(batch)
        return torch.nn.functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())

    for _ in range(2):
        train(model, TokenWindows(tokens, length=8, batch_size=2, n_batches=3), loss=loss, n_epochs=2, random_state=3)
    assert all(torch.equal(a, b) for a, b in zip(seen[:6], seen[6:], strict=True))
    assert not torch.equal(seen[0], seen[3])


@pytest.mark.parametrize(("length", "batch_size"), [(50, 1), (0, 1), (5, 0)])
def test_windows_that_do_not_fit_are_refused(length, batch_size):
    with pytest.raises(ValueError, match="there are 50 tokens"):
        TokenWindows(torch.arange(50), length=length, batch_size=batch_size)
