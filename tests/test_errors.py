import pytest

from mercer import errors


@pytest.mark.parametrize(
    ("ours", "builtin"),
    [
        (errors.ShapeError, ValueError),
        (errors.MissingExtra, ImportError),
        (errors.NotConverged, RuntimeError),
        (errors.MemoryBudgetError, MemoryError),
        (errors.FileFormatError, ValueError),
        (errors.TableError, ValueError),
    ],
)
def test_an_error_is_caught_as_ours_and_as_pythons(ours, builtin):
    assert issubclass(ours, errors.MercerError)
    assert issubclass(ours, builtin)


def test_not_converged_carries_the_best_answer_so_far():
    assert errors.NotConverged("stopped after 3 steps", solution=[1.0]).solution == [1.0]


def test_every_error_and_warning_is_public():
    defined = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert defined == set(errors.__all__)
