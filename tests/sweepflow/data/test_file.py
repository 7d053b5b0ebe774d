"""A user's file: what it is pinned by, what is done with its rows, and every way it can be wrong."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from sweepflow.data import check_fits, describe, load, pin, refuse_beyond
from sweepflow.errors import DataError
from sweepflow.estimates.workload import check as check_estimate
from sweepflow.fingerprint import fingerprint
from sweepflow.schema.data import FileData
from sweepflow.schema.llc import EstimateConfig
from sweepflow.schema.model import MlpModel
from sweepflow.schema.sampler import SgldSampler
from sweepflow.schema.target import TargetConfig, TrainingConfig
from sweepflow.targets.workload import check as check_target

ROWS = 40


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV of two features, one constant column and a target, in a folder with a space."""
    folder = tmp_path / "my 'own' data"
    folder.mkdir()
    path = folder / "a table.csv"
    write(path, range(ROWS))
    return path


def write(path: Path, values: range) -> None:
    rows = [f"{i},{i * i},5,{3 * i + 1}" for i in values]
    path.write_text("\n".join(["a,b,constant,target", *rows]))


def test_rows_are_split_and_standardised(table: Path) -> None:
    data = load(FileData(path=str(table), test_fraction=0.25))
    assert (data.shape.n, data.shape.n_test) == (30, 10)
    np.testing.assert_allclose(data.x[:, :2].mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(data.x[:, :2].std(axis=0), 1.0)
    np.testing.assert_array_equal(data.x[:, 2], 0.0)
    np.testing.assert_allclose([data.y.mean(), data.y.std()], [0.0, 1.0], atol=1e-12)
    # y is linear in column a, so both standardise to the same numbers: rows kept their targets.
    np.testing.assert_allclose(data.y_test[:, 0], data.x_test[:, 0], atol=1e-12)


def test_rows_as_they_are(table: Path) -> None:
    data = load(FileData(path=str(table), standardize=False, target_column="a"))
    a = np.concatenate([data.y, data.y_test])[:, 0]
    assert sorted(a) == list(range(ROWS))
    x = np.concatenate([data.x, data.x_test])
    np.testing.assert_array_equal(x, np.column_stack([a * a, np.full(ROWS, 5.0), 3 * a + 1]))


def test_images_are_standardised_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    x = np.random.default_rng(0).normal(4.0, 3.0, (20, 1, 5, 5))
    x[:, 0, 0, 0] = 0.0
    np.savez(path, x=x, y=np.arange(20) % 2)
    data = load(FileData(path=str(path), task="classification"))
    assert data.x.std() == pytest.approx(1.0)
    assert data.x[:, 0, 0, 0].mean() < -1.0


def test_one_output_a_column(tmp_path: Path) -> None:
    path = tmp_path / "two.npz"
    np.savez(path, x=np.arange(20.0), y=np.random.default_rng(0).normal(size=(20, 2)))
    assert describe(FileData(path=str(path))).output_dim == 2


def test_class_names_of_a_csv_are_numbered_in_order(tmp_path: Path) -> None:
    path = tmp_path / "pets.csv"
    path.write_text("kind,weight\n" + "dog,10\ncat,4\nape,60\n" * 5)
    config = FileData(path=str(path), task="classification", target_column="kind", standardize=False)
    data = load(config)
    assert describe(config).output_dim == 3
    assert {(x, y) for x, y in zip(data.x[:, 0], data.y, strict=True)} == {(60, 0), (4, 1), (10, 2)}


def test_pin_makes_the_content_the_identity(table: Path, tmp_path: Path) -> None:
    config = FileData(path=str(table))
    pinned = pin(config)
    assert pinned.sha256 == hashlib.sha256(table.read_bytes()).hexdigest()
    assert pin(pinned) == pinned
    copy = tmp_path / "copy.csv"
    copy.write_bytes(table.read_bytes())
    moved = pin(FileData(path=str(copy)))
    assert fingerprint("tgt", "target", 1, moved) == fingerprint("tgt", "target", 1, pinned)
    np.testing.assert_array_equal(load(moved).x, load(pinned).x)


@pytest.mark.parametrize("use", [pin, load, describe])
def test_a_file_that_changed_is_refused_once_pinned_and_read_anew_else(table: Path, use: object) -> None:
    config = FileData(path=str(table))
    pinned = pin(config)
    before = load(config).x
    load(pinned), describe(pinned)
    write(table, range(ROWS, 2 * ROWS + 1))
    with pytest.raises(DataError, match=r"have changed\n.*SHA-256 [0-9a-f]{64}\n") as caught:
        use(pinned)  # type: ignore[operator]
    assert pinned.sha256 in str(caught.value)
    assert load(config).x.shape != before.shape
    assert describe(config).n + describe(config).n_test == ROWS + 1
    assert pin(config).sha256 != pinned.sha256


def test_ten_thousand_configurations_of_one_file_read_it_once(table: Path) -> None:
    shapes = {describe(FileData(path=str(table), seed=seed)) for seed in range(10_000)}
    assert len(shapes) == 1


def test_a_home_directory_is_expanded(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(table.parent))
    assert describe(FileData(path=f"~/{table.name}")) == describe(FileData(path=str(table)))


def file_error(path: Path | str, **fields: object) -> str:
    with pytest.raises(DataError) as caught:
        describe(FileData(path=str(path), **fields))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    message = file_error(tmp_path / "no such.csv")
    assert "there is no data file" in message
    assert str(tmp_path / "no such.csv") in message
    with pytest.raises(DataError, match="there is no data file"):
        pin(FileData(path=str(tmp_path / "no such.csv")))


def test_a_relative_path_says_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"looked for at {tmp_path / 'gone.npz'}" in file_error("gone.npz")


def test_a_directory(tmp_path: Path) -> None:
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    assert "is a directory" in file_error(folder)


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    assert "cannot be read" in file_error(loop)
    assert "cannot be read" in file_error("a\0b.csv")
    assert "cannot be read" in file_error("x" * 5000 + ".csv")


def test_a_forbidden_file(table: Path) -> None:
    table.chmod(0)
    try:
        table.read_bytes()
    except PermissionError:
        assert "cannot be read" in file_error(table)
    else:
        pytest.skip("this user may read every file")


def test_an_unknown_format(table: Path) -> None:
    other = table.rename(table.with_suffix(".xlsx"))
    assert "suffix '.xlsx'" in file_error(other)


def test_upper_case_suffixes_are_fine(table: Path) -> None:
    other = table.rename(table.with_suffix(".CSV"))
    assert describe(FileData(path=str(other))).input_shape == (3,)


def test_too_few_rows(table: Path) -> None:
    write(table, range(9))
    message = file_error(table)
    assert "9 rows" in message
    assert "10 rows or more" in message


def test_a_split_that_leaves_nothing(table: Path) -> None:
    assert "no test row" in file_error(table, test_fraction=0.01)
    assert "no training row" in file_error(table, test_fraction=0.99)


def test_a_nan(table: Path) -> None:
    lines = table.read_text().splitlines()
    lines[6] = "nan,1,1,1"
    table.write_text("\n".join(lines))
    assert f"1 of {4 * ROWS}, the first in line 7, column 'a'" in file_error(table)


def test_a_target_column_for_an_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(20), y=np.zeros(20))
    assert "target_column is for CSV" in file_error(tmp_path / "a.npz", target_column="y")


def test_an_unknown_target_column(table: Path) -> None:
    assert "did you mean 'target'?" in file_error(table, target_column="taget")


def test_labels_that_are_no_classes(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.zeros(20), y=np.linspace(0, 1, 20))
    assert "whole numbers: array 'y'" in file_error(path, task="classification")
    np.savez(path, x=np.zeros(20), y=np.ones(20, dtype=int))
    assert "two classes or more" in file_error(path, task="classification")


def test_numbers_beyond_the_type_that_is_computed_with_are_refused_before_work(tmp_path: Path) -> None:
    """They would be infinite there: in training, as targets, and as samplers see them."""
    path = tmp_path / "large.npz"
    np.savez(path, x=np.arange(40.0).reshape(20, 2) * 1e40, y=np.arange(20.0))
    data = FileData(path=str(path), standardize=False)
    wide, narrow = TrainingConfig(dtype="float64", steps=1), TrainingConfig(dtype="float32", steps=1)
    model = MlpModel(widths=(2,))
    check_target(TargetConfig(model=model, data=data, target=wide))
    sampler = SgldSampler().settled(nbeta=1.0)
    for refused in (
        lambda: check_target(TargetConfig(model=model, data=data, target=narrow)),
        lambda: check_estimate(
            EstimateConfig(target=TargetConfig(model=model, data=data, target=wide), sampler=sampler)
        ),
        lambda: refuse_beyond({"x": load(data).x}, "float32"),
    ):
        with pytest.raises(DataError, match=r"beyond the type.*\n.*3.*e\+41 in x\n.*3.4e\+38 \(float32\)"):
            refused()
    check_fits(data.model_copy(update={"standardize": True}), "float32")
