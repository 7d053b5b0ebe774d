"""What speaks against a minimum, in units of lambda-hat."""

from __future__ import annotations

import numpy as np
import pytest

from sweepflow.targets.convergence import complaints

FLAT = np.ones(100)


def test_a_minimum_has_none() -> None:
    assert complaints(FLAT, grad_norm=1e-9, nbeta=100.0) == ()
    assert complaints(np.zeros(0), grad_norm=0.0, nbeta=100.0) == ()


def test_a_falling_loss() -> None:
    falling = np.linspace(2.0, 1.0, 101)  # 0.1 over its last tenth
    (complaint,) = complaints(falling, grad_norm=0.0, nbeta=10.0)
    assert complaint.startswith("loss still falling: by 0.9")
    assert complaints(falling, grad_norm=0.0, nbeta=4.0) == ()
    assert complaints(falling[::-1], grad_norm=0.0, nbeta=10.0) == (), "it rises"


def test_what_fell_before_the_last_tenth_is_no_complaint() -> None:
    assert complaints(np.concatenate([np.linspace(9.0, 1.0, 50), FLAT]), 0.0, 1000.0) == ()


@pytest.mark.parametrize("nbeta", [10.0, 1000.0])
def test_a_large_gradient(nbeta: float) -> None:
    limit = 1 / nbeta
    assert complaints(FLAT, grad_norm=0.99 * limit, nbeta=nbeta) == ()
    (complaint,) = complaints(FLAT, grad_norm=1.01 * limit, nbeta=nbeta)
    assert complaint == f"gradient norm {1.01 * limit:.2g} > {limit:.2g} at w0"
