"""The goal of a metric, to minimize or to maximize it: as given, as the workload states it, or by its name.

A name is read word by word, whichever way its words are joined: `mIoU`, `ndcg@10`, `val/topKAcc` and
`neg_log_likelihood`. A name decides nothing if it gives no direction, gives two (`accuracy_loss`), or
describes a quantity derived from a figure (`accuracy_drop`). Then the user is asked, before any work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from sweepflow.errors import ConfigError

Goal = Literal["minimize", "maximize"]
GOALS: tuple[Goal, ...] = ("minimize", "maximize")
OTHER: Mapping[Goal, Goal] = {"minimize": "maximize", "maximize": "minimize"}

_MORE = """
acc accuracy auc aucpr aucroc auprc auroc averageprecision ap map rocauc prauc f1 f2 fbeta fmeasure
fscore dice iou miou giou jaccard kappa mcc precision recall sensitivity specificity tpr tnr truepositive
truenegative truepositives truenegatives hit hits hitrate mrr dcg ndcg exactmatch purity silhouette nmi
ari vmeasure bleu gleu chrf rouge meteor cider spice psnr ssim msssim sdr sisdr snr inceptionscore r2
rsquared explainedvariance corr correlation pearson spearman kendall likelihood loglikelihood loglik lik
logp logprob logprobs logprobability logposterior logevidence evidence elbo elpd lppd return returns
reward rewards success successes win wins winrate fitness utility profit throughput
"""
_LESS = """
loss losses logloss cost costs err error errors regret risk penalty violation violations
misclassification misclassifications mistakes falsepositive falsepositives falsenegative falsenegatives
fpr fnr mse rmse nrmse mae mape smape msle rmsle mad sse rss deviance brier brierscore ece nll nllh
crossentropy xent bce ce kl kld kldivergence divergence discrepancy mmd perplexity ppl bpc bpd bpb
bitsperdim bitsperchar bitsperbyte wer cer ter fid kid lpips distance hausdorff chamfer wasserstein emd
aic bic dic waic looic latency runtime
"""
_UNCLEAR = """
change decrease delta diff difference drop gain gap grad gradient improvement increase inv inverse invert
inverted no non not norm ratio reciprocal reduction relative scale sd std stddev temperature threshold
var variance weight
"""
MORE_IS_BETTER, LESS_IS_BETTER = frozenset(_MORE.split()), frozenset(_LESS.split())
WEAK = frozenset({"score", "scores"})
"""Words for which more is better, if no other word gives a direction: `fid_score` is a distance."""
NEGATIONS = frozenset({"neg", "negative", "negated", "minus"})
"""Words that reverse the word after them: a large `neg_mean_squared_error` is good."""
UNCLEAR = frozenset(_UNCLEAR.split())
"""Words that make another figure of the figure beside them."""

_ATOM = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
"""The parts of a name: words in capitals, camelCase, numbers."""
_FROM_ONE = re.compile(r"\s*1(\.0*)?\s*-")
"""Names that begin with `1-`: a small `1-auc` is good, and a large `1-step auc`."""
_MOST_ATOMS = 4
"""Maximum number of parts that one word of the lists consists of."""


@dataclass(frozen=True)
class Aim:
    """The criterion by which the trials of a sweep are judged.

    Attributes:
        metric: Name of a figure.
        goal: Whether a small or a large figure is good.
        guessed: Whether the goal comes from the name alone.
    """

    metric: str
    goal: Goal
    guessed: bool

    @property
    def sign(self) -> float:
        """1 if less is better, -1 if more is better: sign times a value is always to be minimised."""
        return 1.0 if self.goal == "minimize" else -1.0

    @property
    def better(self) -> str:
        """The good values, in words, and the origin of the goal if it is a guess."""
        words = "less is better" if self.goal == "minimize" else "more is better"
        return f"{words}, going by the name {self.metric}" if self.guessed else words


def aim(metric: str, given: Goal | None, stated: Mapping[str, Goal], workload: str) -> Aim:
    """Decide the goal of a sweep: the user's goal, else the goal that the workload states, else the name's.

    Args:
        metric: Figure to judge by.
        given: Goal that the user asked for, if any.
        stated: Goals that the workload states, by figure.
        workload: Path of the workload, for the error.

    Raises:
        ConfigError: if none of these gives a goal.
    """
    if given or metric in stated:
        return Aim(metric, given or stated[metric], guessed=False)
    goal = goal_of(metric)
    if goal is None:
        module = f", or write GOAL = 'maximize' into {workload}" if workload.endswith(".py") else ""
        raise ConfigError(
            f"whether a small or a large {metric} is good, its name does not say",
            got=f"the metric {metric!r} of {workload}, without a goal",
            allowed="--goal minimize or --goal maximize (goal= from Python)",
            do=f"add --goal maximize if the trial with the largest {metric} is the best{module}",
        )
    return Aim(metric, goal, guessed=True)


def goal_of(metric: str) -> Goal | None:
    """Return the direction that a figure's name gives; None if it gives none, or more than one.

    >>> goal_of("val/mIoU"), goal_of("neg_log_likelihood"), goal_of("accuracy_loss")
    ('maximize', 'minimize', None)
    """
    turned, weak = metric.lstrip().startswith("-"), False
    said: set[Goal] = set()
    for word in _words(metric):
        if word in UNCLEAR or _FROM_ONE.match(metric):
            return None
        if word in NEGATIONS:
            turned = not turned
        weak |= word in WEAK
        if word in MORE_IS_BETTER:
            said.add("maximize")
        elif word in LESS_IS_BETTER:
            said.add("minimize")
    if not said and weak:
        said = {"maximize"}
    if len(said) != 1:
        return None
    (goal,) = said
    return OTHER[goal] if turned else goal


def _words(name: str) -> Iterator[str]:
    """Yield the words of a name, each the longest that the lists know. Numbers that are part of no word are
    left out."""
    for part in re.split(r"[/.:]", name):
        atoms = [atom.lower() for atom in _ATOM.findall(part)]
        while atoms:
            for length in range(min(_MOST_ATOMS, len(atoms)), 0, -1):
                word = "".join(atoms[:length])
                if word in _KNOWN or (length == 1 and not word.isdigit()):
                    yield word
                    break
            del atoms[:length]


_KNOWN = MORE_IS_BETTER | LESS_IS_BETTER | WEAK | NEGATIONS | UNCLEAR
