"""The check that training reached a minimum, in words: an LLC at a point that is not a minimum is not an
LLC."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

TAIL = 0.1
"""Share of the training curve that is examined."""
TOLERANCE = 0.5
"""Tolerated distance to a minimum, in units of lambda-hat: less than error bars usually are."""


def complaints(loss_curve: Float[np.ndarray, " checks"], grad_norm: float, nbeta: float) -> tuple[str, ...]:
    """Return the reasons against w0 being a minimum; empty if there are none.

    Both measures are in units of lambda-hat. A loss that falls by D over the tail of training would
    lower lambda-hat by nbeta D. The posterior around w0, localised with gamma = 1, runs down a slope g by
    (nbeta g)^2 / 2 if nothing curves upwards.

    Args:
        loss_curve: L_n at evenly spaced checks of training; may be empty.
        grad_norm: Norm of the gradient of L_n at w0.
        nbeta: n / log n.
    """
    found = []
    tail = loss_curve[-max(2, round(TAIL * len(loss_curve))) :]
    if len(tail) >= 2:
        fall = nbeta * (tail[0] - tail[-1])
        if fall > TOLERANCE:
            found.append(f"loss still falling: by {fall:.2g} in units of λ̂ over the last tenth of training")
    limit = np.sqrt(2 * TOLERANCE) / nbeta
    if not grad_norm <= limit:  # NaN is no minimum either
        found.append(f"gradient norm {grad_norm:.2g} > {limit:.2g} at w0")
    return tuple(found)
