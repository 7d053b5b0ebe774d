"""MNIST from IDX files and archives that are written here: what is read, what is pinned, what is refused."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sweepflow.data import describe, load, pin
from sweepflow.data.mnist_files import read_arrays
from sweepflow.errors import DataError
from sweepflow.fingerprint import fingerprint
from sweepflow.schema.data import MnistData

TRAIN, TEST = 50, 20
FIRST_LABELS = [4, 0, 5, 6, 8, 2, 7, 2, 5, 3, 7, 1]
NAMES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def pixels(seed: int = 0, train: int = TRAIN, test: int = TEST) -> dict[str, np.ndarray]:
    """Random images, mostly black like digits, and labels of all ten classes."""
    rng = np.random.default_rng(seed)

    def images(rows: int) -> np.ndarray:
        return (rng.integers(0, 256, (rows, 28, 28)) * (rng.random((rows, 28, 28)) < 0.2)).astype(np.uint8)

    return {
        "x_train": images(train),
        "y_train": np.arange(train, dtype=np.uint8) % 10,
        "x_test": images(test),
        "y_test": np.arange(test, dtype=np.uint8)[::-1] % 10,
    }


def idx(array: np.ndarray) -> bytes:
    """An IDX file, by the format's description."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(
    folder: Path, parts: dict[str, np.ndarray], *, compress: bool = False, dotted: bool = False
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in parts.items():
        stem = NAMES[name].replace("-idx", ".idx") if dotted else NAMES[name]
        content = gzip.compress(idx(array)) if compress else idx(array)
        (folder / f"{stem}{'.gz' * compress}").write_bytes(content)
    return folder


def write_npz(path: Path, parts: dict[str, np.ndarray]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **parts)
    return path


LAYOUTS: dict[str, Callable[[Path, dict[str, np.ndarray]], Path]] = {
    "plain": lambda folder, parts: write_idx(folder, parts),
    "gzipped": lambda folder, parts: write_idx(folder, parts, compress=True),
    "dotted": lambda folder, parts: write_idx(folder, parts, dotted=True),
    "dotted gzipped": lambda folder, parts: write_idx(folder, parts, compress=True, dotted=True),
    "npz": lambda folder, parts: write_npz(folder / "a copy.npz", parts),
    "folder with npz": lambda folder, parts: write_npz(folder / "mnist.npz", parts).parent,
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A directory of plain IDX files, with a space and a quote in its path."""
    return write_idx(tmp_path / "my 'own' mnist", pixels())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows_and_the_same_trial(layout: str, tmp_path: Path, copy: Path) -> None:
    config = MnistData(path=str(LAYOUTS[layout](tmp_path / layout, pixels())))
    shape, data, plain = describe(config), load(config), load(MnistData(path=str(copy)))
    assert (shape.n, shape.n_test, shape.input_shape, shape.output_dim) == (TRAIN, TEST, (1, 28, 28), 10)
    assert shape.task == "classification" and shape == data.shape
    for name in ("x", "y", "x_test", "y_test"):
        array = getattr(data, name)
        assert array.dtype == np.float64
        np.testing.assert_array_equal(array, getattr(plain, name))
    identity = [fingerprint("trl", "test", 1, pin(c)) for c in (config, MnistData(path=str(copy)))]
    assert identity[0] == identity[1]


def test_pixels_are_standardised_together_by_the_training_rows(copy: Path) -> None:
    parts, data = pixels(), load(MnistData(path=str(copy)))
    train, test = parts["x_train"] / 255.0, parts["x_test"] / 255.0
    wanted = (train - train.mean()) / train.std()
    order = np.array([int(np.abs(wanted - image).max(axis=(1, 2)).argmin()) for image in data.x[:, 0]])
    assert sorted(order) == list(range(TRAIN)), "every row once"
    assert list(order) != sorted(order), "in another order than the file's"
    np.testing.assert_allclose(data.x[:, 0], wanted[order], rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(data.y, parts["y_train"][order])
    np.testing.assert_allclose(data.x_test[:, 0], (test - train.mean()) / train.std(), rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(data.y_test, parts["y_test"])


def test_a_file_that_is_sorted_by_class_gives_every_class_to_every_part(tmp_path: Path) -> None:
    parts = pixels(train=2000) | {"y_train": np.repeat(np.arange(10, dtype=np.uint8), 200)}
    path = str(write_npz(tmp_path / "sorted.npz", parts))
    y = load(MnistData(path=path)).y
    for part in (y[:1600], y[1600:], load(MnistData(path=path, n_data=300)).y):
        counts = np.bincount(part.astype(int), minlength=10)
        # Drawn without replacement, a count is within 5 standard deviations of a tenth of the rows.
        assert np.abs(counts - len(part) / 10).max() < 5 * np.sqrt(0.09 * len(part))


def test_the_order_of_rows_is_always_the_same(copy: Path) -> None:
    """Results in stores depend on it; another one is another `ORDER_SEED`, which is part of the digest."""
    assert load(MnistData(path=str(copy))).y[:12].tolist() == FIRST_LABELS


def test_images_of_one_grey_are_centred(tmp_path: Path) -> None:
    parts = pixels() | {"x_train": np.full((TRAIN, 28, 28), 255, np.uint8)}
    data = load(MnistData(path=str(write_idx(tmp_path / "grey", parts))))
    np.testing.assert_array_equal(data.x, 0.0)
    assert np.isfinite(data.x_test).all()


def test_fewer_rows_are_the_first_of_all_and_standardised_by_themselves(copy: Path) -> None:
    config = MnistData(path=str(copy), n_data=12, n_test=5)
    data = load(config)
    assert describe(config) == data.shape
    assert (data.shape.n, data.shape.n_test) == (12, 5)
    assert data.x.shape == (12, 1, 28, 28) and data.y_test.shape == (5,)
    assert data.x.mean() == pytest.approx(0.0, abs=1e-12) and data.x.std() == pytest.approx(1.0)
    np.testing.assert_array_equal(data.y, load(MnistData(path=str(copy))).y[:12])


def test_other_numbers_of_rows_are_other_trials_and_all_rows_have_one_name(copy: Path) -> None:
    pinned = {n: pin(MnistData(path=str(copy), n_data=n)) for n in (None, TRAIN, 12)}
    assert pinned[None] == pinned[TRAIN] != pinned[12]
    assert pinned[12].sha256 == pinned[None].sha256


def test_changed_content_is_another_trial_and_no_longer_the_pinned_one(copy: Path) -> None:
    pinned = pin(MnistData(path=str(copy)))
    assert load(pinned).shape.n == TRAIN
    write_idx(copy, pixels(seed=1))
    assert pin(MnistData(path=str(copy))).sha256 != pinned.sha256
    for read in (load, pin):
        with pytest.raises(DataError, match=f"have changed\n.*SHA-256 .*\n.*{pinned.sha256}"):
            read(pinned)


def test_loads_are_cached_and_cannot_be_written_to(copy: Path) -> None:
    config = MnistData(path=str(copy))
    data = load(config)
    assert load(config.model_copy()) is data
    with pytest.raises(ValueError, match="read-only"):
        data.x[...] = 0.0


def test_describe_reads_headers_alone(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "a", pixels(), compress=True)
    images = folder / f"{NAMES['x_train']}.gz"
    images.write_bytes(images.read_bytes()[:-100])  # its end is missing, which only reading it all can show
    config = MnistData(path=str(folder))
    assert describe(config).n == TRAIN
    with pytest.raises(DataError, match="cannot be read as a whole file"):
        load(config)


def test_loading_takes_little_more_memory_than_the_rows_it_gives(tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "a", pixels(train=8000, test=1000))
    tracemalloc.start()
    try:
        data = load(MnistData(path=str(folder)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The pixels are an eighth of the rows; a block of 1000 images takes its rows again.
    assert peak < 1.5 * (data.x.nbytes + data.x_test.nbytes)


def test_a_gzipped_file_is_known_by_its_content(tmp_path: Path, copy: Path) -> None:
    for file in copy.iterdir():
        file.write_bytes(gzip.compress(file.read_bytes()))
    assert describe(MnistData(path=str(copy))).n == TRAIN
    unpacked = write_idx(tmp_path / "unpacked", pixels())
    for file in list(unpacked.iterdir()):
        file.rename(f"{file}.gz")
    np.testing.assert_array_equal(load(MnistData(path=str(unpacked))).x, load(MnistData(path=str(copy))).x)


def test_nothing_there_says_what_is_looked_for_and_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(DataError) as told:
        describe(MnistData(path=str(tmp_path / "nowhere")))
    text = str(told.value)
    assert "no such directory" in text and str(tmp_path / "nowhere") in text
    for words in (*NAMES.values(), "mnist.npz", "Yann LeCun", "Zalando Research", "data.path="):
        assert words in text


def test_a_directory_with_some_of_the_files_names_the_others(copy: Path) -> None:
    (copy / NAMES["y_test"]).unlink()
    with pytest.raises(DataError, match=f"not whole at .*\n.*no {NAMES['y_test']} in"):
        describe(MnistData(path=str(copy)))


def test_one_file_of_the_four_is_answered_with_its_directory(copy: Path) -> None:
    with pytest.raises(DataError, match="single file") as told:
        describe(MnistData(path=str(copy / NAMES["x_train"])))
    assert f"data.path={str(copy)!r}" in str(told.value)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("size", [0, 3, 10, 1000, -1])
def test_a_torn_file_is_refused(size: int, compress: bool, tmp_path: Path) -> None:
    folder = write_idx(tmp_path / "a", pixels())
    file = folder / NAMES["x_test"]
    torn = file.read_bytes()[:size]
    file.write_bytes(gzip.compress(torn) if compress else torn)
    with pytest.raises(DataError, match=f"{NAMES['x_test']}.*cannot be read as a whole file"):
        load(MnistData(path=str(folder)))


def test_a_plain_file_that_is_torn_or_too_long_is_refused_before_any_work(copy: Path) -> None:
    file = copy / NAMES["x_train"]
    whole = file.read_bytes()
    for content in (whole[:-1], whole + b"\0"):
        file.write_bytes(content)
        with pytest.raises(DataError, match=f"bytes of values where its header says {TRAIN * 28 * 28}"):
            describe(MnistData(path=str(copy)))


@pytest.mark.parametrize(
    ("content", "got"),
    [(idx(np.zeros(TRAIN, np.uint8)), "2049: labels"), (b"<html>not found</html>", str(0x3C68746D))],
)
def test_a_wrong_magic_number_is_refused(content: bytes, got: str, copy: Path) -> None:
    (copy / NAMES["x_train"]).write_bytes(content)
    with pytest.raises(DataError, match=f"magic number {got}\n.*magic number 2051"):
        describe(MnistData(path=str(copy)))


def test_labels_of_another_number_than_images_are_refused(tmp_path: Path) -> None:
    parts = pixels()
    parts["y_test"] = parts["y_test"][:-1]
    for path in (write_idx(tmp_path / "a", parts), write_npz(tmp_path / "b.npz", parts)):
        with pytest.raises(DataError, match=f"{TEST} test images .*{TEST - 1} test labels"):
            describe(MnistData(path=str(path)))


@pytest.mark.parametrize("label", [10, 47])
def test_labels_above_nine_are_refused(label: int, tmp_path: Path) -> None:
    parts = pixels()
    parts["y_train"][[3, 7]] = label
    for path in (write_idx(tmp_path / "a", parts), write_npz(tmp_path / "b.npz", parts)):
        with pytest.raises(DataError, match=f"y_train .*\n.*{label} in row 4, 2 such labels.*\n.*0 to 9"):
            pin(MnistData(path=str(path)))


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    parts = pixels() | {"x_train": np.zeros((TRAIN, 32, 32), np.uint8)}
    with pytest.raises(DataError, match=r"x_train of .*\n.*\(50, 32, 32\)\n.*\(rows, 28, 28\)\n.*data=file"):
        describe(MnistData(path=str(write_idx(tmp_path / "a", parts))))


@pytest.mark.parametrize("key", ["n_data", "n_test"])
def test_more_rows_than_there_are_is_refused(key: str, copy: Path) -> None:
    with pytest.raises(DataError, match=f"{key}=60000\n.*1 to {TRAIN if key == 'n_data' else TEST}\n"):
        describe(MnistData(path=str(copy), **{key: 60_000}))


def test_archives_of_another_make_are_refused(tmp_path: Path) -> None:
    other, scaled, torn = tmp_path / "other.npz", tmp_path / "scaled.npz", tmp_path / "torn.npz"
    np.savez(other, x=np.zeros(3), y=np.zeros(3))
    np.savez(scaled, **(pixels() | {"x_train": pixels()["x_train"] / 255.0}))
    write_npz(torn, pixels())
    torn.write_bytes(torn.read_bytes()[:-50])
    for path, complaint in (
        (other, "lacks x_train, y_train, x_test, y_test\n.*arrays x, y\n"),
        (scaled, "'x_train' has the wrong type\n.*float64\n.*uint8"),
        (torn, "cannot be read as a whole file"),
    ):
        with pytest.raises(DataError, match=complaint):
            describe(MnistData(path=str(path)))


def test_labels_of_an_archive_may_be_of_any_whole_type(tmp_path: Path) -> None:
    wide = pixels() | {"y_train": pixels()["y_train"].astype(np.int64)}
    narrow, wide_copy = write_npz(tmp_path / "a.npz", pixels()), write_npz(tmp_path / "b.npz", wide)
    assert read_arrays(dict.fromkeys(NAMES, wide_copy))["y_train"].dtype == np.int64
    assert pin(MnistData(path=str(wide_copy))).sha256 == pin(MnistData(path=str(narrow))).sha256
    negative = wide | {"y_train": wide["y_train"] - 1}
    with pytest.raises(DataError, match="-1 in row 1"):
        pin(MnistData(path=str(write_npz(tmp_path / "c.npz", negative))))
