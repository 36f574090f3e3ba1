import numpy as np
import pytest
import torch

from mercer.arguments import check_device, check_not_negative, check_positive, check_whole


@pytest.mark.parametrize("value", [1, 7, 3.0, np.int64(2), np.float32(4.0)])
def test_whole_numbers_of_any_type_are_taken(value):
    check_whole("count", value)


@pytest.mark.parametrize("value", [0, -1, 2.5, np.nan, np.inf, True, "3", None, [3]])
def test_all_else_is_refused_by_name(value):
    with pytest.raises(ValueError, match="count must be a whole number >= 1, not"):
        check_whole("count", value)


def test_none_and_other_limits_are_taken_where_they_are_allowed():
    check_whole("count", None, or_none=True)
    check_whole("count", 0, least=0)
    with pytest.raises(ValueError, match="count must be a whole number >= 2 or None, not 1"):
        check_whole("count", 1, least=2, or_none=True)


@pytest.mark.parametrize("value", [0, 0.0, 2, np.float64(1e300)])
def test_numbers_from_zero_on_are_taken(value):
    check_not_negative("alpha", value)


@pytest.mark.parametrize("value", [-1e-300, np.nan, np.inf, False, "1", None])
def test_negative_and_infinite_numbers_are_refused(value):
    with pytest.raises(ValueError, match="alpha must be a finite number >= 0, not"):
        check_not_negative("alpha", value)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, True, "1", None])
def test_numbers_that_are_not_positive_are_refused(value):
    check_positive("lr", 1e-300)
    check_positive("lr", None, or_none=True)
    check_not_negative("lr", None, or_none=True)
    with pytest.raises(ValueError, match="lr must be a finite number > 0, not"):
        check_positive("lr", value)


def test_devices_that_torch_cannot_use_are_refused():
    check_device("cpu")
    check_device(torch.device("meta"))
    with pytest.raises(ValueError, match="device abacus: Expected one of cpu"):
        check_device("abacus")
