from __future__ import annotations

import json
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from sweepflow.installed import is_installed

STANDARD = sysconfig.get_path("stdlib")


@pytest.mark.parametrize(
    ("path", "installed"),
    [
        (json.__file__, True),
        (np.__file__, True),
        ("<frozen importlib._bootstrap>", True),
        (STANDARD, True),
        (Path(json.__file__).resolve().parent, True),
        ("/elsewhere/lib/python3/dist-packages", True),
        ("/home/me/.local/lib/python3.11/site-packages/one.py", True),
        (__file__, False),
        (f"{STANDARD}-mine/train.py", False),
        ("/home/me/site-packages.py", False),
        ("train.py", False),
        ("<string>", False),
    ],
)
def test_code_is_installed_where_it_lies_in_a_library(path: str | Path, installed: bool) -> None:
    assert is_installed(path) is installed
