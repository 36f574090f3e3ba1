import pytest
from torch import nn

from mercer.nn.models import create_model, list_models, register_model
from mercer.nn.models.registry import _BUILDERS


@pytest.fixture
def two_models(monkeypatch):
    monkeypatch.setattr("mercer.nn.models.registry._BUILDERS", dict(_BUILDERS))
    register_model("pair_small", lambda width=2: nn.Linear(width, 1))
    register_model("pair_large", lambda width=8: nn.Linear(width, 1))


@pytest.mark.usefixtures("two_models")
def test_a_model_is_built_by_its_name_and_arguments():
    assert create_model("pair_large").in_features == 8
    assert create_model("pair_small", width=3).in_features == 3


@pytest.mark.usefixtures("two_models")
def test_names_are_listed_by_pattern_in_order():
    assert list_models("pair_*") == ["pair_large", "pair_small"]
    assert set(list_models()) >= {"pair_large", "pair_small"}


@pytest.mark.usefixtures("two_models")
def test_an_unknown_name_shows_those_that_come_near():
    with pytest.raises(ValueError, match="pair_large, pair_small"):
        create_model("pair_tiny")


@pytest.mark.usefixtures("two_models")
def test_a_name_belongs_to_one_builder():
    with pytest.raises(ValueError, match="already called 'pair_small'"):
        register_model("pair_small", nn.Linear)
