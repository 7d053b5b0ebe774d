"""The closed forms agree with independent ones, with each other, and with their limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, special

from sweepflow.errors import ConfigError
from sweepflow.estimates.theory import (
    deep_linear_llc,
    localised_normal_crossing_llc,
    normal_crossing_llc,
    quadratic_llc,
)

eigenvalues = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8)
positive = st.floats(1e-2, 1e6)


@st.composite
def shapes(draw: st.DrawFn, max_size: int = 6) -> tuple[list[int], int]:
    widths = draw(st.lists(st.integers(1, 12), min_size=2, max_size=max_size))
    return widths, draw(st.integers(0, min(widths)))


# Quadratics.


@given(eigenvalues, positive, positive)
def test_a_quadratic_is_the_mean_energy_of_its_gaussian(h: list[float], nbeta: float, gamma: float) -> None:
    variances = 1 / (nbeta * np.array(h) + gamma)
    assert quadratic_llc(h, nbeta, gamma) == pytest.approx(nbeta * np.sum(np.array(h) * variances) / 2)


@given(eigenvalues, positive)
def test_without_localisation_a_quadratic_has_half_its_rank(h: list[float], nbeta: float) -> None:
    assert quadratic_llc(h, nbeta, 0) == pytest.approx(len(h) / 2)
    assert quadratic_llc([*h, 0.0], nbeta, 1e-9) == pytest.approx(len(h) / 2, rel=1e-3)


@given(eigenvalues, positive, positive)
def test_localisation_only_takes_away(h: list[float], nbeta: float, gamma: float) -> None:
    assert 0 < quadratic_llc(h, nbeta, 2 * gamma) < quadratic_llc(h, nbeta, gamma) < len(h) / 2


# Normal crossings.


def test_a_normal_crossing_takes_its_largest_exponent() -> None:
    assert normal_crossing_llc((1, 2)).value == 1 / 4
    assert normal_crossing_llc((1, 2)).multiplicity == 1
    assert normal_crossing_llc((3, 1, 3)) == normal_crossing_llc((1, 3, 3))
    assert normal_crossing_llc((3, 1, 3)).value == 1 / 6
    assert normal_crossing_llc((3, 1, 3)).multiplicity == 2


@pytest.mark.parametrize(("nbeta", "gamma"), [(10, 1), (1e3, 100), (1e6, 1), (1e9, 0.01)])
def test_one_square_is_a_quadratic(nbeta: float, gamma: float) -> None:
    assert localised_normal_crossing_llc((1,), nbeta, gamma) == pytest.approx(
        quadratic_llc([2.0], nbeta, gamma), rel=1e-8
    )


@pytest.mark.parametrize(("nbeta", "gamma"), [(10, 1), (1e3, 1), (1e4, 10)])
def test_a_quartic_agrees_with_adaptive_quadrature(nbeta: float, gamma: float) -> None:
    def moment(power: int) -> float:
        scale = nbeta**-0.25
        return integrate.quad(
            lambda u: (u**4) ** power * math.exp(-(u**4) - gamma / 2 * (scale * u) ** 2), 0, 20
        )[0]

    assert localised_normal_crossing_llc((2,), nbeta, gamma) == pytest.approx(moment(1) / moment(0), rel=1e-7)


@pytest.mark.parametrize(("nbeta", "gamma"), [(100, 1), (1e4, 1), (1e5, 7)])
def test_a_product_of_squares_agrees_with_its_bessel_function(nbeta: float, gamma: float) -> None:
    # Integrating over w2 first, then over w1, gives Z ~ nbeta^(-1/2) exp(t) K_0(t) with t = gamma^2 / (8
    # nbeta); the expectation is -d log Z / d log nbeta.
    t = gamma**2 / (8 * nbeta)
    exact = 0.5 + t * (1 - special.k1e(t) / special.k0e(t))
    assert localised_normal_crossing_llc((1, 1), nbeta, gamma) == pytest.approx(exact, rel=1e-7)


@pytest.mark.parametrize("exponents", [(1,), (2,), (1, 2), (2, 3), (1, 1), (2, 2), (3, 3)])
def test_at_large_nbeta_lambda_and_its_multiplicity_emerge(exponents: tuple[int, ...]) -> None:
    limit, nbeta = normal_crossing_llc(exponents), 1e40
    found = localised_normal_crossing_llc(exponents, nbeta, 1.0)
    assert found == pytest.approx(limit.value - (limit.multiplicity - 1) / math.log(nbeta), abs=2e-3)


# Deep linear networks.


@given(shapes())
def test_lambda_is_half_the_codimension_of_the_true_set(shape: tuple[list[int], int]) -> None:
    """Lehalleur and Rimanyi 2024 (Geometry of the fibers of the multiplication map of deep linear neural
    networks): the most singular point lies on a component of the least codimension, and lambda is half of
    that. The codimension is found here by counting equations, layer by layer."""
    widths, rank = shape
    assert deep_linear_llc(widths, rank).value == pytest.approx(_least_codimension(widths, rank) / 2)


@given(shapes(max_size=5))
def test_the_set_of_layers_is_the_one_of_the_theorem(shape: tuple[list[int], int]) -> None:
    widths, rank = shape
    values = [_lambda_of(widths, rank, chosen) for chosen in _sets(widths, rank)]
    assert len(values) >= 1
    assert values == pytest.approx([deep_linear_llc(widths, rank).value] * len(values))


@given(shapes())
def test_one_layer_is_a_regression(shape: tuple[list[int], int]) -> None:
    (first, *_, last), rank = shape
    found = deep_linear_llc((first, last), rank)
    assert found.value == first * last / 2
    assert found.multiplicity == 1


@given(st.integers(1, 15), st.integers(1, 15), st.integers(1, 15), st.data())
def test_two_layers_are_reduced_rank_regression(
    fan_in: int, hidden: int, out: int, data: st.DataObject
) -> None:
    rank = data.draw(st.integers(0, min(fan_in, hidden, out)))
    value, multiplicity = _reduced_rank_regression(fan_in, hidden, out, rank)
    found = deep_linear_llc((fan_in, hidden, out), rank)
    assert found.value == pytest.approx(value)
    assert found.multiplicity == multiplicity


@given(shapes(), st.randoms())
def test_the_order_of_hidden_layers_is_of_no_matter(shape: tuple[list[int], int], random: object) -> None:
    (first, *hidden, last), rank = shape
    shuffled = list(hidden)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert deep_linear_llc((first, *shuffled, last), rank) == deep_linear_llc((first, *hidden, last), rank)
    assert deep_linear_llc((last, *hidden, first), rank) == deep_linear_llc((first, *hidden, last), rank)


@given(shapes())
def test_a_bottleneck_of_full_rank_leaves_the_rank_manifold(shape: tuple[list[int], int]) -> None:
    widths, _ = shape
    rank = min(widths)
    expected = rank * (widths[0] + widths[-1] - rank) / 2
    assert deep_linear_llc(widths, rank).value == pytest.approx(expected)


@given(shapes())
def test_more_rank_is_less_singular(shape: tuple[list[int], int]) -> None:
    widths, rank = shape
    values = [deep_linear_llc(widths, r).value for r in range(rank + 1)]
    assert values == sorted(values)
    assert values[-1] <= widths[0] * widths[-1] / 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: quadratic_llc([], 1, 1),
        lambda: quadratic_llc([-1.0], 1, 1),
        lambda: quadratic_llc([math.nan], 1, 1),
        lambda: quadratic_llc([1.0, 0.0], 1, 0),
        lambda: quadratic_llc([1.0], 0, 1),
        lambda: quadratic_llc([1.0], 1, -1),
        lambda: normal_crossing_llc(()),
        lambda: normal_crossing_llc((1, 0)),
        lambda: normal_crossing_llc((1.5,)),  # type: ignore[arg-type]
        lambda: localised_normal_crossing_llc((1, 1, 1), 10, 1),
        lambda: localised_normal_crossing_llc((1, 1), 10, 0),
        lambda: localised_normal_crossing_llc((1, 1), math.inf, 1),
        lambda: deep_linear_llc((5,), 1),
        lambda: deep_linear_llc((5, 0, 5), 0),
        lambda: deep_linear_llc((5, 3, 5), 4),
        lambda: deep_linear_llc((5, 3, 5), -1),
    ],
)
def test_impossible_input_is_refused(call: object) -> None:
    with pytest.raises(ConfigError):
        call()  # type: ignore[operator]


def _least_codimension(widths: Sequence[int], rank: int) -> int:
    """Parameters fixed by the true set's largest component, minimised over the ranks of W_s ... W_1.

    That W_s maps a given subspace of dimension p onto one of dimension q in R^H takes (p - q)(H - q)
    equations, and a product of rank r is then one of a manifold of dimension r (H_1 + H_{L+1} - r).
    """
    least = {widths[0]: 0}
    for width in widths[1:]:
        options: dict[int, int] = {}
        for before, taken in least.items():
            for after in range(rank, min(before, width) + 1):
                total = taken + (before - after) * (width - after)
                options[after] = min(options.get(after, total), total)
        least = options
    return least[rank] + rank * (widths[0] + widths[-1] - rank)


def _sets(widths: Sequence[int], rank: int) -> list[tuple[int, ...]]:
    """All sets of layers that the theorem's three conditions admit, by trying every one."""
    excess = [width - rank for width in widths]
    admitted = []
    for size in range(2, len(widths) + 1):
        for chosen in itertools.combinations(range(len(widths)), size):
            inside = [excess[i] for i in chosen]
            outside = [excess[i] for i in range(len(widths)) if i not in chosen]
            count = size - 1
            if sum(inside) >= count * max(inside) and (
                not outside or (max(inside) < min(outside) and sum(inside) < count * min(outside))
            ):
                admitted.append(chosen)
    return admitted


def _lambda_of(widths: Sequence[int], rank: int, chosen: Sequence[int]) -> float:
    inside, count = [widths[i] - rank for i in chosen], len(chosen) - 1
    total = sum(inside)
    a = total - (math.ceil(total / count) - 1) * count
    return (
        (-(rank**2) + rank * (widths[0] + widths[-1])) / 2
        + a * (count - a) / (4 * count)
        - (count - 1) / (4 * count) * total**2
        + sum(x * y for x, y in itertools.combinations(inside, 2)) / 2
    )


def _reduced_rank_regression(fan_in: int, hidden: int, out: int, rank: int) -> tuple[float, int]:
    """Aoyagi and Watanabe 2005 (Stochastic complexities of reduced rank regression in Bayesian estimation),
    theorem 1."""
    m, h, n, r = fan_in, hidden, out, rank
    if m + h < n + r:
        return (h * m - h * r + n * r) / 2, 1
    if n + h < m + r:
        return (h * n - h * r + m * r) / 2, 1
    if m + n < h + r:
        return m * n / 2, 1
    even = -((h + r) ** 2) - m**2 - n**2 + 2 * (h + r) * m + 2 * (h + r) * n + 2 * m * n
    return (even / 8, 1) if (m + h + n + r) % 2 == 0 else ((even + 1) / 8, 2)
