"""SLURM's reason codes: which pass by waiting."""

from __future__ import annotations

import pytest

from sweepflow.flows.runners.reasons import hopeless, in_words

STAY = [
    *("InvalidAccount", "InvalidQOS", "PartitionTimeLimit", "PartitionNodeLimit", "BadConstraints"),
    *(
        "PartitionDown",
        "PartitionInactive",
        "PartitionConfig",
        "AccountNotAllowed",
        "JobHeldUser",
        "JobHeldAdmin",
    ),
    *("DependencyNeverSatisfied", "launch failed requeued held", "(JobHeldUser)"),
    # One job over a limit of one job, and budgets that are used up
    *(
        "AssocMaxCpuPerJobLimit",
        "AssocMaxWallDurationPerJobLimit",
        "AssocMaxGRESPerJob",
        "AssocMaxMemPerNode",
    ),
    *("QOSMaxCpuPerJobLimit", "QOSMaxWallDurationPerJobLimit", "QOSMaxGRESPerNode", "QOSMinCpuNotSatisfied"),
    *("AssocGrpCPUMinutesLimit", "QOSGrpGRESMinutes", "AssocGrpBillingMinutes"),
]
PASS = [
    *(
        "None",
        "Resources",
        "Priority",
        "BeginTime",
        "Cleaning",
        "Licenses",
        "Reservation",
        "Dependency",
        "Prolog",
    ),
    "ReqNodeNotAvail, UnavailableNodes:n[1-3]",
    # Others of one's own jobs have to end first
    *("AssocMaxJobsLimit", "AssocGrpCpuLimit", "AssocGrpGRES", "AssocGrpCPURunMinutesLimit"),
    *(
        "QOSMaxJobsPerUserLimit",
        "QOSMaxCpuPerUserLimit",
        "QOSMaxGRESPerUser",
        "QOSGrpNodeLimit",
        "MaxGRESPerAccount",
    ),
]


@pytest.mark.parametrize("reason", STAY)
def test_what_stays_says_what_to_do(reason: str) -> None:
    assert hopeless(reason)
    assert hopeless(reason) in in_words(reason) and reason in in_words(reason)


@pytest.mark.parametrize("reason", PASS)
def test_what_passes_is_waited_for_and_put_into_words(reason: str) -> None:
    assert hopeless(reason) is None
    assert in_words(reason).endswith(f" ({reason})")


def test_a_reason_of_a_newer_slurm_is_waited_for_and_shown() -> None:
    assert hopeless("SomethingNew") is None
    assert in_words("SomethingNew") == "SomethingNew"
