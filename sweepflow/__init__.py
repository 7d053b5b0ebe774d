"""The science and the engine of sweepflow: pure Python and JAX; no Prefect, no Dask, no W&B."""
