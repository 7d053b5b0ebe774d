"""Any Python callable as jobs: their configuration, their identity, and the records that are kept."""

from sweepflow.jobs.job import Job, Jobs

__all__ = ["Job", "Jobs"]
