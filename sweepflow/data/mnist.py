"""MNIST and Fashion-MNIST from the user's copy: four IDX files, or one `.npz`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int, UInt8

from sweepflow.data.dataset import Dataset, DataShape, check_pinned
from sweepflow.data.mnist_files import IDX_STEMS, find_files, read_arrays, read_shapes
from sweepflow.data.streams import stream
from sweepflow.errors import DataError
from sweepflow.schema.data import MnistData

CLASSES = 10
SIDE = 28
"""Pixels of an image's height and width."""

BLOCK = 1000
"""Number of images that are standardised at a time: NumPy's index arrays are eight times as large as the
pixels."""

ORDER_SEED = 0
"""Seed of the order in which training rows are taken: a file may hold one class after the other."""

Stamp = tuple[tuple[str, int, int, int], ...]
"""Path, time of the last change, size and inode of each file."""


def describe(config: MnistData) -> DataShape:
    """Return the shape, from the files' headers alone.

    Raises:
        DataError: if there are no such files, a header is not one of MNIST's, images and labels differ
            in number, or there are fewer rows than are asked for.
    """
    shapes = _shapes(config.path, stamp(config.path))
    return DataShape(
        task="classification",
        n=_taken(config.n_data, shapes["x_train"][0], "n_data"),
        n_test=_taken(config.n_test, shapes["x_test"][0], "n_test"),
        input_shape=(1, SIDE, SIDE),
        output_dim=CLASSES,
    )


def load(config: MnistData) -> Dataset:
    """Read `n_data` training rows and the first `n_test` test rows, and standardise them.

    Training rows come in a random order that is always the same. So the first rows are a random subset of the
    file, the first 100 are among the first 1000, and the last rows (on which a training may validate) are
    another random subset. The pixels, 0 to 255, are divided by 255 and then standardised together, by the
    mean and deviation of the training rows that are taken; a row is one channel of 28 x 28, a class its index
    as float64. Each array is made once, a block at a time from the 256 values that a pixel can have.

    Raises:
        DataError: as `describe`, for files that are not whole, labels above 9, and files that changed since
            they were pinned.
    """
    shape = describe(config)
    parts = _parts(config.path)
    check_pinned(config, _digest(parts))
    taken = _order(len(parts["y_train"]))[: shape.n]
    all_test_rows = np.arange(shape.n_test)
    values = _standardized_values(_histogram(parts["x_train"], taken))
    return Dataset(
        shape=shape,
        x=_look_up(values, parts["x_train"], taken),
        y=parts["y_train"][taken].astype(np.float64),
        x_test=_look_up(values, parts["x_test"], all_test_rows),
        y_test=parts["y_test"][: shape.n_test].astype(np.float64),
    )


def pin(config: MnistData) -> MnistData:
    """The same configuration with the SHA-256 of its images and labels, and its numbers of rows, filled in.

    The digest covers the pixels and labels in the files' order, and the order in which they are taken, but
    not the files: the same images are the same trial, whether gzipped, plain or in an `.npz`.

    Raises:
        DataError: as `load`.
    """
    shape = describe(config)
    sha256 = _sha256(config.path, stamp(config.path))
    check_pinned(config, sha256)
    return config.model_copy(update={"sha256": sha256, "n_data": shape.n, "n_test": shape.n_test})


def stamp(path: str) -> Stamp:
    """Return a stamp that shows cheaply whether the files are still the ones that were read.

    Raises:
        DataError: if there are no files.
    """
    stamps = []
    for file in dict.fromkeys(find_files(path).values()):
        status = os.stat(file)
        stamps.append((str(file), status.st_mtime_ns, status.st_size, status.st_ino))
    return tuple(stamps)


@lru_cache(maxsize=64)
def _shapes(path: str, _stamp: Stamp) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array, from the headers, after a check against each other."""
    files = find_files(path)
    shapes = read_shapes(files)
    for name, shape in shapes.items():
        is_images = name.startswith("x")
        if shape[1:] != ((SIDE, SIDE) if is_images else ()) or not shape or not shape[0]:
            raise DataError(
                f"{name} of {path!r} has the wrong shape",
                got=f"shape {shape}",
                allowed=f"(rows, {SIDE}, {SIDE})" if is_images else "(rows,)",
                do="use data=file data.path=FILE.npz data.task=classification for other images",
            )
    for part in ("train", "test"):
        images, labels = shapes[f"x_{part}"][0], shapes[f"y_{part}"][0]
        if images != labels:
            raise DataError(
                f"{path!r} has images without labels, or labels without images",
                got=f"{images} {part} images ({files[f'x_{part}'].name}), {labels} {part} labels "
                f"({files[f'y_{part}'].name})",
                allowed="one label for each image",
                do="take all four files from one download",
            )
    return shapes


def _taken(asked: int | None, rows: int, key: str) -> int:
    if asked is not None and asked > rows:
        raise DataError(
            f"data.{key} is more than there is",
            got=f"{key}={asked}",
            allowed=f"1 to {rows}",
            do=f"leave data.{key} out to take all {rows}",
        )
    return rows if asked is None else asked


@lru_cache(maxsize=64)
def _sha256(path: str, _stamp: Stamp) -> str:
    return _digest(_parts(path))


def _digest(parts: Mapping[str, UInt8[np.ndarray, "rows ..."]]) -> str:
    sha = hashlib.sha256(f"order {ORDER_SEED}\n".encode())
    for name in IDX_STEMS:
        sha.update(f"{name} {parts[name].shape}\n".encode())
        sha.update(parts[name].data)
    return sha.hexdigest()


def _parts(path: str) -> dict[str, UInt8[np.ndarray, "rows ..."]]:
    """All rows: uint8 images (rows, 28, 28) and labels (rows,), C-contiguous."""
    parts = read_arrays(find_files(path))
    for name in ("y_train", "y_test"):
        labels = parts[name]
        if (above := np.flatnonzero((labels < 0) | (labels >= CLASSES))).size:
            raise DataError(
                f"{name} of {path!r} has labels that are no class of MNIST",
                got=f"{labels[above[0]]} in row {above[0] + 1}, {above.size} such labels in all",
                allowed=f"0 to {CLASSES - 1}",
                do="use data=file data.path=FILE.npz data.task=classification for other classes",
            )
    return {name: np.ascontiguousarray(part, dtype=np.uint8) for name, part in parts.items()}


def _order(rows: int) -> Int[np.ndarray, " rows"]:
    """Return row numbers in the order in which training rows are taken."""
    return stream(ORDER_SEED, "mnist/train").permutation(rows)


def _histogram(
    images: UInt8[np.ndarray, "rows 28 28"], taken: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " 256"]:
    counts = np.zeros(256, np.int64)
    for start in range(0, len(taken), BLOCK):
        counts += np.bincount(images[taken[start : start + BLOCK]].ravel(), minlength=256)
    return counts


def _standardized_values(counts: Int[np.ndarray, " 256"]) -> Float[np.ndarray, " 256"]:
    """Return the standardised form of the 256 pixel values, by the mean and deviation of the counted
    pixels."""
    values = np.arange(256) / 255.0
    centred = values - np.average(values, weights=counts)
    deviation = np.sqrt(np.average(np.square(centred), weights=counts))
    return centred / deviation if np.count_nonzero(counts) > 1 else centred


def _look_up(
    values: Float[np.ndarray, " 256"],
    images: UInt8[np.ndarray, "rows 28 28"],
    taken: Int[np.ndarray, " n"],
) -> Float[np.ndarray, "n 1 28 28"]:
    x = np.empty((len(taken), 1, SIDE, SIDE))
    for start in range(0, len(taken), BLOCK):
        x[start : start + BLOCK, 0] = values[images[taken[start : start + BLOCK]]]
    return x
