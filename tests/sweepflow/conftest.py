"""Small sweeps, run batch by batch without Prefect, for the tests of the numerical core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from sweepflow.engine.run import run_batch
from sweepflow.estimates.plan import LlcPlan, make_plan
from sweepflow.estimates.workload import LLC
from sweepflow.schema.data import DataConfig, TeacherStudentData
from sweepflow.schema.llc import LlcConfig
from sweepflow.schema.model import MlpModel, ModelConfig
from sweepflow.schema.runner import LocalRunner
from sweepflow.schema.sampler import (
    HmcSampler,
    MclmcSampler,
    NutsSampler,
    SamplerConfig,
    SgldSampler,
    SgnhtSampler,
)
from sweepflow.schema.target import TrainingConfig
from sweepflow.storage.record import Record
from sweepflow.storage.store import Store
from sweepflow.targets.workload import TARGET

# Three chains: odd, so that a chain's place in its vector changes with its trial's place in the batch.
TINY: dict[str, SamplerConfig] = {
    "sgld": SgldSampler(chains=3, draws=8, warmup=15, step_size=1e-3, batch_size=8),
    # Finds its own step size, and ends where its own draws are enough.
    "sgld_auto": SgldSampler(chains=3, ess=30, max_gradients=10_000, batch_size=8, thinning=2),
    "sgnht": SgnhtSampler(chains=3, draws=8, warmup=15, step_size=1e-3, batch_size=8),
    "sgld_rmsprop": SgldSampler(
        chains=3, draws=8, warmup=15, step_size=1e-3, batch_size=8, preconditioner="rmsprop"
    ),
    "sgld_adam": SgldSampler(
        chains=3, draws=8, warmup=15, step_size=1e-3, batch_size=8, preconditioner="adam"
    ),
    "hmc": HmcSampler(chains=3, draws=8, warmup=20, num_integration_steps=4, thinning=2),
    "nuts": NutsSampler(chains=3, draws=8, warmup=20, max_num_doublings=4, thinning=2),
    "hmc_auto": HmcSampler(chains=3, ess=60, max_gradients=20_000, warmup=20, num_integration_steps=4),
    "mclmc": MclmcSampler(chains=3, draws=8, warmup=20, thinning=2),
}

RUN = """
import json, sys, warnings
from pathlib import Path
warnings.simplefilter("error")
# Another process may be writing that entry: JAX then compiles for itself.
warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")
from sweepflow.engine.devices import configure
configure()
import jax
jax.config.update("jax_numpy_dtype_promotion", "strict")
from sweepflow.engine.run import run_batch
from sweepflow.estimates.plan import make_plan
from sweepflow.estimates.workload import LLC
from sweepflow.schema.llc import LlcConfig
from sweepflow.storage.store import Store
from sweepflow.targets.workload import TARGET
store = Store(Path(sys.argv[1]))
texts = json.loads(Path(sys.argv[2]).read_text())
plan = make_plan([LlcConfig.model_validate_json(text) for text in texts], store)
for workload, batches in ((TARGET, plan.batches_of("target")), (LLC, plan.batches_of("llc"))):
    for batch in batches:
        run_batch(workload, batch.trials, store, size=batch.size, datasets=batch.datasets)
print(jax.local_device_count())
"""


@dataclass
class Swept:
    """A plan that has been run.

    Attributes:
        plan: What was asked for.
        store: Where its records are.
        finished: Ids in the order in which their records were stored, a list a batch.
        devices: Devices that it ran on.
    """

    plan: LlcPlan
    store: Store
    finished: list[list[str]] = field(default_factory=list)
    devices: int = field(default_factory=jax.local_device_count)

    def record(self, trial_id: str) -> Record:
        record = self.store.get(trial_id)
        assert record is not None, f"{trial_id} has no record"
        return record

    def outcome(self, trial_id: str) -> tuple[Any, ...]:
        """Everything of a record that its own configuration decides, in comparable form."""
        record, arrays = self.record(trial_id), self.store.arrays(trial_id)
        numbers = {name: (value.dtype.str, value.shape, value.tobytes()) for name, value in arrays.items()}
        return record.status, record.reasons, record.config, record.figures, numbers

    @property
    def targets(self) -> list[Record]:
        return [self.record(trial_id) for trial_id in self.plan.targets]

    @property
    def estimates(self) -> list[Record]:
        return [self.record(trial_id) for trial_id in self.plan.estimates]

    def traces(self, number: int = 0) -> np.ndarray:
        """Recorded losses of an estimate, (chains, points)."""
        return self.store.arrays(list(self.plan.estimates)[number])["loss"]


@pytest.fixture(scope="session")
def small() -> Callable[..., LlcConfig]:
    """A configuration that runs in milliseconds: a 13-parameter network on 30 rows."""

    def build(
        sampler: str | SamplerConfig = "sgld",
        *,
        target_seed: int = 0,
        data_seed: int = 0,
        sampler_changes: Mapping[str, Any] | None = None,
        model: ModelConfig | None = None,
        data: DataConfig | None = None,
        batch_size: Any = "auto",
        rows_a_step: int | None = None,
        **training: Any,
    ) -> LlcConfig:
        chosen = TINY[sampler] if isinstance(sampler, str) else sampler
        return LlcConfig(
            model=model or MlpModel(widths=(3,), activation="tanh"),
            data=data or TeacherStudentData(n_data=30, n_test=10, input_dim=2, seed=data_seed),
            target=TrainingConfig(
                **{"steps": 40, "seed": target_seed, "batch_size": rows_a_step, **training}
            ),
            sampler=chosen.model_validate({**chosen.model_dump(), **(sampler_changes or {})}),
            runner=LocalRunner(batch_size=batch_size),
        )

    return build


@pytest.fixture
def run_sweep(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Swept]:
    """LlcPlan and run configurations, in a store of their own unless one is given."""

    def run(
        configs: Sequence[LlcConfig],
        store: Store | None = None,
        *,
        targets_only: bool = False,
        **settings: Any,
    ) -> Swept:
        store = store or Store(tmp_path_factory.mktemp("a store"))
        swept = Swept(make_plan(configs, store), store)
        stages: list[tuple[Any, list[Any]]] = [(TARGET, swept.plan.batches_of("target"))]
        if not targets_only:
            stages.append((LLC, swept.plan.batches_of("llc")))
        for workload, batches in stages:
            for batch in batches:
                records = run_batch(
                    workload, batch.trials, store, size=batch.size, datasets=batch.datasets, **settings
                )
                swept.finished.append([record.id for record in records])
        return swept

    return run


@pytest.fixture
def run_elsewhere(tmp_path: Path) -> Callable[..., Swept]:
    """LlcPlan and run configurations in another process, after `prelude`, with changes to the environment."""

    def run(configs: Sequence[LlcConfig], prelude: str = "", **environment: str) -> Swept:
        asked, store = tmp_path / "asked for.json", Store(tmp_path / "another store")
        asked.write_text(json.dumps([config.model_dump_json() for config in configs]))
        inherited = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        done = subprocess.run(
            [sys.executable, "-c", prelude + RUN, str(store.root), str(asked)],
            env={**inherited, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return Swept(make_plan(configs, store), store, devices=int(done.stdout.split()[-1]))

    return run


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """Names of the functions that JAX compiles while the test runs."""
    compiled: list[str] = []

    def listen(event: str, duration: float, **details: Any) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield compiled
    jax.monitoring.unregister_event_duration_listener(listen)
