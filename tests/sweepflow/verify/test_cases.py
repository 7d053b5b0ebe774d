"""The cases cover what `sweepflow verify` promises, and can be planned as one sweep."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from sweepflow import data
from sweepflow.estimates.plan import make_plan
from sweepflow.estimates.theory import deep_linear_llc
from sweepflow.models.mlp import num_params
from sweepflow.schema.runner import LocalRunner
from sweepflow.storage.store import Store
from sweepflow.temperature import default_nbeta
from sweepflow.verify import cases, crossings
from sweepflow.verify.deep_linear import SHAPES
from sweepflow.verify.quadratics import GAMMAS, REGRESSION, hessian_eigenvalues

KINDS = ("sgld", "sgnht", "hmc", "nuts", "mclmc")


def test_every_sampler_meets_both_quadratics_at_three_gammas() -> None:
    for problem in ("quadratic", "linear regression"):
        met = {(c.sampler, c.config.sampler.gamma) for c in cases() if c.name.startswith(problem)}
        assert met >= {(s, g) for s in KINDS for g in GAMMAS}
    assert len(set(GAMMAS)) >= 3


def test_tolerances_are_the_promised_ones() -> None:
    for case in cases():
        sampler, tolerance = case.config.sampler, case.tolerance
        if case.name.startswith(("quadratic", "linear")):
            assert tolerance.relative == (0.1 if sampler.ess is None else 0.02)
            assert tolerance.standard_errors == (4.0 if sampler.ess is None else 3.0)
        depth = len(getattr(case.config.data, "widths", ()))
        if case.name.startswith("normal crossing") and not case.name.endswith("by hand"):
            assert tolerance == crossings.DEFAULTS
        else:
            assert tolerance.relative <= 0.1
            assert not tolerance.or_flagged or depth > 6


def test_what_is_solved_exactly_is_met_by_samplers_at_their_defaults() -> None:
    """But for the posterior, and for how exact the long ones are to be."""
    choices = {"nbeta", "gamma", "ess", "max_gradients"}
    for case in cases():
        if case.name.startswith(("quadratic", "linear", "deep")) and case.sampler in KINDS:
            sampler = case.config.sampler
            default = type(sampler)()
            changed = {
                name
                for name in type(sampler).model_fields
                if getattr(sampler, name) != getattr(default, name)
            }
            assert changed <= choices, case.name
            if "ess" in changed:
                assert case.name.startswith("deep") or case.name.endswith(f"ess={sampler.ess:g}")


def test_deep_linear_shapes_are_many_and_mostly_rank_deficient() -> None:
    sizes = [num_params(widths, bias=False) for widths, _ in SHAPES]
    assert len(set(SHAPES)) >= 12
    assert min(sizes) < 100 and max(sizes) > 2000
    assert sum(rank < min(widths) for widths, rank in SHAPES) >= 12
    assert max(len(widths) for widths, _ in SHAPES) >= 5
    by_shape = {c.config.data: c for c in cases() if c.config.data.kind == "deep_linear"}
    for config, case in by_shape.items():
        assert case.truth == deep_linear_llc(config.widths, config.rank).value


def test_a_multiplicity_is_named_where_it_lowers_the_estimate() -> None:
    for case in cases():
        config = case.config.data
        if config.kind == "deep_linear" and deep_linear_llc(config.widths, config.rank).multiplicity > 1:
            assert "(m−1)/log nβ" in case.note


def test_white_inputs_are_what_the_closed_form_is_for() -> None:
    for case in cases():
        if case.config.data.kind == "deep_linear":
            x = data.load(case.config.data).x
            np.testing.assert_allclose(x.T @ x / len(x), np.eye(x.shape[1]), atol=1e-10)


def test_the_regression_is_at_the_default_temperature() -> None:
    x = data.load(REGRESSION).x
    # The eigenvalues sum to the trace of X^T X / n.
    trace = np.mean(np.sum(x * x, axis=1))
    np.testing.assert_allclose(np.sum(hessian_eigenvalues(REGRESSION)), trace)
    nbetas = {c.config.sampler.nbeta for c in cases() if c.config.data == REGRESSION}
    assert nbetas == {default_nbeta(REGRESSION.n_data)}


def test_all_cases_are_one_sweep_with_defaults_for_where_it_runs(store: Store) -> None:
    everything, quick = cases(), cases(quick=True)
    assert set(quick) < set(everything)
    assert {c.config.data.kind for c in quick} >= {"quadratic", "normal_crossing", "deep_linear"}
    assert all(c.config.runner == LocalRunner() and c.config.name is None for c in everything)
    plan = make_plan([case.config for case in everything], store)
    assert len(plan.estimates) == len(everything)
    # One program serves all three gammas: that is what keeps the command short.
    assert len(plan.batches_of("llc")) <= len(everything) - 2 * 4 * 2


def test_the_documentation_tells_of_every_case() -> None:
    """Its table is what the command wrote: a case more or less is to be run again."""
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "verification.md").read_text()
    rows = {
        tuple(cell.strip() for cell in line.split("|")[1:3]) for line in page.splitlines() if "✓ |" in line
    }
    assert {(case.name, case.sampler) for case in cases()} == rows
