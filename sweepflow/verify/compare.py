"""Comparison of an estimate with the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sweepflow.report.numbers import number
from sweepflow.storage.record import Record
from sweepflow.verify.case import Case


@dataclass(frozen=True)
class Comparison:
    """A case with its outcome.

    Attributes:
        case: The case.
        llc: lambda-hat; None if there is none.
        mcse: Monte Carlo standard error of lambda-hat; None if it could not be computed.
        error: (lambda-hat - truth) / truth.
        within: Whether every bound of the case's tolerance holds, or the estimate is flagged and the case
            accepts that. A bound in standard errors does not hold if there is no standard error.
        note: The case's note, and the reasons that the estimate's own verdict gives against the estimate.
    """

    case: Case
    llc: float | None
    mcse: float | None
    error: float | None
    within: bool
    note: str

    @property
    def standard_errors(self) -> float | None:
        """The error in units of the estimate's own standard error."""
        if self.llc is None or not self.mcse:
            return None
        return (self.llc - self.case.truth) / self.mcse


def compare(case: Case, record: Record) -> Comparison:
    """Compare the record of a case's estimate with its truth."""
    llc, mcse = number(record.figures, "llc"), number(record.figures, "llc_mcse")
    error = None if llc is None else (llc - case.truth) / case.truth
    note = "; ".join(filter(None, [case.note, *(f"{record.status}: {r}" for r in record.reasons)]))
    comparison = Comparison(case, llc, mcse, error, False, note)
    within = _within(comparison) or (case.tolerance.or_flagged and record.status == "flagged")
    return Comparison(case, llc, mcse, error, within, note)


def _within(comparison: Comparison) -> bool:
    tolerance, error = comparison.case.tolerance, comparison.error
    if error is None or not math.isfinite(error) or abs(error) > tolerance.relative:
        return False
    if tolerance.standard_errors is None:
        return True
    z = comparison.standard_errors
    return z is not None and abs(z) <= tolerance.standard_errors
