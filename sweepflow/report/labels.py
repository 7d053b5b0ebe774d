"""Short names for targets and samplers, made only from the fields that vary among them.

A field is part of a label only if it distinguishes two configurations that the fields before it do not
distinguish. So a preset that sets four fields at once appears with its first field, and a swept seed appears
as `seed=1`. If a configuration gives one field instead of another (`target_params` instead of `widths`), its
label has the given field, and does not say that the other field is none.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepflow.fingerprint import frozen
from sweepflow.report.numbers import setting
from sweepflow.storage.record import Record

MAX_FIELDS = 4
"""Most varying fields of a label. A label with more fields is cut, and digits of its id distinguish it."""

_FIRST = ("kind", "preconditioner", "name", "path")
"""Fields that name a choice; they come before the numbers of their section."""
_BARE = frozenset({"kind", "preconditioner", "name", "path", "optimizer", "activation"})
"""Fields whose value is clear without the field's name."""
ABSENT = object()
"""The value of a key that a configuration does not have."""

Flat = dict[str, Any]


@dataclass(frozen=True)
class Labels:
    """Labels of a set of estimates and their targets.

    Attributes:
        target: Labels of targets, by target id.
        sampler: Labels of samplers, by estimate id; unique among the estimates of one target.
        kind: Sampler's kind with its preconditioner, such as `sgld-rmsprop`, by estimate id.
    """

    target: Mapping[str, str]
    sampler: Mapping[str, str]
    kind: Mapping[str, str]

    def of(self, estimate: Record) -> str:
        """Target and sampler in one line."""
        return f"{self.target[target_key(estimate)]} · {self.sampler[estimate.id]}"


def target_key(estimate: Record) -> str:
    """The id of an estimate's target; the target's configuration as JSON if the id is not in the record."""
    known = estimate.figures.get("target_id")
    return str(known) if known else json.dumps(estimate.config.get("target", {}), sort_keys=True)


def target_order(estimates: Sequence[Record]) -> list[str]:
    """Keys of the targets that have estimates, in the order of their first appearance."""
    return list(dict.fromkeys(target_key(e) for e in estimates))


def flatten(config: Mapping[str, Any]) -> Flat:
    """Nested mappings as dotted keys; lists stay values."""
    flat: Flat = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": v for inner, v in flatten(value).items()}
        else:
            flat[key] = value
    return flat


def derive_labels(estimates: Sequence[Record], targets: Mapping[str, Record]) -> Labels:
    """Make labels from the configuration fields that differ."""
    target_configs: dict[str, Flat] = {key: flatten(record.config) for key, record in targets.items()}
    for estimate in estimates:
        target_configs.setdefault(target_key(estimate), flatten(estimate.config.get("target", {})))
    kinds: dict[str, str] = {}
    by_kind: dict[str, list[Record]] = defaultdict(list)
    for estimate in estimates:
        kinds[estimate.id] = sampler_kind(estimate)
        by_kind[kinds[estimate.id]].append(estimate)
    samplers: dict[str, str] = {}
    for kind, members in by_kind.items():
        # Fields are compared within a target: nbeta follows the target's n and is no choice of the sampler's.
        samplers |= _label(
            {e.id: flatten(e.config.get("sampler", {})) for e in members},
            groups={e.id: target_key(e) for e in members},
            prefix=kind,
            leave_out=frozenset({"kind", "preconditioner"}),
        )
    return Labels(target=_label(target_configs), sampler=samplers, kind=kinds)


def told_apart(configs: Mapping[str, Flat]) -> dict[str, str]:
    """A label for each configuration, made from the fields that differ: `depth=2 kind=cnn`.

    Configurations that still have the same label are numbered: `depth=2 #2`.
    """
    labels = _labels(configs)
    seen: Counter[str] = Counter()
    for key, label in labels.items():
        seen[label] += 1
        labels[key] = f"{label} #{seen[label]}".strip() if seen[label] > 1 else label
    return labels


def sampler_kind(estimate: Record) -> str:
    """The kind of an estimate's sampler, with its preconditioner: `hmc`, `sgld`, `sgld-rmsprop`."""
    sampler = estimate.config.get("sampler", {})
    kind, preconditioner = sampler.get("kind", "?"), sampler.get("preconditioner")
    return kind if preconditioner in (None, "none") else f"{kind}-{preconditioner}"


def _label(
    configs: Mapping[str, Flat],
    groups: Mapping[str, str] | None = None,
    prefix: str = "",
    leave_out: frozenset[str] = frozenset(),
) -> dict[str, str]:
    labels = _labels(configs, groups, prefix, leave_out)
    return _tell_apart({key: label or key for key, label in labels.items()}, groups or {})


def _labels(
    configs: Mapping[str, Flat],
    groups: Mapping[str, str] | None = None,
    prefix: str = "",
    leave_out: frozenset[str] = frozenset(),
) -> dict[str, str]:
    fields, instead = _with_alternatives(_telling_fields(configs, groups or {}, leave_out), configs)
    shown = _field_names(fields[:MAX_FIELDS])
    labels = {}
    for key, config in configs.items():
        parts = [prefix] if prefix else []
        for field, name in shown.items():
            replaced = any(
                config.get(other) is not None for other in instead.get(field, ()) if other in shown
            )
            if field in config and not (config[field] is None and replaced):
                value = setting(config[field])
                parts.append(value if field.rsplit(".", 1)[-1] in _BARE else f"{name}={value}")
        labels[key] = " ".join(parts)
    return labels


def _telling_fields(
    configs: Mapping[str, Flat], groups: Mapping[str, str], leave_out: frozenset[str]
) -> list[str]:
    """Fields in order; each field splits at least one group that the fields before it did not split."""
    order = dict.fromkeys(field for config in configs.values() for field in config)
    # Stable: sections keep their order, and within one the fields that name a choice come first.
    sections = list(dict.fromkeys(field.rpartition(".")[0] for field in order))
    ordered = sorted(order, key=lambda f: (sections.index(f.rpartition(".")[0]), _rank(f)))
    parts: dict[str, int] = _number({key: groups.get(key, "") for key in configs})
    telling = []
    for field in ordered:
        if field in leave_out:
            continue
        finer = _number(
            {key: (parts[key], frozen(config.get(field, ABSENT))) for key, config in configs.items()}
        )
        if len(set(finer.values())) > len(set(parts.values())):
            telling.append(field)
            parts = finer
    return telling


def _with_alternatives(
    fields: Sequence[str], configs: Mapping[str, Flat]
) -> tuple[list[str], dict[str, list[str]]]:
    """The fields, each followed by its alternatives; and the alternatives of each field.

    A field is an alternative to another field of its section if no configuration gives both, and some
    configurations that leave one of them empty give the other.
    """
    every = dict.fromkeys(field for config in configs.values() for field in config)
    given = {f: {key for key, config in configs.items() if config.get(f) is not None} for f in every}
    joined: list[str] = []
    instead: dict[str, list[str]] = {}
    for field in fields:
        empty = {key for key, config in configs.items() if field in config} - given[field]
        others = [
            other
            for other in every
            if other.rpartition(".")[0] == field.rpartition(".")[0]
            and given[other]
            and not given[other] & given[field]
            and given[other] & empty
        ]
        # One that speaks for all of the empty ones is enough; a field of `fields` is shown anyway.
        full = next((other for other in others if given[other] >= empty), None)
        wanted = [other for other in others if other in fields or other == full]
        for one in (field, *wanted):
            if one not in joined:
                joined.append(one)
        for other in wanted:
            instead.setdefault(field, []).append(other)
            instead.setdefault(other, []).append(field)
    return joined, instead


def _rank(field: str) -> int:
    last = field.rsplit(".", 1)[-1]
    return _FIRST.index(last) if last in _FIRST else len(_FIRST)


def _number(values: Mapping[str, Hashable]) -> dict[str, int]:
    """Give the values small numbers; equal values get equal numbers."""
    numbers: dict[Hashable, int] = {}
    return {key: numbers.setdefault(value, len(numbers)) for key, value in values.items()}


def _field_names(fields: Sequence[str]) -> dict[str, str]:
    """The last part of each dotted key if no other field has the same last part; `target.` is always
    removed."""
    last = [field.rsplit(".", 1)[-1] for field in fields]
    return {
        field: name if last.count(name) == 1 or field == f"target.{name}" else field
        for field, name in zip(fields, last, strict=True)
    }


def _tell_apart(labels: dict[str, str], groups: Mapping[str, str]) -> dict[str, str]:
    """Add digits of the id to labels that several members of one group share."""
    seen: dict[tuple[str, str], list[str]] = defaultdict(list)
    for key, label in labels.items():
        seen[groups.get(key, ""), label].append(key)
    for (_, label), keys in seen.items():
        if len(keys) > 1:
            labels |= {key: f"{label} #{key.rpartition('_')[2][:6]}" for key in keys}
    return labels
