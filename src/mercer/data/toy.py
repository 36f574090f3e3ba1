"""Small data sets that papers show their ideas on."""

from typing import TYPE_CHECKING

from mercer.data.bunch import Bunch
from mercer.errors import MissingExtra

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["toy_sine"]

# From the official notebook of Borup & Andersen (2021), who took them from Mobahi et al. (2020).
_SINE = (
    0.38476636465198066,
    1.2333967683416893,
    1.33232242218057,
    0.6920159488889518,
    -0.29756145531871736,
    -0.24189291901377769,
    -0.7964485769175675,
    -0.9616480167034174,
    -0.49672509509916934,
    -0.3469066003991437,
    0.5589512650600734,
)


def toy_sine() -> Bunch:
    """Eleven noisy values of sin(2 pi x) at x = 0, 0.1, ..., 1, on which papers on self-distillation show their rounds.

    Raises:
        MissingExtra: pandas is not installed.

    >>> toy_sine().frame.shape
    (11, 2)
    """
    return Bunch(
        frame=_frame({"x": [i / 10 for i in range(11)], "y": list(_SINE)}),
        target="y",
        source=(
            "toy_example.ipynb of github.com/Kennethborup/self_distillation (arXiv 2102.13088), after Mobahi, "
            "Farajtabar & Bartlett (arXiv 2002.05715)"
        ),
        licence="eleven numbers, quoted from the paper's code",
        description="One row a point: x in 0, 0.1, ..., 1 and y = sin(2 pi x) plus noise of standard deviation 0.46.",
    )


def _frame(columns: dict[str, list[float]]) -> "pd.DataFrame":
    try:
        import pandas
    except ImportError:
        raise MissingExtra("The toy data are tables and need pandas: pip install 'mercer[tables]'") from None
    return pandas.DataFrame(columns)
