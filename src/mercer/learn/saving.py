"""Save and load for every estimator: one safetensors file whose metadata says in JSON what the rest is."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from mercer import store
from mercer.errors import FileFormatError
from mercer.kernels import InfiniteNetwork, Kernel, NetworkKernel, parse, to_text

__all__ = ["Saved"]

VERSION = 1


class Saved:
    """Gives an estimator :meth:`save` and :meth:`load`. Arguments and fitted attributes are what is saved."""

    _not_saved: tuple[str, ...] = ()  # attributes that are computed again when they are needed

    def _restore(self) -> None:
        """Set what was not saved and is not computed on demand."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator to one safetensors file, whole or not at all.

        Raises:
            TypeError, ValueError: an argument that has no safe form, such as a Python function or a foreign estimator.
        """
        tensors: dict[str, Tensor] = {}
        state = encode_estimator(self, tensors, "")
        store.save_state(path, tensors=tensors, meta={"kind": type(self).__name__, "version": VERSION, "state": state})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The estimator that :meth:`save` wrote. Reading runs no code from the file.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: it is damaged, holds another estimator, or was written by a newer mercer.
        """
        tensors, meta = store.load_state(path, kind=cls.__name__, version=VERSION)
        loaded = decode(meta["state"], tensors)
        if not isinstance(loaded, cls):
            raise FileFormatError(f"{path} holds a {type(loaded).__name__}, not a {cls.__name__}.")
        return loaded


def encode_estimator(estimator: Any, tensors: dict[str, Tensor], name: str) -> dict[str, Any]:
    """Arguments and other attributes of an estimator; arrays go into ``tensors`` under ``name.attribute``."""
    left_out = set(estimator._not_saved)
    values = {k: v for k, v in vars(estimator).items() if k not in left_out}
    return {
        "estimator": type(estimator).__name__,
        "values": {k: encode(v, tensors, f"{name}{k}") for k, v in values.items()},
    }


def encode(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """A value as JSON; what is an array goes into ``tensors`` under ``name``."""
    if isinstance(value, Saved):
        return encode_estimator(value, tensors, f"{name}.")
    if isinstance(value, Kernel):
        return {"kernel": to_text(value)}
    if isinstance(value, InfiniteNetwork):
        return {"network": to_text(value.ntk)}
    if isinstance(value, Tensor):
        tensors[name] = value
        return {"tensor": name}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        tensors[name] = torch.from_numpy(np.ascontiguousarray(value))
        return {"array": name}
    if isinstance(value, np.ndarray):
        return {
            "list": [encode(v, tensors, f"{name}.{i}") for i, v in enumerate(value.tolist())],
            "dtype": value.dtype.str,
        }
    if bool(sparse.issparse(value)):
        parts = {
            part: encode(getattr(value, part), tensors, f"{name}.{part}") for part in ("data", "indices", "indptr")
        }
        return {"csr": parts, "shape": list(value.shape), "is_matrix": sparse.isspmatrix(value)}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        items = [encode(v, tensors, f"{name}.{i}") for i, v in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping) and all(isinstance(k, str) for k in value):
        return {"dict": {k: encode(v, tensors, f"{name}.{k}") for k, v in value.items()}}
    if isinstance(value, torch.Generator | np.random.Generator | np.random.RandomState):
        return None  # a generator's state is no part of a model
    if type(value).__module__ == "sklearn.gaussian_process.kernels":
        params = {k: encode(v, tensors, f"{name}.{k}") for k, v in value.get_params(deep=False).items()}
        return {"sklearn kernel": type(value).__name__, "params": params}
    raise TypeError(
        f"{name} cannot be saved: {type(value).__name__} has no safe form in a file. Use a kernel of mercer or "
        f"scikit-learn, numbers, text or arrays."
    )


def decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The inverse of :func:`encode`."""
    if isinstance(value, list):
        return [decode(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    match value:
        case {"estimator": kind, "values": values}:
            from mercer import learn
            from mercer.learn import ensemble, pde

            module = next((wing for wing in (pde, ensemble) if kind in wing.__all__), learn)
            made = object.__new__(_known_class(module, kind, Saved, "estimator"))
            vars(made).update({k: decode(v, tensors) for k, v in values.items()})
            made._restore()
            return made
        case {"kernel": text}:
            return parse(text)
        case {"network": text}:
            kernel = parse(text)
            if not isinstance(kernel, NetworkKernel):
                raise FileFormatError(f"the file names {text!r}, which is no network.")
            sigma_w, sigma_b = kernel.sigma_w, kernel.sigma_b
            return InfiniteNetwork(*kernel.layers, sigma_w=sigma_w, sigma_b=sigma_b, shape=kernel.shape)
        case {"tensor": name}:
            return tensors[name]
        case {"array": name}:
            return tensors[name].numpy()
        case {"list": items, "dtype": dtype}:
            return np.array(decode(items, tensors), dtype=np.dtype(dtype))
        case {"csr": parts, "shape": shape, "is_matrix": is_matrix}:
            made = sparse.csr_matrix if is_matrix else sparse.csr_array
            return made(tuple(decode(parts[k], tensors) for k in ("data", "indices", "indptr")), shape=tuple(shape))
        case {"float": text}:
            return float(text)
        case {"tuple": items}:
            return tuple(decode(items, tensors))
        case {"dict": items}:
            return {k: decode(v, tensors) for k, v in items.items()}
        case {"sklearn kernel": kind, "params": params}:
            from sklearn.gaussian_process import kernels

            known = _known_class(kernels, kind, kernels.Kernel, "kernel")
            return known(**{k: decode(v, tensors) for k, v in params.items()})
    raise FileFormatError(f"the file has a value of an unknown kind: {sorted(value)}.")


def _known_class(module: Any, name: str, base: type, what: str) -> Any:
    """A class by its name in a file: only of one kind, from one list."""
    found = getattr(module, name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise FileFormatError(f"the file names {name!r}, which is no {what} of {module.__name__}.")
    return found
