"""Configuration of an external program: the command, its arguments, and the values that identify it."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from sweepflow.schema.data import Seed
from sweepflow.schema.fields import OF_A_RUN, Config, Content, Location
from sweepflow.workloads.command_output import METRIC_NAME

RESERVED = ("exit_code", "seconds")
"""Figures of every command; a metric cannot have their names."""

GIVEN_VARIABLES = ("SWEEPFLOW_TRIAL", "SWEEPFLOW_SWEEP", "SWEEPFLOW_TRIAL_DIR")
"""Environment variables that every program gets: its trial's id, its sweep's name, a folder of its own."""


def text(value: Any) -> str:
    """Return a value as it is written on a command line."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list():
            return f"[{','.join(map(text, value))}]"
    return str(value)


def _as_typed(value: Any) -> Any:
    """Return the text of a value that Hydra has read as a number, or as true or false: `devices=[0,1]`,
    `environment.THREADS=4`."""
    return text(value) if isinstance(value, (bool, int, float)) else value


Text = Annotated[str, BeforeValidator(_as_typed)]


class CommandConfig(Config):
    """A program and its arguments: `command`, then those of `args`, then the seed, on one command line."""

    command: Content[str]
    """Program and arguments, split as by a shell but run without one: no globs, no pipes, no variables."""
    args: Content[dict[str, Any]] = Field(default_factory=dict)
    """Arguments by dotted key, nested or not: numbers, text, true and false, null, and lists of these."""
    style: Content[Literal["override", "flag", "option", "json", "none"]] = "override"
    """Form of the arguments: `key=value`; `--key=value`; `--key value`, with true as `--key` alone and lists
    as several words; one word of JSON; or nothing except the arguments that the command places."""
    seed: Content[Seed | None] = None
    """Seed, which is passed as an argument."""
    seed_argument: Content[str] = "seed"
    """Key under which the seed is passed, if there is a seed."""
    metrics: Content[tuple[str, ...]] = Field(min_length=1)
    """Metrics that the program must print; other metrics that it prints are kept as well. The first one says
    which trial is best."""
    sha256: Content[str] = ""
    """SHA-256 of the files that the trial names and depends on; filled in by sweepflow. A changed script is
    another trial."""
    pinned: Annotated[Location[tuple[str, ...] | None], OF_A_RUN] = None
    """Files that `sha256` covers, as the trial names them; filled in by sweepflow."""
    depends: Location[tuple[Text, ...]] = ()
    """Files, folders and globs that the program imports or reads; their contents are part of the trial."""
    outputs: Location[tuple[Text, ...]] = ()
    """Files, folders and globs that the program writes; sweepflow never looks at them, even if they are
    named."""
    sweep: Annotated[Location[str | None], OF_A_RUN] = None
    """Sweep that runs the trial; filled in by sweepflow."""
    cwd: Location[Text | None] = None
    """Directory that the program runs in; by default the directory that sweepflow was started in."""
    timeout_seconds: Location[PositiveFloat | None] = None
    """Time limit of a trial; none if it is not given."""
    max_concurrent: Location[PositiveInt] = 1
    """Number of processes of each batch that run at a time."""
    devices: Location[tuple[Text, ...]] = ()
    """Devices that are given in turn as CUDA_VISIBLE_DEVICES; each to one process at a time, while there are
    enough."""
    environment: Content[dict[str, Text]] = Field(default_factory=dict)
    """Variables that are added to the environment of sweepflow. They are part of the trial, since they may
    decide its result."""

    @field_validator("command")
    @classmethod
    def _can_be_split(cls, command: str) -> str:
        try:
            words = shlex.split(command)
        except ValueError as error:  # such as "No closing quotation"
            raise ValueError(f"command cannot be split into words: {error}") from None
        if not words or "\0" in command:
            raise ValueError("command names no program")
        return command

    @field_validator("args")
    @classmethod
    def _has_one_form(cls, args: dict[str, Any]) -> dict[str, Any]:
        """Nest the arguments, whichever way they were written, so that equal arguments are equal
        configurations."""
        nested: dict[str, Any] = {}
        for key, value in flat(args):
            *sections, name = key.split(".")
            place = nested
            for section in sections:
                place = place.setdefault(section, {})
                if not isinstance(place, dict):
                    raise ValueError(f"args has a value and keys below it at the same key: {key}")
            if name in place:
                raise ValueError(f"args has the same key twice: {key}")
            place[name] = value
        return nested

    @field_validator("metrics")
    @classmethod
    def _can_be_found(cls, metrics: tuple[str, ...]) -> tuple[str, ...]:
        for name in metrics:
            if not METRIC_NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(
                    f"metrics cannot hold {name!r}: a name has letters, digits and _ . / @ % + -, and is not "
                    f"{' or '.join(RESERVED)}"
                )
        return tuple(dict.fromkeys(metrics))

    @field_validator("environment")
    @classmethod
    def _can_be_set(cls, environment: dict[str, str]) -> dict[str, str]:
        for name, value in environment.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"environment cannot hold {name!r}: the system takes no such name or value")
            if name in GIVEN_VARIABLES:
                raise ValueError(f"environment cannot hold {name}: every trial gets its own")
        return environment

    @model_validator(mode="after")
    def _seed_is_given_once(self) -> CommandConfig:
        if self.seed is not None and self.seed_argument in dict(flat(self.args)):
            raise ValueError(f"seed and args both give {self.seed_argument!r}")
        return self

    def __hash__(self) -> int:
        arguments = tuple((key, _hashable(value)) for key, value in sorted(flat(self.args)))
        environment = tuple(sorted(self.environment.items()))
        return hash((self.command, arguments, self.style, self.seed, self.metrics, self.sha256, environment))


def _hashable(value: Any) -> Any:
    """Return a hashable value that is equal for equal values: lists become tuples."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def flat(args: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and plain values, in the order in which they were written."""
    for key, value in args.items():
        parts = key.split(".") if isinstance(key, str) else [""]
        if not all(part and part.isprintable() and not set(part) & set("= \\") for part in parts):
            raise ValueError(f"args cannot have the key {prefix}{key}: keys are names, joined by dots")
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", _plain(value, f"{prefix}{key}")


def _plain(value: Any, key: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(entry, key) for entry in value]
    usable = value is None or isinstance(value, (bool, int, float, str))
    if not usable or (isinstance(value, float) and not math.isfinite(value)):
        raise ValueError(f"args.{key} cannot be {value!r}: it is no finite number, text, true, false or null")
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"args.{key} cannot hold the character NUL")
    return value
