"""Requirements of blackjax's kernels on their callers: a late import, and positions in float64."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

import jax
import jax.numpy as jnp

from sweepflow.samplers.posterior import LocalPosterior


def import_blackjax() -> ModuleType:
    """Import and return blackjax; call this where its kernels are used, not when a module is imported.

    blackjax computes log 2 on a device while it is imported. This starts JAX's backend, after which the
    settings of `sweepflow.engine.devices.configure` have no effect; and inside a function that is being
    traced, the constant would be a leaked tracer.
    """
    with jax.ensure_compile_time_eval():
        import blackjax
    module: ModuleType = blackjax
    return module


def in_float64(posterior: LocalPosterior) -> LocalPosterior:
    """Return the same posterior with float64 positions; the network keeps its dtype.

    blackjax draws its momenta in float64 wherever 64-bit numbers are enabled, so its states cannot be
    narrower. In float32 only the network is evaluated, which takes most of the time.
    """
    return replace(
        posterior,
        center=posterior.center.astype(jnp.float64),
        nbeta=posterior.nbeta.astype(jnp.float64),
        gamma=posterior.gamma.astype(jnp.float64),
    )
