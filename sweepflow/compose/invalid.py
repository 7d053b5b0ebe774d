"""A pydantic error in the words of the override that caused it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sweepflow.compose.allowed import (
    TAGS,
    allowed_values,
    choices,
    example,
    kind_of,
    nullable,
    placeholder,
    sections,
    tag_of,
    typed,
)
from sweepflow.compose.axes import Axis
from sweepflow.compose.origins import A_FILE, Origins, Source
from sweepflow.errors import ConfigError, nearest
from sweepflow.words import shortened

MAX_NAMED = 80
"""Most characters of a value in the first line of an error; the next line shows more of the value."""


def explain(
    error: ValidationError,
    root: type[BaseModel],
    axes: Sequence[Axis],
    drawn: Mapping[str, Source] | None = None,
) -> ConfigError:
    """Convert the first complaint of a validation error to one readable error.

    Args:
        error: Pydantic's error for one configuration.
        root: The configuration's model.
        axes: The overrides that were typed, to distinguish them from values in files.
        drawn: Sources of the values that were set after Hydra composed, by dotted key.

    Returns:
        An error with all four parts: the problem, the given value, the allowed values, the advice.
    """
    origins = Origins(axes, drawn or {})
    first, *others = error.errors()
    key, owner, field = _locate(first["loc"], root)
    more = {_locate(other["loc"], root)[0] for other in others} - {key}
    count = f" (and {len(more)} more {'key' if len(more) == 1 else 'keys'})" if more else ""
    match first["type"]:
        case "extra_forbidden":
            _, _, section = _locate(first["loc"][:-1], root)
            return _unknown(key, owner, section, first["input"], origins, count)
        case "missing":
            return _missing(key, field, count)
        case "union_tag_invalid" | "union_tag_not_found":
            return _unknown_kind(key, field, first, origins, count)
        case "value_error":
            return _at_odds(key, owner, field, first, origins, count)
    return _refused(key, field, first, origins, count)


def _unknown(
    key: str,
    owner: type[BaseModel],
    section: FieldInfo | None,
    value: object,
    origins: Origins,
    count: str,
) -> ConfigError:
    prefix, _, name = key.rpartition(".")
    dotted = {field: f"{prefix}.{field}" if prefix else field for field in owner.model_fields}
    kind, tag = kind_of(owner), f"{prefix}.{tag_of(owner)}".removeprefix(".")
    where = f" where {tag}={kind}" if kind else ""
    others = [] if section is None else sections(section.annotation)
    homes = [str(kind_of(other)) for other in others if name in other.model_fields]
    match = nearest(name, dotted)
    if homes:
        do = f"leave it out, or choose {' or '.join(f'{tag}={home}' for home in homes)}, which has it"
    elif match:
        do = f"did you mean {dotted[match]!r}?"
    else:
        do = "take one of the keys above, or leave it out"
    return ConfigError(
        f"there is no key {key!r}{where}{count}",
        got=origins.given(key, value),
        allowed=", ".join(dotted.values()),
        do=do,
    )


def _missing(key: str, field: FieldInfo | None, count: str) -> ConfigError:
    allowed = None if field is None else allowed_values(field)
    shown = None if field is None else example(field)
    return ConfigError(
        f"{key} has to be given{count}",
        got=f"no {key}",
        allowed=allowed,
        do=f"add {key}={shown or ('...' if field is None else placeholder(field))}",
    )


def _unknown_kind(
    key: str, field: FieldInfo | None, error: ErrorDetails, origins: Origins, count: str
) -> ConfigError:
    models = [] if field is None else sections(field.annotation)
    known = [str(kind_of(model)) for model in models]
    chooses = f"{key}.{tag_of(models[0]) if models else 'kind'}"
    allowed = f"one of {', '.join(known)}"
    if error["type"] == "union_tag_not_found":
        return ConfigError(
            f"{chooses} has to be given{count}",
            got=origins.given(key, error["input"]),
            allowed=allowed,
            do=f"add {chooses}=..., or choose a group with {key}=...",
        )
    tag = error.get("ctx", {}).get("tag")
    match = nearest(str(tag), known)
    return ConfigError(
        f"{chooses} is not known{count}",
        got=origins.given(chooses, tag),
        allowed=allowed,
        do=f"did you mean '{chooses}={match}'?" if match else "take one of the kinds above",
    )


def _at_odds(
    key: str,
    owner: type[BaseModel],
    field: FieldInfo | None,
    error: ErrorDetails,
    origins: Origins,
    count: str,
) -> ConfigError:
    """An error for a complaint of one of the schema's own validators: mostly for keys that do not fit
    together."""
    message = error["msg"].removeprefix("Value error, ")
    section = error["input"]
    leaf = field is not None and not sections(field.annotation)
    if leaf or not isinstance(section, Mapping):
        return _refused_by_validator(key, field, message, section, origins, count)
    words = set(re.findall(r"\w+", message))
    dotted = {name: f"{key}.{name}" if key else name for name in owner.model_fields}
    named = [name for name in dotted if name in words] or [
        n for n in dotted if n in section and n not in TAGS
    ]
    typed_here = [axis for axis in origins.axes if axis.key == key or axis.key.startswith(f"{key}.")]
    exact = {axis.key for axis in typed_here if axis.distribution is None}
    elsewhere: dict[str, list[str]] = {}
    for name in named:
        source = origins.drawn.get(dotted[name], A_FILE)
        if section.get(name) is not None and (source != A_FILE or dotted[name] not in exact):
            elsewhere.setdefault(source.words, []).append(f"{dotted[name]}={typed(section[name])}")
    said = [" ".join(axis.shown for axis in typed_here if axis.distribution is None)] if exact else []
    said += [f"{' '.join(values)}, {words}" for words, values in elsewhere.items()]
    got = ", and ".join(said)
    keys = [dotted[name] for name in named]
    together = len(keys) > 1
    empty = "; null empties it" if any(nullable(owner.model_fields[name]) for name in named) else ""
    return ConfigError(
        f"{key}: {_lowered(message)}{count}",
        got=got or key,
        allowed=f"values of {', '.join(keys)} that go together"
        if together
        else f"a {keys[0]} that fits {key}",
        do=f"change {' or '.join(keys)}{empty}",
    )


def _refused_by_validator(
    key: str, field: FieldInfo | None, message: str, value: object, origins: Origins, count: str
) -> ConfigError:
    """An error about one field: about the whole value, or about a free key within it that the message
    names."""
    inner = re.match(rf"{re.escape(key)}\.[^\s:=]+", message)
    what = _lowered(message) if message.startswith(key) else f"{key}: {_lowered(message)}"
    if inner is None:
        return ConfigError(
            f"{what}{count}",
            got=origins.given(key, value),
            allowed=None if field is None else allowed_values(field),
            do=f"change {key}",
        )
    inside = value
    for part in inner[0].removeprefix(f"{key}.").split("."):
        inside = inside.get(part) if isinstance(inside, Mapping) else None
    infinite = isinstance(inside, float) and not math.isfinite(inside)
    return ConfigError(
        f"{what}{count}",
        got=origins.given(inner[0], inside),
        allowed="finite numbers, text, true, false, null, and lists of them",
        do=f"quote it as text: {inner[0]}=\"'{inside}'\"" if infinite else f"give {inner[0]} another value",
    )


def _refused(
    key: str, field: FieldInfo | None, error: ErrorDetails, origins: Origins, count: str
) -> ConfigError:
    """An error for a value that is not of the field's type, or is out of its range."""
    value = error["input"]
    within = isinstance(error["loc"][-1], int)  # an entry of a list
    names = [] if field is None else choices(field)
    match = nearest(value, names) if isinstance(value, str) else None
    shown = None if field is None else example(field, None if within else value)
    got = origins.given(key, value)
    allowed = _lowered(error["msg"]) if field is None else allowed_values(field)
    if error["type"] == "finite_number":
        allowed = allowed.replace("a number", "a finite number")
    if match:
        do = f"did you mean '{key}={match}'?"
    elif shown is None:
        do = f"give {key} another value"
    else:
        do = f"write it like {key}={shown}"
    source = origins.source(key)
    if source is not None:
        instead = f"{key}={match or shown or '...'}"
        do = f"mend {source.mend}" + (f", or override it with {instead}" if source.yields else "")
    return ConfigError(
        f"{'an entry of ' * within}{key} cannot be {_named(value)}{count}", got=got, allowed=allowed, do=do
    )


def _named(value: object) -> str:
    if isinstance(value, str):
        return repr(value) if value else "empty"
    return shortened(typed(value), MAX_NAMED)


def _lowered(message: str) -> str:
    return message[:1].lower() + message[1:]


def _locate(
    location: tuple[int | str, ...], root: type[BaseModel]
) -> tuple[str, type[BaseModel], FieldInfo | None]:
    """Return the dotted key of an error, without pydantic's union tags, its model, and its field.

    For an error of a whole section these are the section's own model and the field that contains the section.
    """
    owner, parts = root, []
    found: FieldInfo | None = None
    rest = list(location)
    while rest:
        part = str(rest.pop(0))
        parts.append(part)
        found = owner.model_fields.get(part)
        if found is None:
            break
        models = sections(found.annotation)
        if rest and len(models) > 1:
            tag = rest.pop(0)
            models = [model for model in models if kind_of(model) == tag]
        if len(models) != 1:
            break  # a leaf; what follows are positions within its value
        owner = models[0]
    return ".".join(parts), owner, found
