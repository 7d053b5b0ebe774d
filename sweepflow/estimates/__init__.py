"""The local learning coefficient: estimator, diagnostics, and what is known in closed form."""
