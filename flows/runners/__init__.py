"""Runners of batches: this process, worker processes beside it, or jobs of a SLURM cluster."""
