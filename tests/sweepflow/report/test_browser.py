"""The page in a real browser: it draws every figure, sorts its table, and logs no error."""

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

from sweepflow.report.page import render
from sweepflow.storage.record import Record

Make = Callable[..., Record]
Sweep = tuple[list[Record], dict[str, Record]]

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
window.seen = { errors: [], sorted: {} };
addEventListener("error", (e) => seen.errors.push(String(e.message)));
addEventListener("unhandledrejection", (e) => seen.errors.push(String(e.reason)));
for (const level of ["error", "warn"]) console[level] = (...words) => seen.errors.push(words.join(" "));
</script>"""

ACT = """<script>
(async () => {
  while (!document.body.dataset.drawn && !seen.errors.length) await new Promise((r) => setTimeout(r, 20));
  const all = (selector) => [...document.querySelectorAll(selector)];
  const column = (i) => all("#table tbody tr").map((row) => row.cells[i].textContent.trim());
  all("#table th button").forEach((button, i) => {
    if (!["sampler", "λ̂"].includes(button.textContent)) return;
    button.click();
    const up = column(i);
    button.click();
    seen.sorted[button.textContent] = { up, down: column(i), aria: button.parentElement.ariaSort };
  });
  seen.places = all(".plot").length;
  seen.svgs = all(".plot").filter((p) => p.querySelector("svg.main-svg")).length;
  seen.legends = all(".legend svg").every((svg) => svg.children.length > 0);
  seen.wide = document.documentElement.scrollWidth > innerWidth;
  seen.spilt = all(".plot").filter((p) => p.scrollWidth > p.clientWidth + 1).length;
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.replaceChildren(out);
})();
</script>"""


def opened(sweep: Sweep, directory: Path, width: int = 1200) -> dict[str, Any]:
    """What the page did in the browser."""

    def arrays(record: Record) -> Mapping[str, np.ndarray]:
        return record.arrays

    html = render(name="a <b>", command="x", estimates=sweep[0], targets=sweep[1], arrays=arrays)
    html = html.replace("<head>", f"<head>{LISTEN}", 1).replace("</body>", f"{ACT}</body>")
    page = directory / "a report.html"
    page.write_text(html, encoding="utf-8")
    flags = [*FLAGS, f"--window-size={width},2000"]
    done = subprocess.run(
        [str(CHROMIUM), *flags, f"--user-data-dir={directory / 'profile'}", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = re.search(r'<pre id="seen">(.*)</pre>', done.stdout, re.DOTALL)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(
        found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    )
    return seen


@pytest.mark.parametrize("width", [1200, 700])
def test_a_usual_page(typical: Sweep, tmp_path: Path, width: int) -> None:
    """Everything is drawn and nothing is spilt; a click sorts the table, and a second turns it round."""
    seen = opened(typical, tmp_path, width)
    assert seen["errors"] == []
    # Intervals, 4 targets, 12 traces.
    assert seen["svgs"] == seen["places"] == 1 + 4 + 12
    assert seen["legends"] and not seen["wide"] and seen["spilt"] == 0

    llc = seen["sorted"]["λ̂"]
    numbers = [float(v) for v in llc["up"][:-1]]
    assert numbers == sorted(numbers) and len(numbers) == 11
    assert [float(v) for v in llc["down"][:-1]] == numbers[::-1]
    # 8.59 comes before 16.7, and what has no value comes last both ways.
    assert llc["up"][-1] == llc["down"][-1] == "–"
    assert llc["aria"] == "descending"
    assert seen["sorted"]["sampler"]["up"] == ["hmc"] * 4 + ["mclmc"] * 4 + ["sgld"] * 4


def test_a_calibration_is_drawn(calibration: Sweep, tmp_path: Path) -> None:
    seen = opened(calibration, tmp_path)
    assert seen["errors"] == []
    assert seen["svgs"] == seen["places"] == 1 + 4 + 2 + 24


def test_1200_estimates_open(huge: Sweep, tmp_path: Path) -> None:
    seen = opened(huge, tmp_path)
    assert seen["errors"] == []
    assert seen["svgs"] == seen["places"] == 1 + 24 + 24


def test_all_diverged(diverged: Sweep, tmp_path: Path) -> None:
    seen = opened(diverged, tmp_path)
    assert seen["errors"] == [] and seen["svgs"] == seen["places"] == 1 + 4


def test_an_empty_sweep(tmp_path: Path) -> None:
    seen = opened(([], {}), tmp_path)
    assert seen["errors"] == [] and seen["places"] == 0
