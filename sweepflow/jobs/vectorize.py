"""Jobs that differ in numbers only, as one vmapped call of a pure JAX function.

The statuses are the same as for calls one by one, and so are the values, up to rounding. A number that varies
is a `VaryingNumber`. An operation that cannot be done for all jobs at once is an error; then the jobs are
called one by one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import PurePath
from typing import Any

from omegaconf import AnyNode, DictConfig, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException
from pydantic import BaseModel

from sweepflow.errors import ConfigError
from sweepflow.jobs.carried import SCALARS, functions_in, names_in
from sweepflow.jobs.job import Job
from sweepflow.jobs.told import told

Path = tuple[Hashable, ...]
"""Path of a value in a configuration: keys, list indices, and names of fields."""
PRIVATE = "__pydantic_private__"


@dataclass(frozen=True)
class Group:
    """Jobs of one call.

    Attributes:
        keys: Dotted keys of the numbers that differ among the jobs, without numbers computed from others.
        jobs: The jobs.
        numbers: All numbers that differ among the jobs, by their paths; one value per job.
    """

    keys: tuple[str, ...]
    jobs: tuple[Job, ...]
    numbers: Mapping[Path, Sequence[int | float]] = field(default_factory=dict)


def groups(jobs: Sequence[Job]) -> list[Group]:
    """Group jobs by everything in their configurations except numbers that vary, in order of appearance.

    A value that is computed from such a number counts as it is in each job: a number varies too, and jobs
    that differ in text are not in one group. A key that is a whole number in some jobs and a fraction in
    others is a fraction in all.

    Args:
        jobs: Jobs of one sweep.
    """
    known = [_leaves_of(job) for job in jobs]
    seen: dict[Path, set[str]] = {}
    for leaves in known:
        for path, value in leaves.items():
            seen.setdefault(path, set()).add(_words(value))
    members: dict[Hashable, list[int]] = {}
    for number, leaves in enumerate(known):
        fixed = [
            (path, "a number" if _is_number(value) and len(seen[path]) > 1 else _words(value))
            for path, value in leaves.items()
        ]
        members.setdefault(tuple(fixed) if fixed else number, []).append(number)
    return [_group([jobs[i] for i in of], [known[i] for i in of]) for of in members.values()]


def _group(jobs: Sequence[Job], leaves: Sequence[Mapping[Path, Any]]) -> Group:
    columns = {path: [one[path] for one in leaves] for path in leaves[0]}
    numbers = {path: column for path, column in columns.items() if len({_words(v) for v in column}) > 1}
    cfg = jobs[0].cfg
    written = dict(_leaves(OmegaConf.to_container(cfg) if isinstance(cfg, DictConfig) else cfg))
    keys = [".".join(map(str, path)) for path in numbers if _is_number(written.get(path))]
    return Group(tuple(keys), tuple(jobs), numbers)


def call_together(function: Callable[[Any], Any], group: Group) -> list[Any]:
    """Return the function's value for each job of a group, from one call.

    Args:
        function: A pure JAX function; it may not use a number that varies as Python does (`if`, `float`).
        group: The jobs.

    Returns:
        One value per job, arrays as NumPy arrays; structures as the function returns them.

    Raises:
        ConfigError: for a function that cannot be batched.
        Exception: any exception of the function.
    """
    import jax
    import jax.numpy as jnp
    import numpy as np

    from sweepflow.jobs.in_order import in_order
    from sweepflow.jobs.varying_number import IN_HAND, DiffersError, OneCall, VaryingNumber

    if not group.numbers:
        return [jax.device_get(in_order(function(job.cfg))) for job in group.jobs]
    call = OneCall()
    for one in functions_in(function):
        if "type" in names_in(one.__code__):  # which nothing can answer for a `VaryingNumber`
            where = "it" if one is function else one.__qualname__
            raise _unbatchable(group, [f"type() is in {where}; isinstance() is what can be answered"])
    numbers = {path: VaryingNumber(values, call) for path, values in group.numbers.items()}
    structure: Any = None
    leaves: list[Any] = []

    def traced(lane: Any) -> list[Any]:
        nonlocal structure, leaves
        call.lane = lane
        with told(call):
            token = IN_HAND.set(call)
            try:
                returned = function(_with(group.jobs[0].cfg, numbers))
            finally:
                IN_HAND.reset(token)
        leaves, structure = jax.tree.flatten(
            in_order(returned), is_leaf=lambda leaf: type(leaf) is VaryingNumber
        )
        repr(structure)  # which refuses where a number is in it, outside its leaves
        for leaf in leaves:
            if not isinstance(leaf, _kept()):
                raise call.refuse(f"it returns a {type(leaf).__name__}")
        return [leaf for leaf in leaves if isinstance(leaf, jax.Array)]

    try:
        arrays = iter(jax.device_get(jax.vmap(traced)(jnp.arange(len(group.jobs)))))
    except (jax.errors.JAXTypeError, DiffersError) as error:
        raise _unbatchable(group, call.refused or [str(error).splitlines()[0]]) from error
    if call.refused:  # and the function has caught that
        raise _unbatchable(group, call.refused)
    columns = [
        next(arrays)
        if isinstance(leaf, jax.Array)
        else leaf.of_each_job()
        if type(leaf) is VaryingNumber
        else None
        for leaf in leaves
    ]

    def of_job(number: int) -> Any:
        own = [
            column[number] if column is not None else leaf.copy() if isinstance(leaf, np.ndarray) else leaf
            for column, leaf in zip(columns, leaves, strict=True)
        ]
        return jax.tree.unflatten(structure, own)

    return [of_job(number) for number in range(len(group.jobs))]


def _kept() -> tuple[type, ...]:
    """Return the types that a value may consist of; other types may contain a traced array."""
    import jax
    import numpy as np

    return (jax.Array, np.ndarray, np.generic, bool, int, float, complex, str, bytes)


def _unbatchable(group: Group, uses: Sequence[str]) -> ConfigError:
    first = group.jobs[0]
    return ConfigError(
        f"{first.task_name} cannot be batched over {', '.join(group.keys)}: {uses[0]}",
        got=" ".join(first.overrides),
        allowed="a pure function of jax.numpy, which returns numbers, text, arrays, or structures of them",
        do="use jnp.where in place of `if`, leave out float() and int(), or leave out vectorize=True",
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _words(value: Any) -> str:
    """Return a text that no other value has. A value whose own text may be abbreviated, such as an array, is
    described by its identity."""
    kind = type(value)
    if kind in SCALARS or isinstance(value, (Enum, PurePath)):
        return f"{kind.__qualname__} {value!r}"
    return f"{kind.__qualname__} at {id(value)}"


def _leaves_of(job: Job) -> dict[Path, Any]:
    """Return the values in a job's configuration, by path; empty if they are not known before the call."""
    if not isinstance(job.cfg, DictConfig):
        return dict(_leaves(job.cfg))
    try:
        return dict(_leaves(OmegaConf.to_container(job.cfg, resolve=True)))
    except OmegaConfBaseException:  # a variable of the environment, say, that the function does not read
        return {}


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    inner = _inner(value)
    yield path, value if inner is None else type(value)
    for key, item in (inner or {}).items():
        yield from _leaves(item, (*path, key))


def _inner(value: Any) -> Mapping[Hashable, Any] | None:
    """Return the content of a container; None for a value that is not a container."""
    if isinstance(value, BaseModel):
        public = [*vars(value).items(), *(value.model_extra or {}).items()]
        private = (value.__pydantic_private__ or {}).items()
        return dict([*public, *(((PRIVATE, name), item) for name, item in private)])
    if type(value) is dict:
        return value
    return dict[Hashable, Any](enumerate(value)) if type(value) in (list, tuple) else None


def _with(cfg: Any, numbers: Mapping[Path, Any]) -> Any:
    """Return a configuration with other numbers in it; its types and bounds were checked before."""
    if not isinstance(cfg, DictConfig):
        for path, value in numbers.items():
            cfg = _put(cfg, path, value)
        return cfg
    tree = copy.deepcopy(cfg)
    with flag_override(tree, "readonly", False):
        OmegaConf.resolve(tree)
    for path, value in numbers.items():
        *above, last = path
        parent: Any = tree
        for key in above:
            parent = parent._get_node(key)
        # Without asking the node's type, of which no `VaryingNumber` is.
        parent._content[last] = AnyNode(value, key=last, parent=parent, flags={"allow_objects": True})
    # What was worked out of a value would not follow a change of it.
    OmegaConf.set_readonly(tree, True)
    return tree


def _put(value: Any, path: Path, number: Any) -> Any:
    """Return a copy of a value with a number in it, at a path."""
    if not path:
        return number
    (head, *rest), inner = path, _inner(value)
    assert inner is not None
    new = _put(inner[head], tuple(rest), number)
    if isinstance(value, BaseModel):
        if isinstance(head, str):
            return value.model_copy(update={head: new})
        assert isinstance(head, tuple)
        made = value.model_copy()
        object.__setattr__(made, PRIVATE, {**(value.__pydantic_private__ or {}), head[1]: new})
        return made
    filled = {**inner, head: new}
    return filled if isinstance(value, dict) else type(value)(filled.values())
