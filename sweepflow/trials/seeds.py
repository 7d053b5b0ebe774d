"""Seeds of repeats, drawn so that the field accepts them and the program distinguishes them."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np
from pydantic import TypeAdapter, ValidationError

from sweepflow.errors import ConfigError
from sweepflow.schema.bounds import bounds_of, takes_fractions
from sweepflow.schema.fields import Config, Role, roles
from sweepflow.schema.numbers import WHOLE, held

WORD = 2**32
"""Seeds are drawn below this."""
SINGLE = np.dtype(np.float32)
MOST_LOOKED_AT = 10_000
"""Maximum number of seeds that are tried in place of a refused one."""


def draw_seeds(config_type: type[Config], key: str, count: int, design_seed: int) -> list[int]:
    """Return distinct seeds; a longer list begins with the shorter one.

    Each seed is a 32-bit word, if the field accepts the word. Otherwise the word is mapped to a value that
    the field accepts, or to the next free one. Two seeds are distinct if the program sees them as distinct.

    Args:
        config_type: The workload's type of configurations.
        key: Dotted key of its seed.
        count: Number of seeds.
        design_seed: Seed that they are drawn from.

    Raises:
        ConfigError: if the field accepts fewer seeds.
    """
    field = _Field(config_type, key)
    found: dict[object, int] = {}
    for word in np.random.SeedSequence(design_seed).generate_state(count):
        for seed in field.near(int(word)):
            seen = field.seen(seed)
            if seen is not None and seen not in found:
                found[seen] = seed
                break
        else:
            raise ConfigError(
                "there are fewer seeds than repeats",
                got=f"--repeats {count}, where {key} takes {len(found)}",
                allowed=f"seeds {field.words}",
                do="ask for fewer repeats, or let the field take more",
            )
    return list(found.values())


class _Field:
    """The values that a seed's field accepts."""

    def __init__(self, config_type: type[Config], key: str) -> None:
        *sections, name = key.split(".")
        owner: Any = config_type
        for section in sections:
            owner = owner.model_fields[section].annotation
        field = owner.model_fields[name]
        kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        self.takes: TypeAdapter[Any] = TypeAdapter(kind)
        traced = roles(owner)[name] is Role.TRACED
        # A fraction is told apart as the smallest of programs' usual types does.
        self.dtype = None if not traced else SINGLE if takes_fractions(field.annotation) else WHOLE
        self.choices = list(_choices(field.annotation))
        self.low, self.high = 0, (np.iinfo(WHOLE).max if self.dtype == WHOLE else WORD - 1)
        for bound in bounds_of(field):
            for side, off in (("ge", 0), ("gt", 1)):
                if math.isfinite(edge := getattr(bound, side, -math.inf)):
                    self.low = max(self.low, int(edge) + off)
            for side, off in (("le", 0), ("lt", -1)):
                if math.isfinite(edge := getattr(bound, side, math.inf)):
                    self.high = min(self.high, int(edge) + off)

    @property
    def words(self) -> str:
        return ", ".join(map(str, self.choices)) if self.choices else f"from {self.low} to {self.high}"

    def near(self, word: int) -> Iterator[int]:
        """Yield the values that may stand for a word, the word itself first."""
        yield word
        there_are = len(self.choices) or max(0, self.high - self.low + 1)
        for step in range(min(there_are, MOST_LOOKED_AT)):
            place = (word + step) % there_are
            yield self.choices[place] if self.choices else self.low + place

    def seen(self, seed: int) -> object:
        """Return the value that the program sees for a seed; None if the field does not take it unchanged."""
        try:
            if self.takes.validate_python(seed) != seed:
                return None
        except ValidationError:
            return None
        return seed if self.dtype is None else held(seed, self.dtype)


def _choices(annotation: Any) -> Sequence[int]:
    """Return the whole numbers that a type lists, if it lists any."""
    if get_origin(annotation) is Literal:
        return [value for value in get_args(annotation) if isinstance(value, int)]
    if isinstance(annotation, type) and issubclass(annotation, enum.IntEnum):
        return [int(member) for member in annotation]
    return [choice for member in get_args(annotation) for choice in _choices(member)]
