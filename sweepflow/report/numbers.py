"""Numbers as text for people: with only as many digits as their error bar justifies."""

from __future__ import annotations

import json
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sweepflow.fingerprint import frozen

NOTHING = "–"
NOT_SET = "not set"
"""Text for the value of a key that a configuration does not have."""
WORDS = frozenset({"none", "null", "true", "false", NOTHING, NOT_SET})
"""Words that look like a value other than text."""


def number(figures: Mapping[str, Any], name: str) -> float | None:
    """A figure as a finite float; None if it is absent, None, NaN or infinite."""
    value = figures.get(name)
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    return None


def short(value: float | None, digits: int = 3) -> str:
    """Write `value` with `digits` significant digits: 0.0123, 12.3, 1234, 1.2e7, 1e-5."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    # Rounding first: 999.96 to three digits is 1000.
    value = float(f"{value:.{digits}g}") if abs(value) < 10**digits else value
    if 10**digits <= abs(value) < 1e6:
        return f"{value:.0f}"
    return _plain_exponent(f"{value:.{digits}g}")


def with_error(value: float | None, half_width: float | None) -> str:
    """Write `value ± half_width`, both rounded to the second digit of the half-width: 12.35 ± 0.42."""
    if value is None or half_width is None or half_width <= 0:
        return short(value)
    if max(abs(value), half_width) >= 1e6 or half_width < 1e-6:
        return f"{short(value)} ± {short(half_width, 2)}"
    places = min(max(0, 1 - math.floor(math.log10(half_width))), 6)
    return f"{value:.{places}f} ± {half_width:.{places}f}"


def half_width(figures: Mapping[str, Any]) -> float | None:
    """Half the width of an estimate's 95 % interval, in units of λ̂."""
    low, high = number(figures, "llc_low"), number(figures, "llc_high")
    return None if low is None or high is None else (high - low) / 2


def llc_text(figures: Mapping[str, Any]) -> str:
    """λ̂ with half the width of its 95 % interval."""
    return with_error(number(figures, "llc"), half_width(figures))


def setting(value: Any, whole: bool = False) -> str:
    """Write a configuration's value for a label: 1e-5, 32×32, tanh; long paths and hashes are cut.

    Text that looks like another value is in quotes: `none` is no value, `"none"` is text.

    Args:
        value: A plain value.
        whole: Whether to keep all digits and letters, so that different values have different texts.

    >>> setting(None), setting("none"), setting("1e3"), setting("adam")
    ('none', '"none"', '"1e3"', 'adam')
    >>> setting(1.0), setting(1.0, whole=True), setting(0.1000001, whole=True)
    ('1', '1.0', '0.1000001')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and whole:
        return repr(value)
    if isinstance(value, float):
        return _plain_exponent(f"{value:.6g}" if 1e3 <= abs(value) < 1e6 else _few(value))
    if isinstance(value, (list, tuple)):
        # One alone would read as its only item, and a list within as items of the list around it.
        parts = [
            f"[{setting(v, whole)}]" if isinstance(v, (list, tuple)) and len(v) > 1 else setting(v, whole)
            for v in value
        ]
        return "×".join(parts) if len(parts) > 1 else f"[{''.join(parts)}]"
    if value is None:
        return "none"
    text = json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, Mapping) else str(value)
    cut = text if whole or len(text) <= 24 else f"…{text[-23:]}"
    return json.dumps(cut, ensure_ascii=False) if isinstance(value, str) and _misread(text) else cut


def reads_alike(key: str, rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether two different values of a key in the rows have the same short form.

    >>> reads_alike("x", [{"x": 0.1}, {"x": 0.2}, {}]), reads_alike("x", [{"x": 1}, {"x": 1.0}])
    (False, True)
    """
    different = {frozen(row[key]): row[key] for row in rows if key in row}
    return len({setting(value) for value in different.values()}) < len(different)


def _misread(text: str) -> bool:
    """Return whether text looks like a value of another type, or like several values."""
    try:
        float(text)
    except ValueError:
        words = text.lower() in WORDS
        return words or text != text.strip() or "×" in text or text[:1] in ("", "[", "{", '"', "…")
    return True


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 target`, `1,200 targets`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def markdown_table(
    headers: Sequence[str], rows: Iterable[Sequence[str]], numeric: Container[str] = ()
) -> str:
    """A table in Markdown; the columns named in `numeric` are aligned to the right.

    >>> print(markdown_table(["case", "λ̂"], [["a|b", "1.0"]], numeric={"λ̂"}))
    | case | λ̂ |
    | --- | ---: |
    | a\\|b | 1.0 |
    """
    align = ["---:" if header in numeric else "---" for header in headers]
    lines = ([cell.replace("|", "\\|") for cell in line] for line in (headers, align, *rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def points(values: Iterable[float], digits: int = 5) -> list[float | None]:
    """Numbers as JSON for a chart: with few digits, and None for numbers that are not finite."""
    numbers = values.tolist() if isinstance(values, np.ndarray) else values
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in numbers]


def _few(value: float) -> str:
    # 0.0001 and 3e-05 beside each other are hard to compare: below a thousandth always an exponent.
    return f"{value:.4g}" if value == 0 or abs(value) >= 1e-3 else _trimmed(f"{value:.3e}")


def _trimmed(text: str) -> str:
    mantissa, _, exponent = text.partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{exponent}"


def _plain_exponent(text: str) -> str:
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa
