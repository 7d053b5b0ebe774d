"""Compare the engine with the same arithmetic without it. Each set of flags runs in a process of its own:

python -m benchmarks.engine one-by-one | grouped | bare | engine
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.commands import surroundings

TRIALS = 24
STEPS = 1000
LONG = 6000
"""Default number of steps of a chain; the cost of a call in addition to its steps is spread over them."""
GROUP = (
    "model=small",
    f"sampler.seed=range(0,{TRIALS})",
    "sampler.bias_chains=0",
    "sampler.warmup=0",
    f"sampler.draws={STEPS // 10}",
)
PAIR = (*GROUP[:1], *GROUP[2:4], f"sampler.draws={LONG // 10}", "sampler.chains=2")
REPEATS = 5
AS_IT_COMES = "--xla_cpu_multi_thread_eigen=true --xla_force_host_platform_device_count=1"
ONE_DEVICE = "--xla_cpu_multi_thread_eigen=false --xla_force_host_platform_device_count=1"


def grouped_against_one_by_one(directory: Path) -> list[tuple[str, str]]:
    """Compare a group run by the engine with its trials run one by one.

    The trials run as a jit(vmap(chains)) compiled once, with JAX's default settings.
    """
    alone, together = _medians(directory, {"one-by-one": {"XLA_FLAGS": AS_IT_COMES}, "grouped": {}})
    return [
        ("SGLD chain-steps/s, 24 trials of 4 chains, one by one", f"{alone:,.0f}"),
        ("SGLD chain-steps/s, the same as one group", f"{together:,.0f}"),
        ("  ratio (wanted: at least 2 on 2 cores)", f"{together / alone:.2f}"),
    ]


def engine_against_bare_scan(directory: Path) -> list[tuple[str, str]]:
    """Compare two chains run by the engine with a bare lax.scan of the same arithmetic, on one device."""
    flags = {"XLA_FLAGS": ONE_DEVICE}
    bare, engine = _medians(directory, {"bare": flags, "engine": flags})
    return [
        ("SGLD chain-steps/s of a bare lax.scan, one device", f"{bare:,.0f}"),
        ("SGLD chain-steps/s through the engine, one device", f"{engine:,.0f}"),
        ("  ratio (wanted: at least 0.95)", f"{engine / bare:.2f}"),
    ]


def _medians(directory: Path, sides: dict[str, dict[str, str]]) -> list[float]:
    """Return the median rate of each side; the sides run in turn three times, each with its own flags."""
    turns = [[_measure(side, directory, flags) for side, flags in sides.items()] for _ in range(3)]
    return [statistics.median(rates) for rates in zip(*turns, strict=True)]


def _measure(side: str, directory: Path, flags: dict[str, str]) -> float:
    command = [sys.executable, "-m", "benchmarks.engine", side]
    environment = surroundings(directory / "engine", **flags)
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return float(json.loads(output.stdout.splitlines()[-1]))


def _prepared(overrides: list[str]) -> tuple[Any, Any]:
    """Return a store with the targets built, and the batch of estimates."""
    from sweepflow.engine.run import run_batch
    from sweepflow.estimates.prepare import prepare
    from sweepflow.targets.workload import TARGET

    prepared = prepare([f"store={tempfile.mkdtemp()}", *overrides])
    plan, store = prepared.plan, prepared.store
    for batch in plan.batches_of("target"):
        run_batch(TARGET, batch.trials, store, size=batch.size, datasets=batch.datasets)
    return store, plan.batches_of("llc")[0]


def _best(run: Any, chain_steps: int) -> float:
    """Return chain steps per second: the best of several repeats, since other loads only slow a run down."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return chain_steps / min(times)


def _through_engine(overrides: list[str], chain_steps: int) -> float:
    from sweepflow.engine.run import run_batch
    from sweepflow.estimates.workload import LLC

    store, batch = _prepared(overrides)
    run_batch(LLC, batch.trials, store, size=batch.size, datasets=batch.datasets)  # compiles
    rates = []
    for _ in range(REPEATS):
        records = run_batch(LLC, batch.trials, store, size=batch.size, datasets=batch.datasets)
        rates.append(chain_steps / sum(record.seconds["run"] for record in records))
    return max(rates)


def _one_by_one() -> float:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from sweepflow.estimates.workload import LLC
    from sweepflow.fingerprint import key_data

    store, batch = _prepared(list(GROUP))
    trials = batch.trials
    inputs = LLC.inputs(trials, batch.datasets, store)
    lane = LLC.lane(trials[0].config)
    shared = jax.tree.map(jnp.asarray, dict(inputs.shared))

    @jax.jit
    def trial(own: Any, traced: Any, key: Any) -> Any:
        chain = lambda number: lane(shared, own, traced, jax.random.wrap_key_data(key), number)  # noqa: E731
        return jax.vmap(chain)(jnp.arange(4, dtype=jnp.int32))

    def run() -> None:
        for index, one in enumerate(trials):
            own = {name: value[index] for name, value in inputs.own.items()}
            numbers = {name: np.float64(value) for name, value in one.traced.items()}
            jax.block_until_ready(trial(own, numbers, key_data(one.id, one.seed)))

    run()
    return _best(run, TRIALS * 4 * STEPS)


def _bare_scan() -> float:
    """Measure a plain implementation of SGLD: two chains, minibatches, L_n every tenth step."""
    import jax
    import jax.numpy as jnp

    from sweepflow import data
    from sweepflow.models import build_network

    store, batch = _prepared(list(PAIR))
    config = batch.trials[0].config
    dataset = data.load(config.target.data)
    network = build_network(config.target.model, dataset.shape)
    x, y = jnp.asarray(dataset.x, jnp.float32), jnp.asarray(dataset.y, jnp.float32)
    (target,) = store.records("tgt")
    w0 = jnp.asarray(store.arrays(target.id)["w0"], jnp.float32)
    nbeta, gamma, eps = (
        jnp.float32(v) for v in (config.sampler.nbeta, config.sampler.gamma, config.sampler.step_size)
    )

    def loss(w: Any, x: Any, y: Any) -> Any:
        rows = 0.5 * jnp.sum((network.apply(w, x) - y) ** 2, axis=-1)
        return jnp.mean(rows.astype(jnp.float64))

    def chain(key: Any) -> Any:
        def step(carry: Any, _: None) -> Any:
            w, count = carry
            rows_key, noise_key = jax.random.split(jax.random.fold_in(key, count))
            rows = jax.random.randint(rows_key, (256,), 0, len(x), dtype=jnp.int32)
            drift = nbeta * jax.grad(loss)(w, x[rows], y[rows]) + gamma * (w - w0)
            w = w - 0.5 * eps * drift + jnp.sqrt(eps) * jax.random.normal(noise_key, w.shape, jnp.float32)
            return (w, count + 1), None

        def block(carry: Any, _: None) -> Any:
            carry, _ = jax.lax.scan(step, carry, None, 10)
            return carry, loss(carry[0], x, y)

        return jax.lax.scan(block, (w0, jnp.int32(0)), None, LONG // 10)[1]

    chains = jax.jit(jax.vmap(chain))
    keys = jax.random.split(jax.random.key(0), 2)
    jax.block_until_ready(chains(keys))
    return _best(lambda: jax.block_until_ready(chains(keys)), 2 * LONG)


SIDES = {
    "one-by-one": _one_by_one,
    "grouped": lambda: _through_engine(list(GROUP), TRIALS * 4 * STEPS),
    "bare": _bare_scan,
    "engine": lambda: _through_engine(list(PAIR), 2 * LONG),
}

if __name__ == "__main__":
    print(json.dumps(SIDES[sys.argv[1]]()))
