"""Explanations of SLURM's reason codes for jobs that wait, and whether waiting can help."""

from __future__ import annotations

import re

WAITING = {
    "None": "SLURM has not looked at it yet",
    "Resources": "it waits for free resources",
    "Priority": "jobs of higher priority go first",
    "BeginTime": "it may not start yet: a requeued job waits for a minute or two",
    "Cleaning": "it is cleaned up after its last run, and starts again",
    "Licenses": "it waits for a licence",
    "Reservation": "it waits for its reservation to begin",
    "ReqNodeNotAvail": "nodes it needs are reserved, down or drained, as for maintenance",
    "NodeDown": "a node it needs is down",
    "Prolog": "the node is being prepared",
    "Dependency": "it waits for another job",
    "JobArrayTaskLimit": "enough of its array run",
    "AssocMaxJobsLimit": "your account runs as many jobs as it may at once",
    "QOSMaxJobsPerUserLimit": "you run as many jobs as the QOS lets a user run at once",
}
"""Reasons that pass with time."""

HOPELESS = {
    "AccountNotAllowed": "the partition does not take jobs of this account; choose runner.account",
    "BadConstraints": "no node is as runner.constraint, gpus or gres, cores and memory ask together",
    "Constraints": "no node is as runner.constraint asks",
    "DependencyNeverSatisfied": "the job that it waits for has failed; mend runner.directives",
    "InvalidAccount": "the account is not valid; choose runner.account",
    "InvalidQOS": "the QOS is not valid; choose runner.qos",
    "JobHeldAdmin": "an administrator holds the job; ask them",
    "JobHeldUser": "the job is held; release it with: scontrol release JOB",
    "JobHoldMaxRequeue": "it was requeued too often and is held; its log says why it ended",
    "PartitionConfig": "the partition does not take such a job; ask for less, or choose runner.partition",
    "PartitionDown": "the partition does not start jobs; choose runner.partition",
    "PartitionInactive": "the partition does not start jobs; choose runner.partition",
    "PartitionNodeLimit": "the partition has fewer nodes than this needs; choose runner.partition",
    "PartitionTimeLimit": "runner.walltime is more than the partition allows",
    "QOSNotAllowed": "the partition does not take jobs of this QOS; choose runner.qos",
    "QOSUsageThreshold": "the QOS is refused to those who have used as much as you; choose runner.qos",
    "launch failed requeued held": "nodes could not start it, and it is held; an administrator can say why",
    "job requeued in held state": "it is held; release it with: scontrol release JOB",
}
"""Reasons that stay until somebody changes something."""

FAMILIES = (
    (r"(Assoc|QOS)Grp\w*Minutes\w*", "the account has used up the time it was granted; ask for more"),
    (
        r"(Assoc|QOS)Max\w*Per(Job|Node)\w*",
        "a job asks for more than your account or QOS allows it; ask for less cores, memory, gpus, time",
    ),
    (r"QOSMin\w*", "one job asks for less than the QOS wants; ask for more, or choose another runner.qos"),
    (r"Association(Resource|Time)Limit", "the account is at a limit; ask for less, or choose runner.account"),
    (r"QOS(Resource|Time)Limit", "the QOS is at a limit; ask for less, or choose runner.qos"),
)
"""Families of reasons of the same kind: limits of a single job, which the end of other jobs does not change,
and budgets."""

PASSING_FAMILIES = (
    (r"(Assoc|QOS)Grp\w+", "your account, with others, uses as much as it may at once"),
    (
        r"QOSMax\w*Per(User|Account)\w*|Max\w*PerAccount|AssocMax\w+",
        "you use as much as you may at once; it starts when others of your jobs end",
    ),
)


def hopeless(reason: str) -> str | None:
    """Return the remedy for a job that cannot start by waiting, in words; None if waiting may help.

    Args:
        reason: Reason as squeue gives it, such as InvalidAccount, or "ReqNodeNotAvail, UnavailableNodes:n1".
    """
    code = reason.split(",")[0].strip("() ")
    if code in HOPELESS:
        return HOPELESS[code]
    if "RunMinutes" in code:  # of jobs that run now, so it falls as they do
        return None
    return next((words for family, words in FAMILIES if re.fullmatch(family, code)), None)


def in_words(reason: str) -> str:
    """Return the reason why a job waits, with SLURM's own word for it."""
    code = reason.split(",")[0].strip("() ")
    words = (
        hopeless(reason)
        or WAITING.get(code)
        or next((said for family, said in PASSING_FAMILIES if re.fullmatch(family, code)), None)
    )
    return f"{words} ({reason})" if words else reason
