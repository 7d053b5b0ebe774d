"""Where batches run: in this process, in worker processes beside it, or in jobs of a SLURM cluster."""
