"""Runner and store of a command line's sweep, known before the rest of the command line is composed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from pydantic import BaseModel, TypeAdapter, ValidationError

from sweepflow.compose.axes import parse_axes
from sweepflow.compose.invalid import explain
from sweepflow.compose.session import composed_once, session
from sweepflow.errors import ConfigError
from sweepflow.schema.runner import LocalRunner, RunnerConfig, default_store

PLACE = ("runner", "store", "experiment")
"""Keys and groups that can set the runner or the store."""
CAN_SET_RUNNER = ("runner", "experiment")


def place(
    command: str, overrides: Sequence[str], config_dir: str | Path | None = None
) -> tuple[RunnerConfig | None, Path | None]:
    """The runner and the store; None for both if the command line is invalid, which is reported elsewhere.

    The store is None, too, if nothing names a runner: then batches run in this process, and nobody needs to
    know the store early.

    Args:
        command: `llc` or `sweep`.
        overrides: All overrides of the command line; only those of `PLACE` are used.
        config_dir: A directory of the user's own groups.
    """
    texts = [text for text in overrides if _head(text) in PLACE]
    if config_dir is None and not any(_head(text) in CAN_SET_RUNNER for text in texts):
        return LocalRunner(), None  # the shipped default, without asking Hydra
    try:
        with session(command, config_dir) as hydra:
            axes = parse_axes(texts, hydra.groups)
            base = hydra.compose(next(composed_once(axes)))
        runner: RunnerConfig = TypeAdapter(RunnerConfig).validate_python(
            OmegaConf.to_container(base.runner, resolve=True)
        )
    except (ConfigError, ValidationError):
        return None, None
    return runner, Path(str(OmegaConf.select(base, "store") or default_store()))


def _head(text: str) -> str:
    """Return the group, or the first part of the key, of an override."""
    return text.lstrip("+~").partition("=")[0].split(".")[0]


class _Runner(BaseModel):
    runner: RunnerConfig = LocalRunner()


def compose_runner(overrides: Sequence[str], config_dir: str | Path | None = None) -> RunnerConfig:
    """Compose a runner by itself.

    Args:
        overrides: Overrides of the group `runner` and its keys, as after `sweepflow sweep`.
        config_dir: A directory of the user's own groups.

    Raises:
        ConfigError: for an invalid runner, and for other keys.
    """
    with session("sweep", config_dir) as hydra:
        axes = parse_axes(overrides, hydra.groups)
        for axis in axes:
            if axis.key.split(".")[0] != "runner" or axis.sweeps:
                raise ConfigError(
                    "runner= takes one runner",
                    got=axis.text,
                    allowed="a name such as slurm, or overrides: ['runner=slurm', 'runner.jobs=2']",
                    do="give all else to the flow itself",
                )
        if not any(axis.is_group for axis in axes):
            raise ConfigError(
                "runner= says how, but not which",
                got=" ".join(overrides),
                allowed=f"runner={', runner='.join(hydra.groups['runner'])}",
                do=f"name it, too: ['runner=dask', {str(list(overrides))[1:]}",
            )
        base = hydra.compose(next(composed_once(axes)))
    try:
        return _Runner(runner=OmegaConf.to_container(base.runner, resolve=True)).runner
    except ValidationError as error:
        raise explain(error, _Runner, axes) from error
