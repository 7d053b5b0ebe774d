"""Optuna's samplers as a sweeper, through Optuna's ask-and-tell interface.

T. Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", KDD 2019. The default
sampler here is the tree-structured Parzen estimator: J. Bergstra et al., "Algorithms for Hyper-Parameter
Optimization", NIPS 2011; S. Watanabe, arXiv:2304.11127 (2023).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from sweepflow.errors import ConfigError
from sweepflow.jobs.job import Goal, Job
from sweepflow.jobs.sweepers import override
from sweepflow.space import Distribution
from sweepflow.space.choices import Categorical, Constant, Joint
from sweepflow.space.continuous import LogUniform, Uniform
from sweepflow.space.discrete import IntUniform, LogIntUniform
from sweepflow.space.distribution import LARGEST_U, SMALLEST_U

if TYPE_CHECKING:  # an extra, which costs time to import
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

INSTALL = "pip install 'sweepflow[optuna]'"


class Optuna:
    """Sweeper that asks one of Optuna's samplers. The sampler sees all scores; failed jobs are failed trials.

    The Optuna study contains numbers and choices as they are, by their keys. Lists are stored as JSON. A key
    whose distribution Optuna does not have is stored as a quantile, under `quantile of KEY`. The complete
    overrides are an attribute of each trial. Numbers in equal steps, such as a range, are searched in their
    order.

    Args:
        jobs: Number of jobs; fewer if the sampler has tried all possible values.
        seed: Seed of TPE, which is the sampler if no other is given. With one job at a time, the same seed
            and the same scores lead to the same jobs.
        sampler: A sampler such as `optuna.samplers.CmaEsSampler(seed=0)`.
        study: Study to continue, with its own sampler; it also keeps the trials of this search.

    Attributes:
        study: Study with the trials, once the search has begun.

    Raises:
        ConfigError: if Optuna is not installed, and for arguments that it cannot use.
    """

    study: Study

    def __init__(
        self,
        jobs: int,
        seed: int = 0,
        *,
        sampler: BaseSampler | None = None,
        study: Study | None = None,
    ) -> None:
        _check_arguments(jobs, sampler, study)
        self.jobs, self.seed = jobs, seed
        self._sampler, self._given = sampler, study
        self._parameters: list[_Parameter] = []
        self._left = 0
        self._asked: list[tuple[list[str], Trial]] = []

    def begin(self, space: Mapping[str, Distribution], goal: Goal) -> None:
        """See `Sweeper`.

        Raises:
            ConfigError: if there is nothing to search, for keys under a condition, and for a study of another
                search.
        """
        if not space:
            raise ConfigError(
                "there is nothing to search",
                got="overrides of one value each",
                allowed="x=interval(0,1), x=choice(a,b), x=a,b",
                do="leave a key open, or give no sweeper",
            )
        # In one order, however the overrides are: samplers draw key after key.
        self._parameters = [_parameter(key, space[key]) for key in sorted(space)]
        if self._given is None:
            self.study = _new_study(self._sampler, self.seed, goal)
        else:
            _check_study(self._given, self._parameters, goal)
            self.study = self._given
        self._left, self._asked = self.jobs, []

    def ask(self, n: int) -> Sequence[Sequence[str]]:
        """See `Sweeper`."""
        now = min(n, self._left)
        self._left -= now
        return [self._ask() for _ in range(now)]

    def _ask(self) -> list[str]:
        trial = self.study.ask({parameter.name: parameter.distribution for parameter in self._parameters})
        texts = [text for parameter in self._parameters for text in parameter.overrides(trial)]
        trial.set_user_attr("overrides", texts)
        self._asked.append((texts, trial))
        return texts

    def tell(self, job: Job, score: float) -> None:
        """See `Sweeper`."""
        from optuna.trial import TrialState

        told = {text.lstrip("+") for text in job.overrides}
        place = next(i for i, (texts, _) in enumerate(self._asked) if told.issuperset(texts))
        _, trial = self._asked.pop(place)
        try:
            if math.isnan(score):
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                self.study.tell(trial, score)
        except RuntimeError as error:
            # Documented: so samplers of grids say, once they are told of a trial, that it was the last one.
            if "Study.stop" not in str(error):
                raise
            self._left = 0


@dataclass(frozen=True)
class _Parameter:
    """A key as Optuna searches it.

    Attributes:
        name: Name in the study.
        distribution: Optuna's distribution; random samples of it are distributed as samples of ours.
        value: Returns the value that a value of the study stands for.
        key: The dotted key, or group; None if the value has several keys.
    """

    name: str
    distribution: BaseDistribution
    value: Callable[[Any], Any]
    key: str | None

    def overrides(self, trial: Trial) -> list[str]:
        """Return the overrides that give a trial's value to the key, or to the keys."""
        value = self.value(trial.params[self.name])
        of = value if self.key is None else {self.key: value}
        return [override(key, value) for key, value in of.items()]


def _parameter(name: str, drawn: Distribution) -> _Parameter:
    from optuna.distributions import FloatDistribution, IntDistribution

    if drawn.when is not None:
        raise ConfigError(
            f"{name}: Optuna is asked for all keys at once",
            got=f"when: {drawn.when}",
            allowed="distributions without a condition",
            do="remove it, or take Random or Sobol",
        )
    key = None if isinstance(drawn, Joint) else name
    match drawn:
        case Uniform() | LogUniform():
            return _Parameter(name, FloatDistribution(drawn.low, drawn.high, log=drawn.is_log), float, key)
        case IntUniform() | LogIntUniform():
            return _Parameter(name, IntDistribution(drawn.low, drawn.high, log=drawn.is_log), int, key)
        case Categorical(weights=None) | Joint(weights=None) | Constant():
            return _Parameter(name, *_listed(drawn.levels() or ()), key)

    def quantile(u: float) -> Any:
        return drawn.ppf(np.array([min(max(u, SMALLEST_U), LARGEST_U)]))[0]

    return _Parameter(f"quantile of {name}", FloatDistribution(0.0, 1.0), quantile, key)


def _listed(values: Sequence[Any]) -> tuple[BaseDistribution, Callable[[Any], Any]]:
    """Return the distribution of equally likely values, and a function from its samples to these values."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if (step := _step(values)) is not None:
        low, high = min(values), max(values)
        whole = all(isinstance(value, int) for value in values)
        ordered: BaseDistribution = (
            IntDistribution(low, high, step=int(step))
            if whole
            else FloatDistribution(low, high, step=float(step))
        )
        return ordered, lambda x: min(values, key=lambda value: abs(value - x))
    # 1, 1.0 and true are one value to Optuna, and lists are none.
    simple = all(value is None or isinstance(value, bool | int | float | str) for value in values)
    if not simple or len(set(values)) < len(values):
        of = {json.dumps(value, sort_keys=True, ensure_ascii=False): value for value in values}
    else:
        of = {value: value for value in values}
    return CategoricalDistribution(list(of)), of.__getitem__


def _step(values: Sequence[Any]) -> Decimal | None:
    """Return the step between numbers, in decimals as they are written; None if the steps are not equal."""
    if len(values) < 3 or not all(type(value) in (int, float) for value in values):
        return None
    ordered = [Decimal(repr(value)) for value in sorted(values)]
    steps = {after - before for before, after in pairwise(ordered)}
    step = steps.pop()
    return step if not steps and step > 0 else None


def _check_arguments(jobs: int, sampler: BaseSampler | None, study: Study | None) -> None:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError("Optuna is not there", got=str(error), do=INSTALL) from error
    if jobs < 1:
        raise ConfigError("a search has at least one job", got=f"jobs={jobs}", do="ask for some: Optuna(50)")
    for name, given, kind, do in [
        ("sampler", sampler, optuna.samplers.BaseSampler, "sampler=optuna.samplers.TPESampler(seed=0)"),
        ("study", study, optuna.Study, "study=optuna.load_study(study_name=..., storage=...)"),
    ]:
        if given is not None and not isinstance(given, kind):
            raise ConfigError(
                f"this is no {name} of Optuna's",
                got=repr(given),
                allowed=f"an object of optuna's {kind.__name__}",
                do=f"give one: {do}",
            )
    if sampler is not None and study is not None:
        raise ConfigError(
            "a study has a sampler already",
            got=f"sampler={type(sampler).__name__}, study.sampler={type(study.sampler).__name__}",
            allowed="sampler=, or study=",
            do="give the study the sampler, study.sampler = ..., and leave sampler= out",
        )


def _new_study(sampler: BaseSampler | None, seed: int, goal: Goal) -> Study:
    import optuna

    # It would be told on the terminal that there is a study.
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        chosen = optuna.samplers.TPESampler(seed=seed) if sampler is None else sampler
        return optuna.create_study(sampler=chosen, direction=goal)
    finally:
        optuna.logging.set_verbosity(before)


def _check_study(study: Study, parameters: Sequence[_Parameter], goal: Goal) -> None:
    """Raise ConfigError for a study of another goal, or of other choices than these."""
    from optuna.distributions import check_distribution_compatibility

    directions = [direction.name.lower() for direction in study.directions]
    if directions != [goal]:
        raise ConfigError(
            f"study {study.study_name!r} has another goal",
            got=f"goal={goal!r}, study: {', '.join(directions)}",
            allowed="the same of both, and one only",
            do=f"give goal={directions[0]!r}" if len(directions) == 1 else "take a study of one objective",
        )
    for trial in study.get_trials(deepcopy=False):
        for parameter in parameters:
            earlier = trial.distributions.get(parameter.name)
            if earlier is None:
                continue
            try:
                check_distribution_compatibility(earlier, parameter.distribution)
            except ValueError:
                raise ConfigError(
                    f"{parameter.name}: study {study.study_name!r} has another distribution of it",
                    got=f"{parameter.distribution}, trial {trial.number}: {earlier}",
                    allowed="the same kind of numbers, or the same choices in the same order",
                    do=f"write {parameter.name}=... as the study has it, or begin another study",
                ) from None
