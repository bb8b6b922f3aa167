"""Pictures of a run's page for the documentation.

    python benchmarks/screenshots.py outputs/tour [--out docs/pictures]

Writes report_desktop, report_dark, report_viewer and report_narrow as WebP: the head of the page in light and dark
colours, a training image enlarged, and the gallery on a telephone's screen. Needs Chromium and
`pip install ".[browser]"`. Pictures made from mini_voc carry its licence.
"""

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from browser import chromium, what_is_missing
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[1]
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 1100}}
NARROW: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2}


def at_top(page: "Page") -> None:
    """The page as it opens."""


def at_gallery(page: "Page") -> None:
    """The training images, half uncovered, on a page of several."""
    page.locator("#train .reveal input").fill("45")
    page.evaluate("document.activeElement.blur(); document.getElementById('train').scrollIntoView()")


def in_viewer(page: "Page") -> None:
    """A training image whose mask scores well, its photograph uncovered by a third."""
    if page.locator("#train option[value=best]").count():  # there is truth to score by
        page.locator("#train select").select_option("best")
    of_two_classes = page.locator("#train figure", has=page.locator(".chip >> nth=1")).locator(".tile")
    (of_two_classes if of_two_classes.count() else page.locator("#train .tile")).first.click()
    page.locator(".viewer .reveal input").fill("35")


SHOTS: dict[str, tuple[dict[str, Any], Callable[["Page"], None]]] = {
    "report_desktop": (DESKTOP, at_top),
    "report_dark": (DESKTOP | {"color_scheme": "dark"}, at_gallery),
    "report_viewer": (DESKTOP, in_viewer),
    "report_narrow": (NARROW, at_gallery),
}


def main() -> None:
    """Open the page, and write what is seen of it."""
    parser = argparse.ArgumentParser(description="Screenshots of a run's page.")
    parser.add_argument("run", type=Path, help="outputs/<run>, with report/index.html")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    options = parser.parse_args()
    address = options.run / "report" / "index.html"
    missing = what_is_missing() or (
        "" if address.is_file() else f"{address}: no such page; python scripts/report.py {options.run}"
    )
    if missing:
        sys.exit(missing)
    options.out.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        for name, (screen, prepare) in SHOTS.items():
            page = browser.new_page(**screen, reduced_motion="reduce")
            page.goto(address.resolve().as_uri())
            prepare(page)
            page.wait_for_function("[...document.images].every(image => image.complete)")
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.save(options.out / f"{name}.webp", quality=82, method=6)
            page.close()


if __name__ == "__main__":
    main()
