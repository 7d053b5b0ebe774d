"""Where a command line's sweep runs and keeps its results, before the rest of it is composed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf
from pydantic import TypeAdapter, ValidationError

from sweepflow.compose.axes import parse_axes
from sweepflow.compose.session import choice_text, forced_text, session
from sweepflow.errors import ConfigError
from sweepflow.schema.runner import RunnerConfig, default_store

PLACE = ("runner", "store", "experiment")
"""What can say so."""


def place(
    command: str, overrides: Sequence[str], config_dir: str | Path | None = None
) -> tuple[RunnerConfig | None, Path | None]:
    """The runner and the store; None twice where the command line is not sound, which is for others to say.

    Args:
        command: `llc` or `sweep`.
        overrides: All of them; most are not looked at.
        config_dir: A directory of the user's own groups.
    """
    texts = [text for text in overrides if text.lstrip("+~").partition("=")[0].split(".")[0] in PLACE]
    try:
        with session(command, config_dir) as hydra:
            axes = parse_axes(texts, hydra.groups)
            groups = [choice_text(axis, axis.values[0]) for axis in axes if axis.is_group]
            base = hydra.compose([*groups, *(forced_text(axis) for axis in axes if not axis.is_group)])
        runner: RunnerConfig = TypeAdapter(RunnerConfig).validate_python(
            OmegaConf.to_container(base.runner, resolve=True)
        )
    except (ConfigError, ValidationError):
        return None, None
    return runner, Path(str(OmegaConf.select(base, "store") or default_store()))
