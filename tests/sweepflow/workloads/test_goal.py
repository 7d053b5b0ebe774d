"""What is known of a figure's direction, and what is asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepflow.errors import ConfigError
from sweepflow.workloads.goal import (
    LESS_IS_BETTER,
    MORE_IS_BETTER,
    NEGATIONS,
    OTHER,
    UNCLEAR,
    WEAK,
    Aim,
    Goal,
    aim,
    goal_of,
)

MAXIMIZED = (
    "accuracy",
    "val_acc",
    "val/acc",
    "valAcc",
    "Validation Accuracy",
    "best_validation_accuracy",
    "top1_accuracy",
    "acc@1",
    "acc5",
    "AUC",
    "roc_auc",
    "macroAUC",
    "f1",
    "test-F1",
    "f1_macro",
    "r2",
    "R^2",
    "mean_return",
    "episode_reward",
    "eval.score",
    "recall",
    "mAP",
    "val_mAP50",
    "mIoU",
    "ndcg@10",
    "log_likelihood",
    "logProb",
    "log_prob",
    "elbo",
    "BLEU-4",
    "-loss",
    "neg_mean_squared_error",
)
MINIMIZED = (
    "loss",
    "rmse",
    "err2",
    "mse_per_layer2",
    "half1_loss",
    "underscore_loss",
    "score_loss",
    "score_cost",
    "one_minus_auc",
    "distance",
    "top-5 error",
    "neg_log_likelihood",
    "negLogLikelihood",
    "nll",
    "val_NLL",
    "perplexity",
    "mse",
    "train.loss",
    "MSELoss",
    "log_loss",
    "-elbo",
    "fid_score",
)
UNKNOWN = (
    "",
    "y",
    "objective",
    "energy",
    "diff1",
    "access_time",
    "returned",
    "nonaccuracy",
    "top5",
    "error_rate_reduction",
    "accuracy_loss",
    "accuracy_drop",
    "acc_std",
    "r2_error",
    "inverse_accuracy",
    "no_return_rate",
    "1-auc",
    "1-step accuracy",
)
LISTS = (MORE_IS_BETTER, LESS_IS_BETTER, WEAK, NEGATIONS, UNCLEAR)
WORDS = dict.fromkeys(MORE_IS_BETTER, "maximize") | dict.fromkeys(LESS_IS_BETTER, "minimize")


@pytest.mark.parametrize("metric", MAXIMIZED)
def test_names_of_what_is_to_be_large(metric: str) -> None:
    assert goal_of(metric) == "maximize"


@pytest.mark.parametrize("metric", MINIMIZED)
def test_names_of_what_is_to_be_small(metric: str) -> None:
    assert goal_of(metric) == "minimize"


@pytest.mark.parametrize("metric", UNKNOWN)
def test_names_that_say_nothing_or_two_things_are_asked_for(metric: str) -> None:
    assert goal_of(metric) is None
    with pytest.raises(ConfigError) as caught:
        aim(metric, None, {}, "mine.py")
    assert repr(metric) in caught.value.got and "--goal maximize" in str(caught.value)  # type: ignore[operator]


def test_no_word_says_both() -> None:
    assert sum(map(len, LISTS)) == len(frozenset().union(*LISTS))


@given(
    st.sampled_from(sorted(WORDS)),
    st.sampled_from(["{}", "val_{}", "val/{}", "train.{}", "best-{}", "{}@10", "{} (mean)", "{}_3"]),
    st.sampled_from([str.lower, str.upper, str.title]),
)
def test_a_word_says_the_same_however_it_is_put_together(word: str, shape: str, case: object) -> None:
    name = shape.format(case(word))  # type: ignore[operator]
    assert goal_of(name) == WORDS[word]
    assert goal_of(f"neg_{name}") == OTHER[WORDS[word]], "and the opposite where it is turned round"  # type: ignore[index]


@given(st.sampled_from(sorted(MORE_IS_BETTER)), st.sampled_from(sorted(LESS_IS_BETTER | UNCLEAR)))
def test_two_words_that_disagree_say_nothing(more: str, other: str) -> None:
    assert goal_of(f"{more}/{other}") is None is goal_of(f"{other}/{more}")


@pytest.mark.parametrize("given_", ["minimize", "maximize"])
def test_what_is_given_wins_over_the_workload_and_that_over_the_name(given_: Goal) -> None:
    stated: dict[str, Goal] = {"loss": "maximize"}
    assert aim("loss", given_, stated, "w") == Aim("loss", given_, guessed=False)
    assert aim("loss", None, stated, "w") == Aim("loss", "maximize", guessed=False)
    assert aim("loss", None, {}, "w") == Aim("loss", "minimize", guessed=True)
