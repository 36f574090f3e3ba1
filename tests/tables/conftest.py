"""Small tables, and fits of them that several tests look at; every fit is made once."""

import numpy as np
import pandas as pd
import pytest

from mercer.tables import FitOptions, fit_table

N = 240


def make_houses(n=N):
    """Prices with a log scale, all kinds of columns, missing values, and a curve that a plane misses."""
    generator = np.random.default_rng(7)
    area = generator.lognormal(4.5, 0.5, n)
    quality = generator.choice(["low", "middle", "high"], n)
    height = generator.uniform(-3.0, 3.0, n)
    log_price = 5.0 + 0.8 * np.log(area) + 0.5 * np.sin(2.0 * height)
    log_price = log_price + pd.Series(quality).map({"low": -0.3, "middle": 0.0, "high": 0.4}).to_numpy()
    frame = pd.DataFrame(
        {
            "area": area,
            "quality": quality,
            "height": height,
            "sold": pd.date_range("2020-01-01", periods=n, freq="31h").astype(str),
            "town": generator.choice(["A", "B"], n),
            "rooms": generator.integers(1, 6, n).astype(float),
            "id": [f"house {i}" for i in range(n)],
            "price": np.exp(log_price + 0.05 * generator.normal(size=n)),
        }
    )
    frame.loc[::17, "rooms"] = np.nan
    frame.loc[3, "town"] = None
    return frame


def make_flowers(n=N):
    """Three classes in two columns; one lies around the others, so that no line divides them."""
    generator = np.random.default_rng(7)
    kind = generator.integers(0, 3, n)
    angle = generator.uniform(0.0, 2.0 * np.pi, n)
    centres = np.stack([3.0 * np.cos(angle), 3.0 * np.sin(angle)], axis=1)
    centres[kind == 1], centres[kind == 2] = [-0.8, 0.0], [0.8, 0.0]
    points = centres + 0.4 * generator.normal(size=(n, 2))
    return pd.DataFrame(
        {"length": points[:, 0], "width": points[:, 1], "kind": np.array(["iris", "rose", "lily"])[kind]}
    )


@pytest.fixture(scope="session")
def houses():
    return make_houses()


@pytest.fixture(scope="session")
def flowers():
    return make_flowers()


@pytest.fixture(scope="session")
def house_fit(houses):
    options = FitOptions(
        target="price",
        kernel="Matern(nu=2.5) + 0.1 * Linear()",
        ordered={"quality": ("low", "middle", "high")},
        time_budget=60.0,
    )
    return fit_table(houses, options, name="houses.csv")


@pytest.fixture(scope="session")
def flower_fit(flowers):
    return fit_table(flowers, FitOptions(target="kind", kernel="RBF()", time_budget=60.0), name="flowers.csv")


@pytest.fixture(scope="session")
def line_fit():
    """A plane with noise: the linear model is right, and nothing can be better."""
    generator = np.random.default_rng(3)
    frame = pd.DataFrame(generator.normal(size=(120, 4)), columns=list("abcd"))
    frame["y"] = frame @ [1.0, 2.0, -1.0, 0.5] + 0.5 * generator.normal(size=120)
    return fit_table(
        frame, FitOptions(target="y", kernel="RBF(Parameter(0.1, frozen=True))", time_budget=60.0, learn_rows=10)
    )
