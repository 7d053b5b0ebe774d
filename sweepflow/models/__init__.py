"""Network architectures, one in each file, all as functions of a flat parameter vector."""

from __future__ import annotations

from functools import lru_cache

from sweepflow.data.dataset import DataShape
from sweepflow.errors import ConfigError
from sweepflow.models.cnn import cnn
from sweepflow.models.mlp import deep_linear, mlp
from sweepflow.models.network import Network
from sweepflow.models.potential import potential
from sweepflow.schema.model import CnnModel, DeepLinearModel, MlpModel, ModelConfig, PotentialModel


@lru_cache(maxsize=256)  # a sweep asks for one network once a target
def build_network(config: ModelConfig, shape: DataShape) -> Network:
    """Return the network that a model configuration describes for data of this shape.

    Raises:
        ConfigError: if the two do not fit together.
    """
    if (shape.task == "potential") != isinstance(config, PotentialModel):
        raise ConfigError(
            "a potential is a model and a data set that go together",
            got=f"model.kind={config.kind} with data of task {shape.task!r}",
            allowed="model=potential with data=quadratic or data=normal_crossing",
        )
    match config:
        case MlpModel():
            return mlp(config, shape)
        case DeepLinearModel():
            return deep_linear(config, shape)
        case CnnModel():
            return cnn(config, shape)
        case PotentialModel():
            return potential(config, shape)
