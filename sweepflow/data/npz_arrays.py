"""The arrays `x` and `y` of an `.npz` file, never unpickled."""

from __future__ import annotations

import io
import zipfile
import zlib

import numpy as np
from jaxtyping import Float

from sweepflow.data.csv_table import LARGEST
from sweepflow.errors import DataError

REAL_KINDS = "biuf"
TEXT_KINDS = "US"


def parse_npz(
    content: bytes, path: str, *, classify: bool
) -> tuple[Float[np.ndarray, "rows ..."], np.ndarray]:
    """Return inputs and targets of a NumPy archive.

    Args:
        content: The file's bytes.
        path: Path of the file, for errors.
        classify: Whether `y` holds class labels, one for each row, which may be strings.

    Returns:
        x, float64 (rows, ...), with one column if the file's x is (rows,); y, float64 (rows,) or (rows,
        outputs). If `classify`, y is (rows,) and may also be strings, or whole numbers as they are.

    Raises:
        DataError: for a file that is no archive, missing arrays, objects, wrong shapes, uneven rows, and
            values that are NaN, infinite or too large.
    """
    x, y = _read(content, path)
    _check_kind(x, "x", path, REAL_KINDS)
    _check_kind(y, "y", path, REAL_KINDS + TEXT_KINDS if classify else REAL_KINDS)
    if x.ndim == 0 or 0 in x.shape[1:]:
        raise DataError(
            f"array 'x' of {path!r} holds no features", got=f"shape {x.shape}", allowed="shape (rows, ...)"
        )
    if classify and y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in ((1,) if classify else (1, 2)) or 0 in y.shape[1:]:
        raise DataError(
            f"array 'y' of {path!r} has the wrong shape",
            got=f"shape {y.shape}",
            allowed="shape (rows,)" if classify else "shape (rows,) or (rows, outputs)",
            do="give class indices, not one-hot rows" if classify else "flatten each row's targets",
        )
    if len(x) != len(y):
        raise DataError(
            f"arrays 'x' and 'y' of {path!r} differ in rows",
            got=f"x has {len(x)} rows, y has {len(y)}",
            allowed="one row of y for each row of x",
            do="save both in the same order and of the same length",
        )
    _refuse_bad_values(x, "x", path)
    if y.dtype.kind in TEXT_KINDS:
        return _as_float(x), y.astype(str)
    _refuse_bad_values(y, "y", path)
    is_whole = y.dtype.kind in "iu"  # two of 64 bits may be one float64 number, and are two classes
    return _as_float(x), y if classify and is_whole else y.astype(np.float64)


def _as_float(x: np.ndarray) -> Float[np.ndarray, "rows ..."]:
    x = x.astype(np.float64)
    return x[:, None] if x.ndim == 1 else x


def _read(content: bytes, path: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        archive = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise _no_archive(path, str(error)) from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise _no_archive(path, "a single array (.npy)")
    with archive:
        for name in ("x", "y"):
            if name not in archive.files:
                raise DataError(
                    f"{path!r} has no array {name!r}",
                    got=f"arrays {sorted(archive.files)}",
                    allowed="arrays 'x' (rows, ...) and 'y' (rows,) or (rows, outputs)",
                    do="save them with numpy.savez(path, x=x, y=y)",
                )
        return _array(archive, "x", path), _array(archive, "y", path)


def _array(archive: np.lib.npyio.NpzFile, name: str, path: str) -> np.ndarray:
    try:
        return np.asarray(archive[name])
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"array {name!r} of {path!r} holds Python objects, which sweepflow never unpickles",
                got="dtype object",
                allowed="numbers, booleans, and strings for class labels",
                do="convert it with numpy.asarray(values, dtype=float) and save again; rows of uneven length "
                "become objects",
            ) from None
        raise _no_archive(path, f"array {name!r}: {error}") from None


def _no_archive(path: str, got: str) -> DataError:
    return DataError(
        f"{path!r} is not a whole .npz archive",
        got=got,
        allowed="a file written by numpy.savez(path, x=x, y=y)",
        do="save it again",
    )


def _check_kind(array: np.ndarray, name: str, path: str, kinds: str) -> None:
    if array.dtype.kind not in kinds:
        raise DataError(
            f"array {name!r} of {path!r} has the wrong type",
            got=f"dtype {array.dtype}",
            allowed="real numbers or booleans" + (", or strings" if "U" in kinds else ""),
            do="convert it with numpy.asarray(values, dtype=float) and save again",
        )


def _refuse_bad_values(array: np.ndarray, name: str, path: str) -> None:
    bad = ~(np.abs(array.astype(np.float64)) <= LARGEST)
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"array {name!r} of {path!r} has NaN or infinite values",
            got=f"{bad.sum()} of {bad.size}, the first at index {first} (row {first[0] + 1})",
            allowed=f"finite numbers up to {LARGEST:g}",
            do="fill them in or drop those rows",
        )
