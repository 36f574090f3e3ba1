"""The regression tables of the UCI repository with the train and test splits that papers on Gaussian processes use."""

import os
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["uci_split"]

_NAMES = ("boston", "concrete", "energy", "kin8nm", "naval", "power", "protein", "wine", "yacht")
Array = np.ndarray[Any, Any]


def uci_split(folder: str | os.PathLike[str], name: str, split: int) -> tuple[Array, Array, Array, Array]:
    """One split of a table from files on the disk; nothing is downloaded.

    Args:
        folder: holds a folder for each table with ``data.txt``, ``index_features.txt``, ``index_target.txt``,
            ``index_train_<split>.txt`` and ``index_test_<split>.txt``, as in the repository LaurenceA/bayesfunc.
        name: "boston", "concrete", "energy", "kin8nm", "naval", "power", "protein", "wine" or "yacht".
        split: 0 to 19; "protein" has 5.

    Returns:
        Training rows and targets, test rows and targets, as they are in the file.

    Raises:
        ValueError: an unknown name, of which there is no folder either.
        FileNotFoundError: a file is missing; the message names it.
    """
    place = Path(folder) / str(name)
    if name not in _NAMES and not place.is_dir():
        raise ValueError(f"name must be one of {', '.join(map(repr, _NAMES))}, or a folder in {folder}, not {name!r}.")
    parts = {}
    for part in ("data", "index_features", "index_target", f"index_train_{split}", f"index_test_{split}"):
        path = place / f"{part}.txt"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: folder must hold {name}/{part}.txt as the repository LaurenceA/bayesfunc has it."
            )
        parts[part] = np.loadtxt(path)
    table = parts["data"]
    features, target, train, test = (
        np.atleast_1d(parts[part]).astype(int)
        for part in ("index_features", "index_target", f"index_train_{split}", f"index_test_{split}")
    )
    X, y = table[:, features], table[:, target[0]]
    return X[train], y[train], X[test], y[test]
