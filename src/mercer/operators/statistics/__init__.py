"""Statistics of pairs of embedded points: what a kernel's map is applied to."""

from mercer.operators.statistics.angle import LARGEST_COSINE, Angle
from mercer.operators.statistics.difference import Difference
from mercer.operators.statistics.embed import Codes, Columns, Embed, OneHot
from mercer.operators.statistics.min_sum import MinSum
from mercer.operators.statistics.power_distance import PowerDistance
from mercer.operators.statistics.statistic import DotProduct, L1Distance, Mismatch, Panels, SquaredDistance, Statistic
from mercer.operators.statistics.tile_statistic import TileFunction, TileStatistic

__all__ = [
    "LARGEST_COSINE",
    "Angle",
    "Codes",
    "Columns",
    "Difference",
    "DotProduct",
    "Embed",
    "L1Distance",
    "MinSum",
    "Mismatch",
    "OneHot",
    "Panels",
    "PowerDistance",
    "SquaredDistance",
    "Statistic",
    "TileFunction",
    "TileStatistic",
]
