"""Distributions in Hydra's override grammar.

learning_rate=tag(log, interval(1e-4, 1e-1))     log_uniform
dropout=interval(0, 0.5)                         uniform
epochs=int(interval(1, 9))                       int_uniform, both ends included
batch_size=tag(log, int(interval(16, 512)))      log_int_uniform, both ends included
optimizer=choice(sgd, adam)                      categorical
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, IntervalSweep, Override, Sweep, ValueType

from sweepflow.errors import ConfigError
from sweepflow.space.constructors import categorical, int_uniform, log_int_uniform, log_uniform, uniform
from sweepflow.space.distribution import Distribution

LOG = "log"


def distribution_of(override: Override) -> Distribution | None:
    """The distribution that a parsed override gives its key.

    Returns:
        The distribution; None for an override that gives none: a value, or a list of values to take in turn
        (`a,b`, `range`).

    Raises:
        ConfigError: for a tag other than `log`, or an interval that gives no valid distribution.
    """
    value: Any = override.value()
    if isinstance(value, IntervalSweep):
        distribution = _of_interval(value, override)
    elif isinstance(value, ChoiceSweep) and not value.simple_form:
        _refuse_tags(value, override, allowed=())
        # Hydra's own conversion, which unquotes what is quoted.
        values = replace(override, value_type=ValueType.ELEMENT, _value=value.list).value()
        distribution = _named(override, categorical, values)
    else:
        distribution = None
    return distribution


def _of_interval(interval: IntervalSweep, override: Override) -> Distribution:
    _refuse_tags(interval, override, allowed=(LOG,))
    # interval() makes both ends floats, int(interval()) ints.
    whole = isinstance(interval.start, int)
    if LOG in interval.tags:
        kind: Any = log_int_uniform if whole else log_uniform
    else:
        kind = int_uniform if whole else uniform
    return _named(override, kind, interval.start, interval.end)


def _named(override: Override, constructor: Any, *arguments: Any) -> Distribution:
    """Call a constructor; its error is raised again with the override as it was typed."""
    try:
        return constructor(*arguments)
    except ConfigError as error:
        raise ConfigError(
            f"{override.key_or_group}: {error.what}",
            got=override.input_line or error.got,
            allowed=error.allowed,
            do=error.do,
        ) from None


def _refuse_tags(sweep: Sweep, override: Override, allowed: tuple[str, ...]) -> None:
    unknown = sorted(sweep.tags - set(allowed))
    if unknown:
        raise ConfigError(
            f"{override.key_or_group}: a tag is not known here: {', '.join(unknown)}",
            got=override.input_line,
            allowed="tag(log, interval(LOW, HIGH))" if allowed else "no tags on a choice",
            do="remove the tag",
        )
