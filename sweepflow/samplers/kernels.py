"""blackjax, imported late and safely."""

from __future__ import annotations

from types import ModuleType

import jax


def import_blackjax() -> ModuleType:
    """blackjax itself; call it where its kernels are used, not when a module is imported.

    blackjax computes log 2 on a device as it is imported. That starts JAX's backend, after which the
    settings of `sweepflow.engine.devices.configure` have no effect; and inside a function that is being
    traced, the constant would be a leaked tracer.
    """
    with jax.ensure_compile_time_eval():
        import blackjax
    module: ModuleType = blackjax
    return module
