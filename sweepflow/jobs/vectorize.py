"""Jobs that differ in numbers only, as one vmapped call of a pure JAX function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel

from sweepflow.errors import ConfigError
from sweepflow.fingerprint import canonical_json
from sweepflow.jobs.identity import plain
from sweepflow.jobs.job import Job


@dataclass(frozen=True)
class Group:
    """Jobs of one call.

    Attributes:
        keys: Numbers that differ among them, by dotted key.
        jobs: The jobs.
    """

    keys: tuple[str, ...]
    jobs: tuple[Job, ...]


def groups(jobs: Sequence[Job]) -> list[Group]:
    """Jobs grouped by all that is no number that varies, in order of first appearance.

    A key that is a whole number in some jobs and a fraction in others is a fraction in all.

    Args:
        jobs: Of one sweep; those that are numbers in `params` vary.
    """
    found: dict[str, list[Job]] = {}
    keys: dict[str, tuple[str, ...]] = {}
    for job in jobs:
        own = tuple(key for key, value in job.params.items() if _is_number(value))
        fixed = _written(job.cfg)
        for key in own:
            _set(fixed, key, None)
        text = canonical_json([fixed, own, {k: v for k, v in job.params.items() if k not in own}])
        found.setdefault(text, []).append(job)
        keys[text] = own
    return [Group(keys[text], tuple(members)) for text, members in found.items()]


def call_together(function: Callable[[Any], Any], group: Group) -> list[Any]:
    """What a function returns for each job of a group, from one call.

    Args:
        function: Pure, and of JAX; it may not look at a number that varies as Python does (`if`, `float`).
        group: The jobs.

    Returns:
        One value a job, arrays as NumPy's; structures as the function returns them.

    Raises:
        ConfigError: for a function that cannot be traced so.
    """
    import jax
    import jax.numpy as jnp

    first = group.jobs[0]
    stacked = {key: jnp.asarray([job.params[key] for job in group.jobs]) for key in group.keys}
    try:
        if not stacked:
            return [jax.device_get(function(job.cfg)) for job in group.jobs]
        together = jax.device_get(jax.vmap(lambda numbers: function(_with(first.cfg, numbers)))(stacked))
    except (jax.errors.JAXTypeError, TypeError) as error:
        raise ConfigError(
            f"{first.task_name} cannot be batched over {', '.join(group.keys)}: {str(error).splitlines()[0]}",
            got=" ".join(first.overrides),
            allowed="a pure function of jax.numpy, which returns arrays or structures of them",
            do="use jnp.where in place of `if`, leave out float() and int(), or leave out vectorize=True",
        ) from error
    return [jax.tree.map(lambda leaf, i=i: leaf[i], together) for i in range(len(group.jobs))]


def _written(cfg: Any) -> Any:
    """A configuration as it is written: what refers to a number that varies is the same in all."""
    return OmegaConf.to_container(cfg) if isinstance(cfg, DictConfig) else plain(cfg)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _with(cfg: Any, numbers: Mapping[str, Any]) -> Any:
    """A configuration with traced numbers in it; its types and bounds were checked before."""
    if isinstance(cfg, BaseModel):
        for key, value in numbers.items():
            cfg = _model_with(cfg, key.split("."), value)
        return cfg
    tree = OmegaConf.create(OmegaConf.to_container(cfg), flags={"allow_objects": True})
    for key, value in numbers.items():
        OmegaConf.update(tree, key, value)
    return tree


def _model_with(model: Any, path: list[str], value: Any) -> Any:
    head, *rest = path
    inner = _model_with(getattr(model, head), rest, value) if rest else value
    return model.model_copy(update={head: inner})


def _set(content: Any, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        content = content[part]
    content[last] = value
