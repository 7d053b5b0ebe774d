"""Every link of a page leads somewhere; the pages of the reference are what the script makes of the code."""

from __future__ import annotations

import importlib.util
import os
import re
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest

from tests.test_documented_examples import DOCS, PAGES, ROOT, name_of

LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
CODE = re.compile(r"^ *```.*?^ *```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
NAMED = re.compile(r"\bdocs/[\w./-]+\.(?:md|py|png)\b")
"""What comments, messages and settings call a page."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: Counter[str] = Counter()
    names = set()
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"(?ms)^ *```.*?^ *```$", "", page.read_text()), re.M):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        names.add(slug if not found[slug] else f"{slug}-{found[slug]}")
        found[slug] += 1
    return names


def test_anchors_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# `run` and `inputs`\n\n## data.kind=file\n\n```sh\n# no heading\n```\n\n## Keys\n\n## Keys\n"
    )
    assert anchors(page) == {"run-and-inputs", "datakindfile", "keys", "keys-1"}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(CODE.sub("code", page.read_text())):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not link.startswith("https://") and (
            not target.exists() or (anchor and anchor not in anchors(target))
        ):
            dead.append(link)
    assert dead == []


def test_the_index_has_every_page() -> None:
    index = DOCS / "README.md"
    linked = {(DOCS / link).resolve() for link in LINK.findall(index.read_text())}
    assert linked == {page for page in PAGES if DOCS in page.parents and page != index}


def test_pages_that_the_code_names_are_there() -> None:
    folders = ("benchmarks", "conf", "deployments", "docker", "docs", "flows", "sweepflow", "tasks", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    files += [path for path in ROOT.iterdir() if path.name != "CHANGELOG.md"]
    missing = [
        f"{path}: {named}"
        for path in files
        if path.suffix in (".py", ".yaml", ".toml", ".md") or path.name in ("Makefile", "Dockerfile")
        for named in NAMED.findall(path.read_text("utf-8"))
        if not (ROOT / named).exists()
    ]
    assert missing == []


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script that makes the pages of the reference."""
    spec = importlib.util.spec_from_file_location("docs_reference", ROOT / "docs" / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says(reference: ModuleType) -> None:
    for path, text in reference.pages().items():
        same = path.read_text("utf-8") == text
        assert same, f"{path.relative_to(ROOT)} is of before: run python docs/reference.py"


def test_the_reference_is_the_same_in_every_environment(
    reference: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = reference.pages()
    for name, value in {"SWEEPFLOW_STORE": f"{os.sep}elsewhere", "COLUMNS": "60", "NO_COLOR": "1"}.items():
        monkeypatch.setenv(name, value)
    assert reference.pages() == expected


def test_every_key_of_the_reference_has_a_meaning(reference: ModuleType) -> None:
    rows = [line for line in reference.configuration().splitlines() if line.startswith("| `")]
    keys = [line for line in rows if line.count(" | ") >= 4]
    assert len(keys) > 150
    assert [line for line in keys if line.endswith("|  |")] == []
