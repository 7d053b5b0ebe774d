"""From a request to configurations: draw, constrain, repeat, complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepflow.compose.overlaps import value_at
from sweepflow.compose.trials import TrialsRequest
from sweepflow.engine.workload import Trial
from sweepflow.errors import ConfigError
from sweepflow.report.numbers import counted
from sweepflow.schema.fields import Config, dump
from sweepflow.schema.locations import refuse_other_files
from sweepflow.space import Design, EmptyDesignError, Method, Space
from sweepflow.space.constraints import bind_constraint
from sweepflow.trials.seeds import draw_seeds
from sweepflow.trials.table import ConfigurationTable, configuration_table

DEFAULT_SAMPLES = 64


@dataclass(frozen=True)
class DesignOptions:
    """Options for the choice of configurations.

    Attributes:
        samples: Number of samples from the space for every point of the grid; `DEFAULT_SAMPLES` if it is not
            given and there is a space.
        method: The design.
        seed: Seed of the design, and of the seeds of repeats.
        repeats: Trials of every configuration, each with its own seed; None if seeds are used as given.
        table: File of configurations to run instead.
    """

    samples: int | None = None
    method: Method = "sobol"
    seed: int = 0
    repeats: int | None = None
    table: Path | None = None


@dataclass(frozen=True)
class Drawn:
    """The trials of a sweep.

    Attributes:
        trials: Distinct trials, by id, in the order of the design.
        rows: Values chosen for each trial, by dotted key: the grid's values and the drawn values.
        notes: Notes for people: anything that was changed, skipped or corrected.
        log_keys: Dotted keys drawn on a log scale.
        left_out: Dotted keys, by trial, that the space draws for other trials only, because their condition
            did not hold; only trials with such keys.
    """

    trials: dict[str, Trial[Any]]
    rows: dict[str, dict[str, Any]]
    notes: list[str]
    log_keys: frozenset[str]
    left_out: dict[str, list[str]]


@dataclass
class _Tally:
    designs: list[Design] = field(default_factory=list)
    mended: Counter[str] = field(default_factory=Counter)
    repeated: int = 0


def draw_trials(request: TrialsRequest, options: DesignOptions) -> Drawn:
    """Return every trial that a request asks for, validated, completed and distinct.

    Raises:
        ConfigError: before any work, for anything that cannot be run.
    """
    with request.workload.one_look():
        return _draw(request, options)


def _draw(request: TrialsRequest, options: DesignOptions) -> Drawn:
    _check_options(request, options)
    table = None if options.table is None else configuration_table(request, options.table)
    seeds = _seeds(request, options, table)
    tally = _Tally()
    trials: dict[str, Trial[Any]] = {}
    rows: dict[str, dict[str, Any]] = {}
    workload = request.workload
    for point in request.points:
        chosen = {key: value_at(point, key) for key in request.grid}
        rows_here = table.rows if table else dict(enumerate(_rows(request, options, point, tally), 1))
        for number, row in rows_here.items():
            drawn = dict(row) if table is None else table.at(row, point)
            where = None if options.table is None else f"{options.table}, row {number}"
            for seed in seeds:
                config, mended = workload.prepare(request.config(point, {**drawn, **seed}, where))
                workload.check(config)
                trial = workload.trial(config)
                tally.mended.update(mended)
                if (same := trials.get(trial.id)) is not None:
                    refuse_other_files(trial.id, config, same.config.model_dump(mode="json"))
                    tally.repeated += 1
                trials.setdefault(trial.id, trial)
                rows.setdefault(trial.id, {**chosen, **drawn, **seed})
    if not trials:
        raise ConfigError(
            "the constraints leave none of the configurations",
            got="; ".join(f"{text}: {count}" for text, count in _fired(tally).items()),
            do="loosen the constraint that skips most",
        )
    log_keys = {key for key, one in (request.space.parameters if request.space else {}).items() if one.is_log}
    drawn_keys = request.space.keys if request.space else ()
    left_out = {i: [key for key in drawn_keys if key not in row] for i, row in rows.items()}
    return Drawn(
        trials=trials,
        rows=rows,
        notes=[*([] if table is None else table.notes), *_notes(request, options, tally, seeds)],
        log_keys=frozenset(log_keys),
        left_out={i: keys for i, keys in left_out.items() if keys},
    )


def _check_options(request: TrialsRequest, options: DesignOptions) -> None:
    if options.samples is not None and options.samples < 1:
        raise ConfigError(
            "a sweep has at least one sample",
            got=f"--samples {options.samples}",
            allowed="a whole number from 1; for sobol best a power of two",
        )
    nothing = request.space is None or not request.space.parameters
    if options.samples is not None and nothing and options.table is None:
        raise ConfigError(
            "there is nothing to draw samples from",
            got=f"--samples {options.samples}",
            allowed="space=NAME, or a key with interval(...), tag(log, interval(...)) or choice(...)",
            do="add space=optimizer, or leave --samples away: the grid is run whole",
        )
    if options.table is not None and request.space is not None:
        raise ConfigError(
            "configurations come from a table or from a space, not from both",
            got=f"--from {options.table} with {', '.join(request.space.keys)}",
            do="remove one of them",
        )
    if options.table is not None and options.samples is not None:
        raise ConfigError(
            "a table of configurations is run whole",
            got=f"--from {options.table} --samples {options.samples}",
            do="remove one of them",
        )
    if options.repeats is not None and options.repeats < 1:
        raise ConfigError(
            "a configuration is run at least once",
            got=f"--repeats {options.repeats}",
            allowed="a whole number from 1",
        )
    if options.seed < 0:
        raise ConfigError("a seed is negative", got=f"--design-seed {options.seed}", allowed="0, 1, 2, ...")


def _seeds(
    request: TrialsRequest, options: DesignOptions, table: ConfigurationTable | None
) -> list[dict[str, int]]:
    """Return the values that repeats set: one seed each, drawn from the design's seed."""
    if options.repeats is None:
        return [{}]
    key = request.workload.seed_key
    if key is None:
        raise ConfigError(
            "this workload has no seed, so its repeats would all be the same",
            got=f"--repeats {options.repeats}",
            do="give its Config a field seed: Content[int] = 0",
        )
    in_space = request.space is not None and key in request.space.keys
    in_table = table is not None and any(key in row for row in table.rows.values())
    if in_space or in_table or any(value_at(point, key) is not None for point in request.points):
        raise ConfigError(
            "seeds are either given or drawn",
            got=f"--repeats {options.repeats}, and {key} is given",
            do="remove one of them",
        )
    if request.space is not None:
        _refuse_constraints_on(key, request, request.space, options)
    seeds = draw_seeds(request.workload.config_type, key, options.repeats, options.seed)
    return [{key: seed} for seed in seeds]


def _refuse_constraints_on(key: str, request: TrialsRequest, space: Space, options: DesignOptions) -> None:
    known = {*_fixed(request, request.points[0]), *space.keys}
    for constraint in space.constraints:
        bound = bind_constraint(constraint, known)
        if key in bound.keys:
            raise ConfigError(
                "a constraint looks at seeds, which repeats are given after it",
                got=f"--repeats {options.repeats}, and {constraint.text}",
                do=f"remove one of them; '{key}=range(0,{options.repeats})' is a grid, which constraints see",
            )


def _rows(
    request: TrialsRequest, options: DesignOptions, point: Mapping[str, Any], tally: _Tally
) -> Sequence[dict[str, Any]]:
    """Return the samples that are drawn at one point of the grid."""
    if request.space is None:
        return [{}]
    try:
        design = request.space.draw(
            options.samples or DEFAULT_SAMPLES, options.method, options.seed, _fixed(request, point)
        )
    except EmptyDesignError as empty:
        if len(request.points) == 1:
            raise
        tally.designs.append(empty.design)
        return []
    tally.designs.append(design)
    return design.rows


def _fixed(request: TrialsRequest, point: Mapping[str, Any]) -> dict[str, Any]:
    """Return values and defaults of the keys that are not drawn, as conditions and constraints see them."""
    defaults = {
        name: one.get_default(call_default_factory=True)
        for name, one in request.workload.config_type.model_fields.items()
        if not one.is_required()
    }
    return {**_flat(defaults), **_flat(point)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        value = dump(value) if isinstance(value, Config) else value
        if isinstance(value, Mapping):
            out |= _flat(value, f"{prefix}{key}.")
        else:
            out[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return out


def _fired(tally: _Tally) -> Counter[str]:
    total: Counter[str] = Counter()
    for design in tally.designs:
        total.update(design.by_constraint)
    return total


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _notes(
    request: TrialsRequest, options: DesignOptions, tally: _Tally, seeds: Sequence[Mapping[str, int]]
) -> list[str]:
    notes = list(dict.fromkeys(note for design in tally.designs for note in design.notes))
    for text, count in _fired(tally).items():
        notes.append(f"constraint {text}: {counted(count, 'sample')}")
    skipped = sum(design.skipped for design in tally.designs)
    if skipped:
        notes.append(f"{counted(skipped, 'sample')} {_were(skipped)} skipped by constraints")
    same = tally.repeated + sum(design.duplicates * len(seeds) for design in tally.designs)
    if same:
        others = "an earlier one and is" if same == 1 else "earlier ones and are"
        notes.append(f"{counted(same, 'configuration')} {_were(same)} the same as {others} run once")
    notes += [f"{counted(count, 'configuration')}: {text}" for text, count in tally.mended.items()]
    if options.repeats is not None:
        shown = ", ".join(str(next(iter(seed.values()))) for seed in seeds[:10])
        notes.append(f"{request.workload.seed_key} drawn for {len(seeds)} repeats: {shown}")
    return notes
