"""A report in a browser."""

import html
import json
import re
import shutil
import subprocess

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

PROBE = """
<script>
window.addEventListener("load", () => {
  const images = [...document.images];
  const seen = {
    loaded: images.filter((image) => image.complete && image.naturalWidth > 0).length,
    images: images.length,
    unnamed: images.filter((image) => !image.alt).length,
    headings: [...document.querySelectorAll("h2")].map((heading) => heading.innerText),
    fetched: performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:")),
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    scripts: document.scripts.length,
  };
  document.body.innerHTML = "<pre id=seen></pre>";
  document.getElementById("seen").textContent = JSON.stringify(seen);
});
</script>
"""


def look(page, width, profile):
    """What a headless Chromium sees of a page, with no way out to the network."""
    probed = page.with_name(f"probed_{width}.html")
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", PROBE + "</body>"))
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
        *(f"--window-size={width},900", f"--user-data-dir={profile}"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=5000"),
        probed.as_uri(),
    ]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(re.search(r'<pre id="seen">(.*?)</pre>', dumped, re.S)[1]))


@pytest.fixture(scope="module")
def page(full_html, tmp_path_factory):
    """A report of both inits at four fractions."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(full_html, encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1200, 640])
def test_report_in_a_browser(page, full_html, tmp_path, width):
    seen = look(page, width, tmp_path / "profile")
    assert seen["images"] == seen["loaded"] == full_html.count("<img ") > 10
    assert seen["unnamed"] == 0
    assert seen["fetched"] == []
    assert seen["overflow"] <= 0
    assert seen["scripts"] == 1  # the probe's own
    assert seen["headings"][0].startswith("Does a pre-trained Vision Transformer beat")
    assert {"Tables", "Figures", "Limits", "How to reproduce"} <= set(seen["headings"])
