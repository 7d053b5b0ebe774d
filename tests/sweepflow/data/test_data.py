"""What every kind of data set must do, whoever made it: one row a kind."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import sweepflow.data
from sweepflow.data import Dataset, describe, load, pin
from sweepflow.data.streams import stream
from sweepflow.errors import DataError
from sweepflow.schema.data import (
    BundledData,
    DataConfig,
    DeepLinearData,
    FileData,
    NormalCrossingData,
    QuadraticData,
    TeacherStudentData,
)

SYNTHETIC: dict[str, DataConfig] = {
    "isotropic": TeacherStudentData(n_data=60, n_test=20, teacher_widths=(5, 4), output_dim=2),
    "anisotropic": TeacherStudentData(n_data=60, inputs="anisotropic", noise="heteroscedastic", seed=3),
    "mixture": TeacherStudentData(n_data=60, inputs="mixture", noise="student_t", teacher_activation="relu"),
    "latent": TeacherStudentData(n_data=60, inputs="latent", noise="outlier", teacher_activation="gelu"),
    "one_input": TeacherStudentData(n_data=60, input_dim=1, inputs="anisotropic", teacher_activation="silu"),
    "deep_linear": DeepLinearData(n_data=50, widths=(5, 4, 3), rank=2, noise_scale=0.1),
    "deep_linear_rank_0": DeepLinearData(n_data=50, widths=(3, 2), rank=0),
    "normal_crossing": NormalCrossingData(exponents=(1, 3, 2), dimension=3),
    "quadratic": QuadraticData(eigenvalues=(2.0, 0.0), dimension=2),
}
BUNDLED: dict[str, DataConfig] = {
    "digits": BundledData(name="digits"),
    "diabetes": BundledData(name="diabetes", test_fraction=0.3, seed=5),
    "breast_cancer": BundledData(name="breast_cancer"),
}
FILES = ("csv", "csv_classes", "npz", "npz_images", "npz_classes")
KINDS = (*SYNTHETIC, *BUNDLED, *FILES)

GOLDEN = {
    "isotropic": "cc34774002a36911",
    "anisotropic": "1a00233e174dae53",
    "mixture": "e453d9622a341f35",
    "latent": "c95dfb8d9c62518c",
    "one_input": "c0ac3c6f9b9544b5",
    "deep_linear": "04853a383fded6ca",
    "digits": "c5ccca79dd9b10d6",
    "diabetes": "6e4902ebbbcfcff3",
    "breast_cancer": "12cbc45cb18d24a5",
}
"""Hashes of all arrays rounded to 6 digits: a change here changes what every stored result means."""


def make(kind: str, folder: Path) -> DataConfig:
    """The configuration of a kind; a file kind's file is written into the folder."""
    if kind in SYNTHETIC:
        return SYNTHETIC[kind]
    if kind in BUNDLED:
        return BUNDLED[kind]
    rng = stream(0, "test files")
    x, y = rng.normal(3.0, 2.0, (25, 3)), rng.normal(-1.0, 5.0, 25)
    path = folder / f"my data, '{kind}'.{kind.split('_')[0]}"
    task = "classification" if kind.endswith("classes") else "regression"
    if kind.startswith("csv"):
        labels = ["cat" if value > 0 else "dog" for value in y] if task == "classification" else y
        lines = [",".join(map(str, [*row, label])) for row, label in zip(x, labels, strict=True)]
        path.write_text("\n".join(["a,b,c,target", *lines]))
    elif kind == "npz_images":
        np.savez(path, x=rng.normal(size=(25, 1, 4, 4)).astype(np.float32), y=np.stack([y, -y], axis=1))
    else:
        np.savez(path, x=x, y=np.arange(25) % 3 * 10 if task == "classification" else y)
    return FileData(path=str(path), task=task)


def digest(dataset: Dataset) -> str:
    sha = hashlib.sha256()
    for array in (dataset.x, dataset.y, dataset.x_test, dataset.y_test, dataset.truth):
        if array is not None:
            sha.update((np.round(array, 6) + 0.0).tobytes())  # + 0.0: no negative zeros
    return sha.hexdigest()[:16]


@pytest.mark.parametrize("kind", KINDS)
def test_describe_is_the_shape_of_what_load_returns(kind: str, tmp_path: Path) -> None:
    config = make(kind, tmp_path)
    shape, dataset = describe(config), load(config)
    assert shape == dataset.shape
    for array in (dataset.x, dataset.y, dataset.x_test, dataset.y_test):
        assert array.dtype == np.float64
        assert np.isfinite(array).all()
    if shape.task == "potential":
        assert dataset.x.shape == (2, *shape.input_shape)
        assert dataset.y.shape == (1, 1)
        assert dataset.x_test.shape == (0, *shape.input_shape)
        assert (shape.n_test, shape.output_dim, shape.n) == (0, 1, config.n_data)
        return
    assert shape.n >= 1
    assert shape.n_test >= 1
    for x, y, n in ((dataset.x, dataset.y, shape.n), (dataset.x_test, dataset.y_test, shape.n_test)):
        assert x.shape == (n, *shape.input_shape)
        assert y.shape == ((n,) if shape.task == "classification" else (n, shape.output_dim))
    if shape.task == "classification":
        classes = np.unique(np.concatenate([dataset.y, dataset.y_test]))
        assert classes.tolist() == list(range(shape.output_dim))


@pytest.mark.parametrize("kind", KINDS)
def test_loads_are_cached_and_cannot_be_written_to(kind: str, tmp_path: Path) -> None:
    config = make(kind, tmp_path)
    dataset = load(config)
    assert load(config.model_copy()) is dataset
    for array in (dataset.x, dataset.y, dataset.x_test, dataset.y_test):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0


@pytest.mark.parametrize("kind", GOLDEN)
def test_arrays_are_the_golden_ones(kind: str, tmp_path: Path) -> None:
    assert digest(load(make(kind, tmp_path))) == GOLDEN[kind]


def test_another_process_and_hash_seed_draw_the_same_without_jax(tmp_path: Path) -> None:
    kinds = [kind for kind in GOLDEN if kind in SYNTHETIC]
    script = (
        "import json, sys, pathlib, test_data as t\n"
        "assert 'jax' not in sys.modules\n"
        f"print(json.dumps({{k: t.digest(t.load(t.SYNTHETIC[k])) for k in {kinds}}}))\n"
        "assert 'jax' not in sys.modules and 'sklearn' not in sys.modules\n"
    )
    here, root = Path(__file__).parent, Path(sweepflow.data.__file__).parents[2]
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": f"{here}{os.pathsep}{root}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {kind: GOLDEN[kind] for kind in kinds}


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("normal_crossing", "quadratic")])
def test_another_seed_is_another_data_set(kind: str, tmp_path: Path) -> None:
    config = make(kind, tmp_path)
    other = config.model_copy(update={"seed": config.seed + 1})
    assert describe(other) == describe(config)
    assert not np.array_equal(load(other).x, load(config).x)


@pytest.mark.parametrize("kind", [k for k in SYNTHETIC if isinstance(SYNTHETIC[k], TeacherStudentData)])
def test_more_rows_keep_the_rows_there_were(kind: str) -> None:
    config = SYNTHETIC[kind]
    few, many = load(config), load(config.model_copy(update={"n_data": 500}))
    np.testing.assert_array_equal(many.x[: few.shape.n], few.x)
    # Equal up to the order in which a matrix product of another size adds.
    np.testing.assert_allclose(many.y[: few.shape.n], few.y, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(many.x_test, few.x_test)
    np.testing.assert_array_equal(many.y_test, few.y_test)


def test_streams_of_other_seeds_and_purposes_are_uncorrelated() -> None:
    draws = np.stack(
        [
            stream(seed, purpose).standard_normal(20_000)
            for seed in (0, 1, 2**32 - 1)
            for purpose in ("a", "b")
        ]
    )
    off_diagonal = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert np.abs(off_diagonal).max() < 5 / np.sqrt(20_000)


def test_latent_factors_beyond_the_inputs_are_refused_before_drawing() -> None:
    config = TeacherStudentData(input_dim=3, inputs="latent", latent_dim=4)
    with pytest.raises(DataError, match=r"latent_dim=4, input_dim=3\n.*from 1 to 3"):
        describe(config)
    assert describe(config.model_copy(update={"inputs": "isotropic"})).input_shape == (3,)


def test_pin_leaves_everything_but_files_as_it_is() -> None:
    for config in (*SYNTHETIC.values(), *BUNDLED.values()):
        assert pin(config) is config
