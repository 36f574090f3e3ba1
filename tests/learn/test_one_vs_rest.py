import numpy as np
import pytest
import torch

from mercer.learn.classes import class_codes, find_classes
from mercer.learn.one_vs_rest import one_vs_rest, winners


@pytest.mark.parametrize("labels", [["b", "a", "b"], [2.0, -1.0, 2.0], ["b", "c", "a"]])
def test_what_wins_are_the_classes_that_were_written_down(labels):
    classes, codes = find_classes(labels)
    values = one_vs_rest(codes, len(classes))
    assert values.shape == (3, 1 if len(classes) == 2 else 3)
    assert set(values.unique().tolist()) == {-1.0, 1.0}
    np.testing.assert_array_equal(classes[winners(values).numpy()], labels)


def test_a_tensor_has_the_classes_of_its_array():
    classes, codes = find_classes(torch.tensor([3, 1, 3]))
    assert classes.tolist() == [1, 3]
    assert codes.tolist() == class_codes(torch.tensor([3, 1, 3]), classes).tolist() == [1, 0, 1]


def test_what_is_no_classes_is_refused():
    with pytest.raises(ValueError, match="at least two classes, but y has one class: 'a'"):
        find_classes(["a", "a"])
    with pytest.raises(ValueError, match="Unknown label type"):
        find_classes([0.5, 1.5])
    with pytest.raises(ValueError, match="classes that no training row has: 'c'"):
        class_codes(["a", "c"], np.array(["a", "b"]))
