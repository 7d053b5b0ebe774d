"""The launcher that Hydra's sweepers use in `hydra_multirun` and `launch`.

Hydra accepts launchers from this namespace only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra.core.config_loader import ConfigLoader
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

TARGET = f"{__name__}.FlowLauncher"


class FlowContext(HydraContext):
    """Hydra's context, which sweepers hand on to their launcher.

    This class is not a dataclass of its own, because Hydra executes this module before it is in
    `sys.modules`.

    Attributes:
        launch: Function that calls jobs; it takes their overrides, and the number of the first job.
    """

    def __init__(
        self,
        config_loader: ConfigLoader,
        callbacks: Callbacks,
        launch: Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]],
    ) -> None:
        super().__init__(config_loader=config_loader, callbacks=callbacks)
        self.launch = launch


class FlowLauncher(Launcher):
    """Launches jobs of the flow that is running."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """See Hydra's `Launcher`.

        Raises:
            TypeError: outside `hydra_multirun` and `launch`.
        """
        # Not by its type: Hydra may have imported this module twice.
        launch: Any = getattr(hydra_context, "launch", None)
        if launch is None:
            raise TypeError("this launcher is only for sweepers that hydra_multirun or launch has started")
        self._launch = launch

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """See Hydra's `Launcher`."""
        return list(self._launch(job_overrides, initial_job_idx))
