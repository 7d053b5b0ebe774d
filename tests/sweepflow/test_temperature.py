from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from sweepflow.errors import ConfigError
from sweepflow.estimates.plan import make_plan
from sweepflow.storage.store import Store
from sweepflow.temperature import default_nbeta


def test_the_temperature_of_wbic() -> None:
    assert default_nbeta(1000) == 1000 / math.log(1000)
    assert default_nbeta(3) == 3 / math.log(3) < 3


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_rows_are_refused(n: int) -> None:
    """At n = 1 the formula is infinite, at n = 2 it is above n."""
    with pytest.raises(ConfigError, match=f"got:     n = {n}\n  allowed: at least 3") as caught:
        default_nbeta(n)
    assert caught.value.exit_code == 2


def test_a_plan_refuses_one_row_unless_the_temperature_is_given(
    small: Callable[..., Any], store: Store
) -> None:
    one_row = small().data.model_copy(update={"n_data": 1})
    with pytest.raises(ConfigError, match="so few training rows"):
        make_plan([small(data=one_row)], store)
    assert len(make_plan([small(data=one_row, sampler_changes={"nbeta": 1.0})], store).estimates) == 1


def test_a_target_of_one_row_is_built_and_sampled_at_a_given_temperature(
    small: Callable[..., Any], run_sweep: Callable[..., Any]
) -> None:
    one_row = small().data.model_copy(update={"n_data": 1})
    swept = run_sweep([small(data=one_row, sampler_changes={"nbeta": 1.0})])
    assert [record.status for record in swept.targets] != ["failed"]
    assert swept.estimates[0].figures["n"] == 1
