"""Systems of equations with a symmetric positive definite matrix that need not be stored."""

from mercer.operators.solvers.cg import block_cg, rounding_ratio
from mercer.operators.solvers.cholesky import CholeskyFactor, NotPositiveDefinite, cholesky, cholesky_bytes
from mercer.operators.solvers.direct_solution import DirectSolution
from mercer.operators.solvers.double import in_double
from mercer.operators.solvers.exact import dense_inv_quad_logdet
from mercer.operators.solvers.iterative import build_preconditioner
from mercer.operators.solvers.lanczos import LanczosSolve, lanczos_solve, quadrature
from mercer.operators.solvers.nystrom import Nystrom, nystrom
from mercer.operators.solvers.pivots import PivotedCholesky, pivoted_cholesky
from mercer.operators.solvers.precondition import Preconditioner
from mercer.operators.solvers.solve import Solution, solve
from mercer.operators.solvers.structured import structure_of
from mercer.operators.solvers.system import Matrix, System, check_noise
from mercer.operators.solvers.weight_space import (
    DenseFeatures,
    Features,
    JoinedFeatures,
    WeightFactor,
    WeightSpace,
    WeightSystem,
    joined_gram,
    split_noise,
    weight_inv_quad_logdet,
)

__all__ = [
    "CholeskyFactor",
    "DenseFeatures",
    "DirectSolution",
    "Features",
    "JoinedFeatures",
    "LanczosSolve",
    "Matrix",
    "NotPositiveDefinite",
    "Nystrom",
    "PivotedCholesky",
    "Preconditioner",
    "Solution",
    "System",
    "WeightFactor",
    "WeightSpace",
    "WeightSystem",
    "block_cg",
    "build_preconditioner",
    "check_noise",
    "cholesky",
    "cholesky_bytes",
    "dense_inv_quad_logdet",
    "in_double",
    "joined_gram",
    "lanczos_solve",
    "nystrom",
    "pivoted_cholesky",
    "quadrature",
    "rounding_ratio",
    "solve",
    "split_noise",
    "structure_of",
    "weight_inv_quad_logdet",
]
