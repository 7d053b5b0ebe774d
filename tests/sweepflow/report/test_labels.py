from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from sweepflow.report.labels import derive_labels, flatten
from sweepflow.storage.record import Record

Make = Callable[..., Record]


def test_only_what_varies_is_in_a_label(typical: tuple[list[Record], dict[str, Record]]) -> None:
    estimates, targets = typical
    labels = derive_labels(estimates, targets)
    # depth changes with target_params and says nothing more.
    assert list(labels.target.values()) == [
        "target_params=1000 seed=1",
        "target_params=1000 seed=2",
        "target_params=10000 seed=1",
        "target_params=10000 seed=2",
    ]
    assert set(labels.sampler.values()) == {"sgld", "hmc", "mclmc"}
    assert labels.of(estimates[1]) == "target_params=1000 seed=1 · hmc"


def test_where_nothing_varies_the_id_is_the_label(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    labels = derive_labels([estimate_of(target)], {target.id: target})
    assert labels.target == {target.id: target.id}


def test_swept_sampler_fields_show_and_others_do_not(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    estimates = [estimate_of(target, "sgld", step_size=e) for e in (1e-5, 1e-4)]
    estimates += [estimate_of(target, "sgld", preconditioner="rmsprop"), estimate_of(target, "hmc")]
    labels = derive_labels(estimates, {target.id: target})
    assert list(labels.sampler.values()) == [
        "sgld step_size=1e-5",
        "sgld step_size=1e-4",
        "sgld-rmsprop",
        "hmc",
    ]


def test_a_number_that_follows_the_target_is_no_choice_of_the_sampler(
    target_of: Make, estimate_of: Make
) -> None:
    targets = {t.id: t for t in (target_of(seed=1), target_of(seed=2))}
    estimates = [estimate_of(t, "hmc", nbeta=100.0 * i) for i, t in enumerate(targets.values(), start=1)]
    assert set(derive_labels(estimates, targets).sampler.values()) == {"hmc"}


def test_equal_last_parts_keep_their_section_and_target_goes(target_of: Make) -> None:
    first, second, third = target_of(seed=1), target_of(seed=2), target_of(seed=2)
    third = replace(
        third, id="tgt_other", config={**third.config, "data": {**third.config["data"], "seed": 5}}
    )
    labels = derive_labels((), {t.id: t for t in (first, second, third)})
    assert list(labels.target.values()) == [
        "data.seed=0 seed=1",
        "data.seed=0 seed=2",
        "data.seed=5 seed=2",
    ]


def sized(target: Record, number: int, **model: object) -> Record:
    config = {**target.config, "model": {"kind": "mlp", "widths": None, "target_params": None, "depth": None}}
    config["model"] |= model
    return replace(target, id=f"tgt_{number:016x}", config=config)


def test_models_by_widths_and_by_size_beside_each_other(target_of: Make) -> None:
    """As in a store that has both: none is no label where the other key says it."""
    target = target_of()
    targets = [
        sized(target, 1, widths=[32]),
        sized(target, 2, widths=[32, 32]),
        sized(target, 3, target_params=1000, depth=2),
        sized(target, 4, target_params=10000, depth=3),
    ]
    assert list(derive_labels((), {t.id: t for t in targets}).target.values()) == [
        "widths=[32]",
        "widths=32×32",
        "target_params=1000",
        "target_params=10000",
    ]
    two = derive_labels((), {t.id: t for t in (targets[0], targets[2])}).target
    assert list(two.values()) == ["widths=[32]", "target_params=1000"]


def test_none_is_a_label_where_nothing_is_given_in_its_place(target_of: Make, estimate_of: Make) -> None:
    target = target_of()
    estimates = [estimate_of(target, "sgld", batch_size=rows) for rows in (32, None)]
    assert list(derive_labels(estimates, {target.id: target}).sampler.values()) == [
        "sgld batch_size=32",
        "sgld batch_size=none",
    ]


def test_kinds_are_named_bare_and_their_own_fields_left_out(target_of: Make) -> None:
    mlp, cnn = target_of(), target_of(seed=2)
    cnn = replace(
        cnn,
        config={
            **cnn.config,
            "model": {"kind": "cnn", "channels": [8, 16]},
            "target": mlp.config["target"],
        },
    )
    assert list(derive_labels((), {t.id: t for t in (mlp, cnn)}).target.values()) == ["mlp", "cnn"]


def test_an_estimate_without_a_target_record_has_a_label(target_of: Make, estimate_of: Make) -> None:
    estimate = estimate_of(target_of())
    bare = replace(estimate, figures={})
    assert derive_labels([bare], {}).of(bare)


values = st.dictionaries(
    st.sampled_from(["model.kind", "a", "b", "c", "d", "e", "f"]),
    st.none() | st.integers(0, 2),
    min_size=1,
)


@given(st.lists(values, min_size=1, max_size=12))
def test_labels_of_different_configurations_differ(configs: list[dict[str, int | None]]) -> None:
    unique = {str(sorted(c.items())): c for c in configs}
    targets = {
        f"tgt_{i:016x}": Record(
            id=f"tgt_{i:016x}", workload="target", version=1, status="ok", reasons=(), config=c, figures={}
        )
        # The digits that tell labels apart stand first in real ids, which are hashes.
        for i, c in zip((k << 44 for k in range(len(unique))), unique.values(), strict=True)
    }
    labels = derive_labels((), targets).target
    assert len(set(labels.values())) == len(targets)


def test_flatten() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [1, 2]}}, "e": None}) == {"a.b": 1, "a.c.d": [1, 2], "e": None}
