"""What this machine does: workers, sizes of tiles, and the rates behind every prediction."""

from mercer.operators.machine.calibration import calibrate, calibration_path, load
from mercer.operators.machine.rates import Rates, exp2_is_faster, rates
from mercer.operators.machine.tile_shape import tile_shape

__all__ = [
    "Rates",
    "calibrate",
    "calibration_path",
    "exp2_is_faster",
    "load",
    "rates",
    "tile_shape",
]
