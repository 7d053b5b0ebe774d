"""The arrays that a user's module gives its function: loaded once per configuration, identified by bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from sweepflow.engine.datasets import stack_inputs
from sweepflow.engine.workload import Inputs
from sweepflow.errors import ConfigError
from sweepflow.fingerprint import canonical_json
from sweepflow.schema.fields import Config, Role, dump, without
from sweepflow.workloads.function_figures import user_code


@dataclass(frozen=True)
class Loaded:
    """The arrays of a configuration, by name, and their digest."""

    arrays: dict[str, np.ndarray]
    digest: str


class FunctionInputs:
    """The module's `inputs`, called once for all configurations that differ only in traced numbers."""

    def __init__(self, module: ModuleType) -> None:
        self.module = module
        self.given: Callable[[Any], Any] | None = getattr(module, "inputs", None)
        self.forget()

    def forget(self) -> None:
        """Forget all arrays, so that `inputs` is called again."""
        self._known: dict[str, Loaded] = {}
        self._distinct: dict[str, Loaded] = {}

    def __call__(self, config: Config) -> Loaded:
        known, distinct = self._known, self._distinct
        text = canonical_json(dump(config, Role.TRACED)) if self.given else ""
        if text not in known:
            arrays: dict[str, np.ndarray] = {}
            if self.given is not None:
                with user_code("inputs", self.module):
                    arrays = _arrays(self.given(without(config, Role.TRACED)), self.module)
            loaded = Loaded(arrays, _digest(arrays))
            # Seeds that only the key depends on give equal arrays: kept once.
            known[text] = distinct.setdefault(loaded.digest, loaded)
        return known[text]

    def stacked(self, configs: Sequence[Config], count: int) -> Inputs:
        """Return the arrays of a batch; equal arrays are held once.

        Args:
            configs: Configurations of the batch's trials.
            count: Number of rows of the stack; see `stack_inputs`.
        """
        each = [self(config) for config in configs]
        return stack_inputs([loaded.arrays for loaded in each], [loaded.digest for loaded in each], count)


def _arrays(found: Any, module: ModuleType) -> dict[str, np.ndarray]:
    if not isinstance(found, Mapping):
        raise ConfigError(
            f"inputs() of {module.__name__} returns no arrays by name",
            got=type(found).__name__,
            allowed="a dict of NumPy arrays",
        )
    arrays = {str(key): np.asarray(value) for key, value in found.items()}
    for key, array in arrays.items():
        if array.dtype.kind in "OUSMm":  # objects, texts, dates
            raise ConfigError(
                f"inputs() of {module.__name__} returns an array of what is no number",
                got=f"{key} of dtype {array.dtype}",
                allowed="truth values, whole numbers, fractions, complex numbers",
                do="number the values, as np.unique(values, return_inverse=True) does",
            )
    return arrays


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    text = hashlib.sha256()
    for key in sorted(arrays):
        value = arrays[key]
        text.update(f"{key} {value.shape} {value.dtype}".encode())
        text.update(np.ascontiguousarray(value).tobytes())
    return text.hexdigest()
