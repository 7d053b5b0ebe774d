"""Realistic records: chains that relax to an Ornstein-Uhlenbeck process around λ̂, as samplers record them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sweepflow.storage.record import Record

N = 1437
PROVENANCE = {
    "versions": {"sweepflow": "0.1.0", "jax": "0.10.2", "blackjax": "1.3"},
    "host": "box-7",
    "device": "cpu",
}
STEPS_A_POINT = {"sgld": 10 * 256 / N, "hmc": 10.0, "nuts": 23.0, "mclmc": 8.0}
"""Full-gradient equivalents between two points of a trace."""


def digits16(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def make_target(
    target_params: int = 1000, seed: int = 1, *, status: str = "ok", reasons: Sequence[str] = (), **data: Any
) -> Record:
    config = {
        "model": {
            "kind": "mlp",
            "widths": None,
            "target_params": target_params,
            "depth": 2 if target_params < 5000 else 3,
        },
        "data": {"kind": "bundled", "name": "digits", "test_fraction": 0.2, "seed": 0, **data},
        "target": {
            "start": "random",
            "optimizer": "adam",
            "steps": 5000,
            "learning_rate": 0.01,
            "seed": seed,
        },
    }
    figures = {
        "n": N,
        "n_test": 360,
        "num_params": target_params - 14,
        "loss_train": 0.0021 * (1 + 0.1 * seed),
        "loss_test": 0.113,
        "accuracy_train": 1.0,
        "accuracy_test": 0.969,
        "grad_norm": 4.2e-5,
        "steps": 5000,
        "converged": status == "ok",
        "task": "classification",
    }
    return Record(
        id=f"tgt_{digits16(target_params, seed, data)}",
        workload="target",
        version=1,
        status=status,  # type: ignore[arg-type]
        reasons=tuple(reasons),
        config=config,
        figures=figures,
        seconds={"compile": 1.2, "run": 3.4},
        provenance=PROVENANCE,
    )


def make_estimate(
    target: Record,
    kind: str = "hmc",
    *,
    truth: float = 12.0,
    status: str = "ok",
    reasons: Sequence[str] = (),
    chains: int = 4,
    diverge_at: int | None = None,
    drift: float = 0.0,
    points: int = 200,
    **sampler: Any,
) -> Record:
    """An estimate whose chains are OU processes with mean L₀ + truth/nβ.

    Args:
        diverge_at: From this point on all chains run away, and soon leave the finite numbers.
        drift: What the truth gains along the trace, as a share of itself.
        points: Of each trace, the first third warm-up.
    """
    sampler = {"kind": kind, "gamma": 1.0, "chains": chains, "draws": 500, "seed": 0, **sampler}
    if kind == "sgld":
        sampler = {"preconditioner": "none", "step_size": 1e-5} | sampler
    ident = f"est_{digits16(target.id, sorted(sampler.items(), key=str))}"
    random = np.random.default_rng(int(ident[4:12], 16))
    nbeta, base, warmup = N / math.log(N), float(target.figures["loss_train"]), points // 3
    level = (truth / nbeta) * (1 + drift * np.arange(points) / points)
    level = level * (1 - np.exp(-np.arange(points) / (0.06 * points)))
    noise, noises = np.zeros(chains), np.empty((chains, points))
    for t in range(points):
        noise = 0.8 * noise + 0.6 * random.normal(size=chains)
        noises[:, t] = noise
    loss = base + level * np.exp(0.25 * noises - 0.03)
    if diverge_at is not None:
        growth = np.exp(0.6 * np.arange(points - diverge_at))
        loss[:, diverge_at:] *= np.where(growth < 1e7, growth, np.nan)
    kept = loss[:, warmup:]
    running = np.full(loss.shape, np.nan)
    running[:, warmup:] = nbeta * (np.cumsum(kept, axis=1) / np.arange(1, kept.shape[1] + 1) - base)
    per_chain = [float(v) if np.isfinite(v) else None for v in nbeta * (kept.mean(axis=1) - base)]
    finite = [v for v in per_chain if v is not None]
    llc = float(np.mean(finite)) if finite and status != "failed" else None
    error = None if llc is None else float(np.std(finite) / math.sqrt(len(finite)) + 0.01 * abs(llc))
    cost = np.arange(1, points + 1) * STEPS_A_POINT[kind]
    figures = {
        "target_id": target.id,
        "n": N,
        "num_params": target.figures["num_params"],
        "nbeta": nbeta,
        "gamma": sampler["gamma"],
        "L0": base,
        "llc": llc,
        "llc_mcse": error,
        "llc_low": None if llc is None or error is None else llc - 1.96 * error,
        "llc_high": None if llc is None or error is None else llc + 1.96 * error,
        "llc_chains": per_chain,
        "llc_bias": 0.31 if kind == "sgld" and llc is not None else None,
        "llc_bias_se": 0.22 if kind == "sgld" and llc is not None else None,
        "ess_mean": None if llc is None else 412.7,
        "r_hat": None if llc is None else (1.41 if status == "flagged" else 1.01),
        "acceptance": None if kind == "sgld" else 0.83,
        "mala_acceptance": 0.9 if kind == "sgld" and llc is not None else None,
        "divergences": 0,
        "frozen_chains": 0,
        "nan_fraction": float(np.isnan(loss).mean()),
        "step_size": sampler.get("step_size", 0.021),
        "full_gradients": float(cost[-1] * chains),
        "trace_warmup": warmup,
    }
    return Record(
        id=ident,
        workload="llc",
        version=1,
        status=status,  # type: ignore[arg-type]
        reasons=tuple(reasons),
        config={"target": dict(target.config), "sampler": sampler},
        figures=figures,
        seconds={"compile": 2.5, "run": 1.7},
        provenance=PROVENANCE,
        arrays={}
        if status == "failed"
        else {"loss": loss.astype(np.float32), "llc_running": running, "full_gradients": cost},
    )


def without_value(target: Record, kind: str = "sgld", **sampler: Any) -> Record:
    """An estimate all of whose chains diverged in the warm-up."""
    return make_estimate(
        target,
        kind,
        status="diverged",
        reasons=["all 4 chains diverged, the first at step 120"],
        diverge_at=12,
        **sampler,
    )


def failed(target: Record, kind: str = "nuts") -> Record:
    """An estimate that could not be run: no figures but its target's id, no arrays."""
    record = make_estimate(target, kind, status="failed", reasons=["out of memory at a batch of one"])
    return replace(record, figures={"target_id": target.id}, seconds={})


def arrays_of(record: Record) -> Mapping[str, np.ndarray]:
    return record.arrays


Sweep = tuple[list[Record], dict[str, Record]]


def by_id(targets: Sequence[Record]) -> dict[str, Record]:
    return {t.id: t for t in targets}


def typical_sweep() -> Sweep:
    """4 targets × 3 samplers; one target without a minimum, two estimates flagged, one diverged."""
    targets = [make_target(p, s) for p in (1000, 10_000) for s in (1, 2)]
    targets[3] = make_target(
        10_000, 2, status="flagged", reasons=["loss still falling: 3.1 % over the last tenth of training"]
    )
    estimates = []
    for i, target in enumerate(targets):
        truth = (8.0, 8.6, 30.0, 33.0)[i]
        for kind in ("sgld", "hmc", "mclmc"):
            if (i, kind) == (1, "sgld"):
                reasons = ["R̂ 1.41 > 1.05", "step-size bias 5.1 exceeds its error bar 1.2"]
                one = make_estimate(target, kind, truth=truth, status="flagged", reasons=reasons, drift=1.5)
            elif (i, kind) == (2, "mclmc"):
                one = without_value(target, "mclmc")
            elif (i, kind) == (3, "hmc"):
                reasons = ["R̂ 1.41 > 1.05"]
                one = make_estimate(target, kind, truth=truth, status="flagged", reasons=reasons, drift=0.8)
            else:
                one = make_estimate(target, kind, truth=truth * (1.05 if kind == "sgld" else 1.0))
            estimates.append(one)
    return estimates, by_id(targets)


def calibration_sweep() -> Sweep:
    """SGLD over 8 step sizes × 4 γ, and HMC over the γ alone, on 2 targets."""
    targets = [make_target(seed=s) for s in (1, 2)]
    estimates = []
    gammas = (0.1, 1.0, 10.0, 100.0)
    for target in targets:
        for step_size in (1e-7, 3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4):
            for gamma in gammas:
                setting = {"step_size": step_size, "gamma": gamma}
                truth = 12 * (1 + 8 * step_size * 1e4) / (1 + 0.004 * gamma)
                if step_size == 3e-4 and gamma < 10:
                    one = without_value(target, **setting)
                elif step_size >= 1e-4:
                    reasons = ["step size too large: loss left the basin"]
                    one = make_estimate(
                        target, "sgld", truth=truth, status="flagged", reasons=reasons, **setting
                    )
                else:
                    one = make_estimate(target, "sgld", truth=truth, **setting)
                estimates.append(one)
        estimates += [make_estimate(target, "hmc", truth=12 / (1 + 0.004 * g), gamma=g) for g in gammas]
    return estimates, by_id(targets)


def huge_sweep() -> Sweep:
    """60 targets × 20 samplers: 1,200 estimates, some of every status."""
    targets = [make_target(p, s) for p in (500, 1000, 2000, 4000, 10_000, 20_000) for s in range(1, 11)]
    estimates = []
    for i, target in enumerate(targets):
        for seed in range(5):
            for kind in ("sgld", "hmc", "nuts", "mclmc"):
                truth = 4.0 + 6 * (i // 10)
                if (i + seed) % 17 == 0:
                    one = without_value(target, kind, seed=seed)
                elif (i * 3 + seed) % 11 == 0:
                    one = make_estimate(
                        target,
                        kind,
                        truth=truth,
                        drift=1.0,
                        status="flagged",
                        reasons=["R̂ 1.41 > 1.05"],
                        seed=seed,
                    )
                else:
                    one = make_estimate(target, kind, truth=truth, seed=seed)
                estimates.append(one)
    return estimates, by_id(targets)


def diverged_sweep() -> Sweep:
    targets = [make_target(seed=s) for s in (1, 2)]
    return [without_value(t, step_size=e) for t in targets for e in (1e3, 1e4)], by_id(targets)


@pytest.fixture(scope="session")
def typical() -> Sweep:
    return typical_sweep()


@pytest.fixture(scope="session")
def calibration() -> Sweep:
    return calibration_sweep()


@pytest.fixture(scope="session")
def huge() -> Sweep:
    return huge_sweep()


@pytest.fixture(scope="session")
def diverged() -> Sweep:
    return diverged_sweep()


@pytest.fixture(scope="session")
def target_of() -> Callable[..., Record]:
    """`make_target`."""
    return make_target


@pytest.fixture(scope="session")
def estimate_of() -> Callable[..., Record]:
    """`make_estimate`."""
    return make_estimate


@pytest.fixture(scope="session")
def failed_of() -> Callable[..., Record]:
    """`failed`."""
    return failed
