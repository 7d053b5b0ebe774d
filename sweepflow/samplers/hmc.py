"""Hamiltonian Monte Carlo and NUTS with Stan's window adaptation, on blackjax's kernels.

Warm-up tunes the step size (dual averaging to `target_acceptance`) and a diagonal mass matrix. After
it, HMC's step size is drawn anew for every trajectory, uniformly within 20 % of the tuned one: in a
nearly quadratic basin all directions have one frequency once the mass matrix is right, and a
trajectory of fixed length would come back to where it began (Neal 2011, section 3.2).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from sweepflow.samplers.kernels import import_blackjax, in_float64
from sweepflow.samplers.posterior import Chain, LocalPosterior
from sweepflow.schema.sampler import HmcSampler, NutsSampler

STEP_SIZE_JITTER = 0.2


@jax.numpy_dtype_promotion("standard")  # blackjax's own code relies on implicit promotion
def sample(
    config: HmcSampler | NutsSampler,
    traced: dict[str, Float[Array, ""]],
    posterior: LocalPosterior,
    key: PRNGKeyArray,
    lane: Int[Array, ""],
) -> Chain:
    """Adapt, then draw one chain; each chain adapts by itself."""
    del lane
    blackjax, posterior = import_blackjax(), in_float64(posterior)
    algorithm: Any
    if isinstance(config, HmcSampler):
        algorithm, extra = blackjax.hmc, {"num_integration_steps": config.num_integration_steps}
        jitter = STEP_SIZE_JITTER
    else:
        algorithm, extra = blackjax.nuts, {"max_num_doublings": config.max_num_doublings}
        jitter = 0.0  # a NUTS trajectory has no fixed length
    warmup_key, draw_key = jax.random.split(key)

    def observe(state: Any, info: Any) -> tuple[Float[Array, ""], Int[Array, ""]]:
        return posterior.loss_from_logdensity(state.position, state.logdensity), jnp.asarray(
            info.num_integration_steps, jnp.int64
        )

    if config.warmup:
        adaptation = blackjax.window_adaptation(
            algorithm,
            posterior.logdensity,
            initial_step_size=traced["initial_step_size"],
            target_acceptance_rate=traced["target_acceptance"],
            # Keep two numbers a warm-up step instead of every position.
            adaptation_info_fn=lambda state, info, _: observe(state, info),
            **extra,
        )
        (state, parameters), (warmup_loss, warmup_steps) = adaptation.run(
            warmup_key, posterior.center, config.warmup
        )
        step_size, inverse_mass_matrix = parameters["step_size"], parameters["inverse_mass_matrix"]
    else:
        state = algorithm.init(posterior.center, posterior.logdensity)
        warmup_loss, warmup_steps = jnp.zeros(0, jnp.float64), jnp.zeros(0, jnp.int64)
        step_size, inverse_mass_matrix = traced["initial_step_size"], jnp.ones_like(posterior.center)
    kernel = partial(
        algorithm.build_kernel(),
        logdensity_fn=posterior.logdensity,
        inverse_mass_matrix=inverse_mass_matrix,
        **extra,
    )

    def step(state: Any, number: Int[Array, ""]) -> tuple[Any, Any]:
        step_key, jitter_key = jax.random.split(jax.random.fold_in(draw_key, number))
        factor = 1 + jitter * jax.random.uniform(jitter_key, (), jnp.float64, -1, 1)
        state, info = kernel(step_key, state, step_size=step_size * factor)
        loss, steps = observe(state, info)
        return state, (loss, steps, info.acceptance_rate, info.is_divergent)

    _, (loss, steps, acceptance, divergent) = jax.lax.scan(
        step, state, jnp.arange(config.draws * config.thinning)
    )
    kept = slice(config.thinning - 1, None, config.thinning)
    return Chain(
        loss=jnp.concatenate([warmup_loss, loss[kept]]),
        full_gradients=jnp.concatenate(
            [
                jnp.cumsum(warmup_steps),
                (jnp.sum(warmup_steps) + jnp.cumsum(steps))[kept],
            ]
        ).astype(jnp.float64),
        acceptance=jnp.mean(acceptance.astype(jnp.float64)),
        divergences=jnp.sum(divergent.astype(jnp.int32)),
        step_size=step_size,
    )
