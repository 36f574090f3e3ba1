"""What makes a kernel matrix cheaper than its entries: grids, products over columns, few features."""

from mercer.operators.structure.grids import Grid, Lattice, find_grid, find_lattice, gather, spread
from mercer.operators.structure.kronecker_solution import KroneckerSolution
from mercer.operators.structure.low_rank import (
    has_equal_sides,
    low_rank_features,
    low_rank_numbers,
    low_rank_root,
    low_rank_terms,
    low_rank_width,
)
from mercer.operators.structure.low_rank_solution import LowRankSolution
from mercer.operators.structure.separable import axis_spec, used_columns

__all__ = [
    "Grid",
    "KroneckerSolution",
    "Lattice",
    "LowRankSolution",
    "axis_spec",
    "find_grid",
    "find_lattice",
    "gather",
    "has_equal_sides",
    "low_rank_features",
    "low_rank_numbers",
    "low_rank_root",
    "low_rank_terms",
    "low_rank_width",
    "spread",
    "used_columns",
]
