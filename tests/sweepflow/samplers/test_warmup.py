"""The schedule of the window adaptation."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from sweepflow.samplers.kernels import import_blackjax
from sweepflow.samplers.warmup import schedule


@pytest.mark.parametrize("steps", [0, 1, 19, 20, 21, 99, 149, 150, 151, 200, 300, 999, 1000, 1234])
def test_it_is_blackjaxs(steps: int) -> None:
    import_blackjax()
    from blackjax.adaptation.window_adaptation import build_schedule

    slow, last = schedule(steps)
    with jax.numpy_dtype_promotion("standard"):
        theirs = np.asarray(build_schedule(steps)).reshape(steps, 2)
    assert np.array_equal(theirs, np.stack([slow, last], axis=1))
