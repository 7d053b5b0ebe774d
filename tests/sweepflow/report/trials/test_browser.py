"""The page in a real browser: it draws every figure without an error, on a wide and on a narrow screen."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweepflow.report.trials.compare import compare, write_comparison
from sweepflow.report.trials.page import write_trials_report
from sweepflow.report.trials.view import TrialsView
from sweepflow.storage.record import Record

Arrays = Callable[[Record], Mapping[str, np.ndarray]]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install -y --no-install-recommends chromium"
)

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=60000",
    "--dump-dom",
)

LISTEN = """<script>
window.seen = { errors: [] };
addEventListener("error", (e) => seen.errors.push(String(e.message)));
addEventListener("unhandledrejection", (e) => seen.errors.push(String(e.reason)));
for (const level of ["error", "warn"]) console[level] = (...words) => seen.errors.push(words.join(" "));
</script>"""

LOOK = """<script>
(async () => {
  while (!document.body.dataset.drawn && !seen.errors.length) await new Promise((r) => setTimeout(r, 20));
  const all = (selector) => [...document.querySelectorAll(selector)];
  seen.places = all(".plot").length;
  seen.svgs = all(".plot").filter((p) => p.querySelector("svg.main-svg")).length;
  seen.legends = all(".legend svg path").every((path) => path.getAttribute("d").startsWith("M"));
  seen.wide = document.documentElement.scrollWidth > innerWidth;
  seen.spilt = all(".plot").filter((p) => p.scrollWidth > p.clientWidth + 1).length;
  // Tick labels of one axis that lie over one another.
  seen.crossed = all(".plot .xaxislayer-above").filter((axis) => {
    const level = (text) => !/rotate\\((?!0)/.test(text.getAttribute("transform"));
    const boxes = [...axis.querySelectorAll(".xtick text")].filter(level)
      .map((t) => t.getBoundingClientRect()).sort((a, b) => a.left - b.left);
    return boxes.some((box, i) => i && box.left < boxes[i - 1].right - 1);
  }).length;
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.replaceChildren(out);
})();
</script>"""


def opened(path: Path, width: int) -> dict[str, Any]:
    """What the page did in the browser."""
    html = path.read_text(encoding="utf-8")
    html = html.replace("<head>", f"<head>{LISTEN}", 1).replace("</body>", f"{LOOK}</body>")
    path.write_text(html, encoding="utf-8")
    profile = path.parent / "profile"
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--window-size={width},2000", f"--user-data-dir={profile}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return dict(json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")))


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("typical", 1200),
        ("typical", 700),
        ("repeats", 1200),
        ("grid", 700),
        ("none finished", 700),
        ("descents", 700),
    ],
)
def test_everything_is_drawn_and_nothing_is_spilt(
    name: str, width: int, cases: dict[str, TrialsView], arrays: Arrays, tmp_path: Path
) -> None:
    path = tmp_path / "a report.html"
    write_trials_report(path, "a <b>", "x", cases[name], arrays)
    seen = opened(path, width)
    assert seen["errors"] == []
    assert seen["svgs"] == seen["places"] > 0
    assert seen["legends"] and not seen["wide"] and seen["spilt"] == 0 and seen["crossed"] == 0


def test_a_comparison_is_drawn(cases: dict[str, TrialsView], tmp_path: Path) -> None:
    path = tmp_path / "compare.html"
    write_comparison(path, compare(("a", cases["typical"]), ("b", cases["repeats"])), "x")
    seen = opened(path, 700)
    assert seen["errors"] == [] and seen["svgs"] == seen["places"] == 2
