"""Completion of words by a shell, which waits for them: neither JAX nor Prefect is imported."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import typer


def overrides(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the overrides that the word at the cursor may become.

    They begin where the shell has cut the word: bash hands `sampler=sg` over as three words, and replaces the
    last one.
    """
    from sweepflow.compose.outline import outline

    typed = [*(ctx.params.get("overrides") or ()), *(["="] if _is_at_equals_sign() else []), incomplete]
    *others, word = "\n".join(typed).replace("\n=\n", "=").split("\n")
    primary = "sweep" if ctx.info_name in ("sweep", "samples", "train") else "llc"
    found = outline(primary, others, ctx.params.get("config_dir"))
    begin = len(word) - len(incomplete)
    return [override[begin:] for override in _continued(word, {**found.groups, **found.keys})]


def _is_at_equals_sign() -> bool:
    """Return whether bash takes a `=` for the word at the cursor. Typer does not pass it on."""
    words, place = os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD", "0"))
    return place < len(words) and words[place] == "="


def _continued(word: str, known: Mapping[str, list[str]]) -> list[str]:
    """Return the overrides that begin with a word, given the values of each group and key.

    Keys of sections are left out until there is a dot. A shell adds a space behind a word that is the only
    one, so `key=` is never alone.
    """
    key, equals, values = word.partition("=")
    if not equals:
        names = [name for name in known if name.startswith(word) and ("." in word or "." not in name)]
        if len(names) != 1:
            return [f"{name}=" for name in names]
        (key,) = names
        return [f"{key}=", *(f"{key}={value}" for value in known[key] or ["..."])]
    before, comma, _ = values.rpartition(",")
    given = before.split(",")
    return [f"{key}={before}{comma}{value}" for value in known.get(key, ()) if value not in given]


def unfinished_runs(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Return the ids of runs that have not completed, as `sweepflow runs` shows them, the newest first."""
    from sweepflow.flows.runs.record import runs, short_ids
    from sweepflow.storage.store import Store

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # `sweepflow runs` says what is wrong with a file
        known = runs(Store(_store(ctx)))
    short = short_ids(record.flow_run_id for record in known)
    return [
        (short[record.flow_run_id], f"{record.flow} {record.name}, {record.state}")
        for record in reversed(known)
        if record.state != "completed"
    ]


def record_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the ids of records that begin with a word, from the names of their files alone."""
    from sweepflow.storage.paths import FOLDERS, StorePaths

    paths = StorePaths(_store(ctx))
    kinds = [prefix for prefix in FOLDERS if f"{prefix}_".startswith(incomplete[:4])]
    pattern = f"{incomplete[4:6]:?<2}/{incomplete}*.json"
    return sorted(file.stem for prefix in kinds for file in paths.folder(prefix).glob(pattern))


def sweep_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of hyperparameter sweeps, which have a manifest."""
    return sorted(file.parent.name for file in _store(ctx).glob("sweeps/*/manifest.jsonl"))


def _store(ctx: typer.Context) -> Path:
    from sweepflow.schema.runner import default_store

    return Path(ctx.params.get("store") or default_store())
