"""Debian's chromium, without a window and without the network: what a page looks like, and where its words stand."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 900, 1400

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

EDGES = """
<script>
const edges = {};
for (const element of document.querySelectorAll("[lang][dir]")) {
  const text = [...element.childNodes].find(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
  if (!text) continue;
  const at = number => {
    const range = document.createRange();
    range.setStart(text, number); range.setEnd(text, number + 1);
    return range.getBoundingClientRect().left;
  };
  edges[element.lang + " " + text.data] = [at(0), at(text.data.length - 1)];
}
document.body.dataset.edges = JSON.stringify(edges);
</script>
"""


WIDTHS = """
<script>
document.body.dataset.widths = JSON.stringify([document.documentElement.scrollWidth, innerWidth]);
</script>
"""


def _run(page: Path, folder: Path, *options: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("Debian's chromium isn't installed")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", f"--window-size={size[0]},{size[1]}", *options, page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def screenshot(page: Path, folder: Path) -> NDArray[np.uint8]:
    """What the top of a page looks like: [HEIGHT, WIDTH, 3]."""
    picture = folder / f"{page.stem}.png"
    _run(page, folder, f"--screenshot={picture}")
    return np.asarray(Image.open(picture).convert("RGB"))


def edges(page: Path, folder: Path) -> dict[str, tuple[float, float]]:
    """Of each text, by "<BCP-47 tag> <text>": how far right its first and its last character stand, in pixels."""
    found: dict[str, list[float]] = _measured(page, folder, EDGES, "edges")
    return {text: (first, last) for text, (first, last) in found.items()}


def overflow(page: Path, folder: Path, width: int) -> int:
    """How many pixels a page is wider than a window of this width; tables that scroll by themselves aren't counted."""
    content, window = _measured(page, folder, WIDTHS, "widths", (width, HEIGHT))
    assert window == width
    return int(content - window)


def _measured(page: Path, folder: Path, script: str, name: str, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Any:
    """What a script that is added to a copy of the page leaves in the body's data of that name."""
    measured = folder / f"{page.stem}-measured.html"
    html, policies = POLICY.subn("", page.read_text(encoding="utf-8"))
    assert policies == 1, "a page forbids scripts, and only this copy of it allows one"
    measured.write_text(html.replace("</body>", f"{script}</body>"), encoding="utf-8")
    found = re.search(rf'data-{name}="([^"]*)"', _run(measured, folder, "--dump-dom", size=size))
    assert found is not None, "the page's end isn't there"
    return json.loads(unescape(found[1]))
