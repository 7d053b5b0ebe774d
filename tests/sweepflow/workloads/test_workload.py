"""What the name of a figure says of its direction."""

from __future__ import annotations

import pytest

from sweepflow.workloads.workload import LESS_IS_BETTER, MORE_IS_BETTER, goal_of

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
    "mean_return",
    "episode_reward",
    "eval.score",
    "recall",
)
MINIMIZED = (
    "loss",
    "rmse",
    "err2",
    "mse_per_layer2",
    "diff1",
    "half1_loss",
    "underscore_loss",
    "no_return_rate",
    "accuracy_loss",
    "r2_error",
    "score_cost",
    "one_minus_auc",
    "nonaccuracy",
    "access_time",
    "returned",
    "distance",
    "",
)


@pytest.mark.parametrize("metric", MAXIMIZED)
def test_names_of_what_is_to_be_large(metric: str) -> None:
    assert goal_of(metric) == "maximize"


@pytest.mark.parametrize("metric", MINIMIZED)
def test_names_of_what_is_to_be_small(metric: str) -> None:
    assert goal_of(metric) == "minimize"


def test_no_word_says_both() -> None:
    assert not MORE_IS_BETTER & LESS_IS_BETTER
