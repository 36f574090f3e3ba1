"""Which kernels are tried on a table, what a kernel given by the user means there, and which one is taken."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mercer.errors import TableError
from mercer.kernels import RBF, Kernel, Linear, Matern, Parameter, Polynomial, White, parse
from mercer.kernels.algebra import On, Sum
from mercer.tables.models import LearntKernel, learn_kernel, make_estimator
from mercer.tables.transforms import Feature

__all__ = ["Candidate", "candidate_kernels", "kernel_from_text", "kernels_to_try", "screen"]

SCREENING_ROWS = (1000, 700, 500, 300)
_TRIAL_ROWS = 4000  # on which the learnt kernels are compared: at 1000 rows nearly all of them look alike
_VALIDATION_ROWS = 5000
_SCREENING_STEPS = 25
_LENGTHSCALE_BOUNDS = (0.02, 1e3)
_SCALE_BOUNDS = (1e-4, 1e4)
_NOISE = 0.1
_NOISE_BOUNDS = (1e-5, 10.0)


@dataclass(frozen=True)
class Candidate:
    """A kernel that was tried.

    Attributes:
        name: for people, such as ``"Matern 5/2 + linear"``.
        learnt: with hyperparameters learnt on the screening rows.
        loss: mean squared error on the validation rows, in the model's units (variance 1), of a fit to more rows.
    """

    name: str
    learnt: LearntKernel
    loss: float


def candidate_kernels(features: Sequence[Feature]) -> dict[str, Kernel]:
    """A stationary kernel with one lengthscale a feature on the smooth features, plus a linear one on all of them."""
    smooth = [place for place, feature in enumerate(features) if feature.role == "smooth"]
    n_ties = len({features[place].tie for place in smooth})
    # The distance of two rows grows like the root of the number of columns; so that they are neither equal nor strange.
    lengthscale = Parameter([float(np.sqrt(n_ties))] * len(smooth), bounds=_LENGTHSCALE_BOUNDS)
    stationary: dict[str, Kernel] = {
        "Matern 5/2": Matern(lengthscale, nu=2.5),
        "Matern 3/2": Matern(lengthscale, nu=1.5),
        "Matern 1/2": Matern(lengthscale, nu=0.5),
        "Gaussian": RBF(lengthscale),
    }
    linear = Parameter(0.1, bounds=_SCALE_BOUNDS) * Linear(Parameter(1.0, frozen=True), Parameter(0.0, frozen=True))
    kernels = {}
    for name, kernel in stationary.items():
        part = kernel if len(smooth) == len(features) else kernel.on(smooth)
        kernels[f"{name} + linear"] = Parameter(1.0, bounds=_SCALE_BOUNDS) * part + linear
    return kernels


def kernels_to_try(text: str | None, features: Sequence[Feature]) -> tuple[dict[str, Kernel], Any]:
    """The one that the user gave, with its noise, or the candidates, for which the noise is learnt from the start."""
    if text is None:
        return candidate_kernels(features), None
    kernel, noise = kernel_from_text(text, features)
    return {"the kernel given": kernel}, noise


def kernel_from_text(text: str, features: Sequence[Feature]) -> tuple[Kernel, Any]:
    """The kernel that a user gave, on the features of the columns that it names, and its noise to start from.

    A stationary kernel gets a lengthscale for each feature, to begin at the one given; ``Parameter(1.0, frozen=True)``
    keeps one for all.

    Raises:
        TableError: the text is no kernel, or names a column that is not in use.
    """
    try:
        kernel = parse(text)
    except (ValueError, TypeError) as error:
        raise TableError(f"--kernel: {error}") from None
    terms = _terms(kernel)
    noises = [term.noise for term in terms if isinstance(term, White)]
    rest = [term for term in terms if not isinstance(term, White)]
    if not rest:
        raise TableError(f"--kernel: {text} is noise only; add a kernel that sees the columns, such as RBF().")
    whole = rest[0]
    for term in rest[1:]:
        whole = whole + term
    return _on_features(whole, features, list(range(len(features)))), noises[0] if noises else Parameter(
        _NOISE, bounds=_NOISE_BOUNDS
    )


def screen(
    kernels: dict[str, Kernel],
    X: np.ndarray,
    Y: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    *,
    noise: Any = None,
    features: Sequence[Feature],
    n_rows: int,
    seconds: float,
    random_state: int,
) -> list[Candidate]:
    """Learn each kernel on some rows, fit it to up to 4000, and see how far off it is; the best one first.

    Args:
        kernels: by name.
        X: ``(n, d)`` and Y: ``(n, t)``, the training part.
        validation: the same of the validation part.
        noise: variance to start from.
        features: the meaning of the columns of X.
        n_rows: to learn on.
        seconds: for all of them; when they are over, the kernels that are left are not tried.
        random_state: of the rows.
    """
    start = Parameter(_NOISE, bounds=_NOISE_BOUNDS) if noise is None else noise
    generator = np.random.default_rng(random_state)
    order = generator.permutation(len(X))
    rows, trial_rows = order[:n_rows], order[:_TRIAL_ROWS]
    validation_rows = generator.permutation(len(validation[0]))[:_VALIDATION_ROWS]
    X_validation, Y_validation = validation[0][validation_rows], validation[1][validation_rows]
    candidates: list[Candidate] = []
    begun = time.perf_counter()
    for place, (name, kernel) in enumerate(kernels.items(), start=1):
        used = time.perf_counter() - begun
        if candidates and used * place / (place - 1) > seconds + 1.0:
            break
        learnt = learn_kernel(
            kernel,
            X[rows],
            Y[rows],
            noise=start,
            features=features,
            max_iter=_SCREENING_STEPS,
            seconds=(seconds - used) / (len(kernels) - place + 1),
            random_state=random_state,
        )
        trial = make_estimator(learnt, n_centers=None, classes=False, random_state=random_state)
        trial.fit(X[trial_rows], Y[trial_rows])
        prediction = np.asarray(trial.predict(X_validation)).reshape(Y_validation.shape)
        candidates.append(Candidate(name, learnt, float(((Y_validation - prediction) ** 2).mean())))
    return sorted(candidates, key=lambda candidate: candidate.loss)


def _terms(kernel: Kernel) -> list[Kernel]:
    """The summands of a sum of sums."""
    return _terms(kernel.left) + _terms(kernel.right) if isinstance(kernel, Sum) else [kernel]


def _on_features(kernel: Kernel, features: Sequence[Feature], columns: list[int]) -> Kernel:
    """The same kernel on the features of the columns it names, with one lengthscale a feature where it had one for all.

    Args:
        kernel: as given; ``.on`` names columns of the table.
        features: the meaning of the columns of X.
        columns: positions that this part of the kernel sees.
    """
    arguments = dict(kernel.get_params(deep=False))
    seen = columns
    if isinstance(kernel, On):
        chosen = kernel.columns if isinstance(kernel.columns, list | tuple) else [kernel.columns]
        sources = list(dict.fromkeys(feature.source for feature in features))
        for column in chosen:
            if column not in sources:
                raise TableError(f"--kernel: .on({column!r}) names no column in use. They are: {', '.join(sources)}.")
        seen = [place for place, feature in enumerate(features) if feature.source in chosen]
        arguments["columns"] = seen
    for name, value in arguments.items():
        if isinstance(value, Kernel):
            arguments[name] = _on_features(value, features, seen)
    if "lengthscale" in arguments and not isinstance(kernel, Linear | Polynomial):
        arguments["lengthscale"] = _one_a_feature(arguments["lengthscale"], [features[place] for place in columns])
    return type(kernel)(**arguments)


def _one_a_feature(value: Any, features: Sequence[Feature]) -> Any:
    """A lengthscale for each feature, where one number was given that may be learnt.

    Two rows differ in all columns at once, so the number is taken as meant for a typical distance of rows.
    """
    parameter = value if isinstance(value, Parameter) else Parameter(value, bounds=_LENGTHSCALE_BOUNDS)
    if parameter.frozen or not isinstance(parameter.value, int | float):
        return value
    start = float(parameter.value) * float(np.sqrt(len({feature.tie for feature in features})))
    return replace(parameter, value=[start] * len(features))
