"""The user's configuration of a callable, as a node that Hydra composes."""

from __future__ import annotations

import dataclasses
import inspect
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

from sweepflow.compose.grammar import key_of, read
from sweepflow.compose.overlaps import holds, says
from sweepflow.compose.session import ONE_AT_A_TIME
from sweepflow.errors import ConfigError

ALLOWED = (
    "a dataclass, its type or an instance; a pydantic model, likewise; a mapping; an OmegaConf DictConfig; "
    "what hydra-zen's builds, just and make_config give"
)


def store(node: Any, *, group: str | None = None, name: str, package: str | None = None) -> Any:
    """Register a configuration, so that an override can choose it: `optim=sgd`.

    The configuration is put into Hydra's own config store, which hydra-zen uses too.

    >>> from sweepflow import multirun, store
    >>> _ = store({"rate": 0.1}, group="optim", name="sgd")
    >>> _ = store({"rate": 0.001}, group="optim", name="adam")
    >>> config = {"defaults": ["_self_", {"optim": "sgd"}]}
    >>> [job.value for job in multirun(config, lambda cfg: cfg.optim.rate, ["optim=sgd,adam"])]
    [0.1, 0.001]

    Args:
        node: A configuration, as for `run`.
        group: Group that the configuration is an option of; None for one that defaults lists name.
        name: Name of the option.
        package: Place in the tree; the group's name if it is not given.

    Returns:
        The node as it was given.

    Raises:
        ConfigError: for a node that cannot be a configuration.
    """
    made = _node(node)
    with ONE_AT_A_TIME:
        ConfigStore.instance().store(name=name, node=made, group=group, package=package, provider="sweepflow")
    return node


@contextmanager
def registered(config: Any) -> Iterator[str]:
    """Provide the name under which Hydra finds a configuration while the block runs."""
    node = _node(config)
    name = f"sweepflow_{uuid.uuid4().hex}"
    repository = ConfigStore.instance()
    with ONE_AT_A_TIME:
        repository.store(name=name, node=node, provider="sweepflow")
    try:
        yield name
    finally:
        with ONE_AT_A_TIME:
            del repository.repo[f"{name}.yaml"]


def validator(config: Any) -> Callable[[DictConfig, Sequence[str]], Any]:
    """Return the function that turns a composed tree, and its overrides, into the configuration that the
    callable gets: a pydantic model if one was given, otherwise the tree itself."""
    kind = config if inspect.isclass(config) else type(config)
    if not issubclass(kind, BaseModel):
        return lambda tree, overrides: tree

    def accept(tree: DictConfig, overrides: Sequence[str]) -> BaseModel:
        given = OmegaConf.to_container(tree, resolve=True, throw_on_missing=True)
        model = kind.model_validate(given)
        _refuse_ignored(given, model, overrides)
        return model

    return accept


def _refuse_ignored(given: Any, model: BaseModel, overrides: Sequence[str]) -> None:
    """Refuse keys that an override gives and that the resulting model leaves out.

    The model may ignore keys that a default has left in the tree, for example of another member of a union.

    Raises:
        ConfigError: for the first such key of an override.
    """
    ignored = list(_ignored(given, model))
    for override in map(read, overrides if ignored else ()):
        key, value = key_of(override), None if override.is_delete() else override.value()
        for path in ignored:
            within = holds(key, path) and says(value, path.removeprefix(f"{key}.").split("."))
            if not (path == key or holds(path, key) or within):
                continue
            raise ConfigError(
                f"{type(model).__name__} does not take {path}, and would leave it out",
                got=str(override.input_line),
                allowed=f"fields of the model: {', '.join(type(model).model_fields)}",
                do="leave it out, or add the field; extra='allow' takes all, and populate_by_name=True the "
                "name of a field that has an alias",
            )


def _ignored(given: Any, made: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted keys of a model's input that are in none of its fields."""
    if isinstance(made, BaseModel) and isinstance(given, Mapping):
        ways = {one.info.mode for one in type(made).__pydantic_decorators__.model_validators.values()}
        if ways & {"before", "wrap"}:
            return  # who knows what it makes of the keys
        taken = made.model_fields_set | set(made.model_extra or ())
        for name, value in given.items():
            if name in taken:
                yield from _ignored(value, getattr(made, name), f"{key}{name}.")
            else:
                yield f"{key}{name}"
    elif isinstance(made, Mapping) and isinstance(given, Mapping):
        for name in filter(made.__contains__, given):
            yield from _ignored(given[name], made[name], f"{key}{name}.")
    elif isinstance(made, (list, tuple)) and isinstance(given, list):
        for place, (value, one) in enumerate(zip(given, made, strict=False)):
            yield from _ignored(value, one, f"{key}{place}.")


def _node(config: Any) -> DictConfig:
    content: Any = config
    if isinstance(config, BaseModel):
        content = config.model_dump()
    elif inspect.isclass(config) and issubclass(config, BaseModel):
        content = _defaults(config)
    elif not (dataclasses.is_dataclass(config) or isinstance(config, (Mapping, DictConfig))):
        raise ConfigError(
            "this cannot be the configuration of a job",
            got=f"{config!r} ({type(config).__name__})",
            allowed=ALLOWED,
        )
    try:
        node = OmegaConf.create(content)
    except (OmegaConfBaseException, ValueError) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(
            f"a value of the configuration is of a kind that OmegaConf does not hold: {said}",
            got=str(config),
            allowed="numbers, strings, lists, mappings, dataclasses",
            do="give an object by its name, as {'_target_': 'module.name'}, or by hydra-zen's builds or just",
        ) from error
    assert isinstance(node, DictConfig)
    return node


def _dumped(value: Any) -> Any:
    """Return a default with its models as mappings."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, (list, tuple)):
        return [_dumped(inner) for inner in value]
    return {key: _dumped(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Return the defaults of a model's fields; a field without one is mandatory, as OmegaConf's `???`."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if not field.is_required():
            value = field.get_default(call_default_factory=True)
            found[name] = _dumped(value)
        elif inspect.isclass(field.annotation) and issubclass(field.annotation, BaseModel):
            found[name] = _defaults(field.annotation)
        else:
            found[name] = MISSING
    return found
