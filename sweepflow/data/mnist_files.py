"""The four arrays of MNIST in their file formats: IDX, plain or gzipped, or one `.npz`.

IDX is four bytes (two zeros, the type, the number of dimensions), the dimensions as big-endian uint32, and
then the values: `numpy.frombuffer` reads it, and no library would make that shorter.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from sweepflow.errors import DataError

IDX_STEMS = {
    "x_train": ("train-images", "idx3-ubyte"),
    "y_train": ("train-labels", "idx1-ubyte"),
    "x_test": ("t10k-images", "idx3-ubyte"),
    "y_test": ("t10k-labels", "idx1-ubyte"),
}
"""The two halves of each file's name, by the name of its array in an `.npz`."""

NPZ_NAME = "mnist.npz"
UINT8_MAGIC = b"\0\0\x08"
GZIP_MAGIC = b"\x1f\x8b"

DATA_SETS = (
    "MNIST (Yann LeCun, Corinna Cortes, Christopher Burges; yann.lecun.com/exdb/mnist) or Fashion-MNIST "
    "(Zalando Research; github.com/zalandoresearch/fashion-mnist)"
)


def find_files(path: str) -> dict[str, Path]:
    """Return the file that holds each of the four arrays; for an `.npz`, all are in the same file.

    Raises:
        DataError: if the files do not exist.
    """
    try:
        return _find_files(path, Path(path).expanduser())
    except OSError as error:  # such as a directory that may not be searched
        raise _not_whole(Path(path), error.strerror or str(error)) from None


def _find_files(path: str, place: Path) -> dict[str, Path]:
    if place.is_file():
        if place.suffix.lower() == ".npz":
            return dict.fromkeys(IDX_STEMS, place)
        raise DataError(
            f"{path!r} is a single file, and no .npz",
            got=f"data.path={path!r}",
            allowed=f"the directory of the four IDX files, or an .npz of {', '.join(IDX_STEMS)}",
            do=f"give the directory: data.path={str(place.parent)!r}",
        )
    found = {}
    for name, (stem, kind) in IDX_STEMS.items():
        candidates = (place / f"{stem}{dot}{kind}{suffix}" for dot in "-." for suffix in ("", ".gz"))
        if (file := next((file for file in candidates if file.is_file()), None)) is not None:
            found[name] = file
    if len(found) == len(IDX_STEMS):
        return found
    if (place / NPZ_NAME).is_file():
        return dict.fromkeys(IDX_STEMS, place / NPZ_NAME)
    looked_for = ["-".join(halves) for name, halves in IDX_STEMS.items() if name not in found]
    raise DataError(
        f"MNIST is not whole at {path!r}" if found else f"there is no MNIST at {path!r}",
        got=f"{'no' if place.is_dir() else 'no such directory, so no'} {', '.join(looked_for)} in "
        f"{place.absolute()}",
        allowed=f"a directory with {', '.join(map('-'.join, IDX_STEMS.values()))} (plain or .gz; also "
        f"train-images.idx3-ubyte), or {NPZ_NAME} with {', '.join(IDX_STEMS)}",
        do=f"download the four files of {DATA_SETS}, and give their directory with data.path=DIRECTORY",
    )


def read_shapes(files: Mapping[str, Path]) -> dict[str, tuple[int, ...]]:
    """The shape of each array, from the headers alone.

    Raises:
        DataError: for files that cannot be read, or are something else.
    """
    if files["x_train"].suffix.lower() == ".npz":
        return _from_npz(files["x_train"], _npy_shape)
    return {name: _from_idx(file, name, header_only=True)[0] for name, file in files.items()}


def read_arrays(files: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """The arrays: uint8 images (rows, height, width), whole numbers (rows,) as labels.

    Raises:
        DataError: as `read_shapes`, and for files that are not whole.
    """
    if files["x_train"].suffix.lower() == ".npz":
        return _from_npz(files["x_train"], _npy_array)
    return {name: _from_idx(file, name, header_only=False)[1] for name, file in files.items()}


def _from_idx(file: Path, name: str, *, header_only: bool) -> tuple[tuple[int, ...], np.ndarray]:
    """Return shape and values of an IDX file, plain or gzipped regardless of its name.

    There are no values if only the header is read.
    """
    dimensions = 3 if name.startswith("x") else 1
    try:
        with file.open("rb") as plain:
            gzipped = plain.read(2) == GZIP_MAGIC
        with gzip.open(file, "rb") if gzipped else file.open("rb") as stream:
            header = stream.read(4 + 4 * dimensions)
            shape = _idx_shape(header, dimensions, file)
            if header_only:
                present = math.prod(shape) if gzipped else file.stat().st_size - len(header)
                values = np.empty(0, np.uint8)
            else:
                values = np.frombuffer(stream.read(), np.uint8)
                present = values.size
    except (OSError, EOFError, zlib.error) as error:
        raise _not_whole(file, getattr(error, "strerror", None) or str(error)) from None
    if present != math.prod(shape):
        raise _not_whole(file, f"{present} bytes of values where its header says {math.prod(shape)}")
    return shape, values if header_only else values.reshape(shape)


def _idx_shape(header: bytes, dimensions: int, file: Path) -> tuple[int, ...]:
    expected = UINT8_MAGIC + bytes([dimensions])
    if len(header) >= 4 and header[:4] != expected:
        other = UINT8_MAGIC + bytes([4 - dimensions])
        holds = "labels" if dimensions == 3 else "images"
        raise DataError(
            f"{str(file)!r} is not the IDX file that its name says",
            got=f"magic number {int.from_bytes(header[:4])}" + (f": {holds}" if header[:4] == other else ""),
            allowed=f"magic number {int.from_bytes(expected)}",
            do="take the file from the download again; saved web pages and renamed files look like this",
        )
    if len(header) < 4 + 4 * dimensions:
        raise _not_whole(file, f"{len(header)} bytes")
    return tuple(int(size) for size in np.frombuffer(header, ">u4", offset=4))


def _from_npz(file: Path, read: Callable[[IO[bytes], str], Any]) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            missing = [name for name in IDX_STEMS if f"{name}.npy" not in archive.namelist()]
            if missing:
                raise DataError(
                    f"{str(file)!r} lacks {', '.join(missing)}",
                    got=f"arrays {', '.join(name.removesuffix('.npy') for name in archive.namelist())}",
                    allowed=f"arrays {', '.join(IDX_STEMS)}",
                    do="save all four, or use data=file for arrays x and y",
                )
            arrays = {}
            for name in IDX_STEMS:
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = read(stream, name)
            return arrays
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise _not_whole(file, str(error)) from None


def _npy_shape(stream: IO[bytes], name: str) -> tuple[int, ...]:
    major, _ = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    if not (dtype == np.uint8 or (name.startswith("y") and dtype.kind in "iu")):
        raise DataError(
            f"array {name!r} has the wrong type",
            got=f"dtype {dtype}",
            allowed="uint8 pixels from 0 to 255, and whole numbers as labels",
            do="save the pixels as they are published, unscaled; or use data=file for arrays x and y",
        )
    return shape


def _npy_array(stream: IO[bytes], name: str) -> np.ndarray:
    del name
    return np.lib.format.read_array(stream, allow_pickle=False)


def _not_whole(file: Path, got: str) -> DataError:
    return DataError(
        f"{str(file)!r} cannot be read as a whole file of MNIST",
        got=got,
        do="check its permissions, and that its download has ended; then take it again",
    )
