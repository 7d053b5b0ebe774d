"""Any Python callable as jobs: how they are configured, what identifies one, what is kept of it."""

from sweepflow.jobs.job import Job, Jobs

__all__ = ["Job", "Jobs"]
