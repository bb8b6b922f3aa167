"""A headless Chromium for pages on disk: one that is installed, driven by Playwright (`pip install ".[browser]"`)."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def executable() -> str | None:
    """Path of a Chromium: that of the variable CHROMIUM, or the first on the path."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def what_is_missing() -> str | None:
    """Why no page can be opened here; None if one can."""
    if find_spec("playwright") is None:
        return "Playwright is not installed: pip install '.[browser]'"
    if shutil.which(executable() or "") is None:
        return "no Chromium on the path: install one (Debian: apt install chromium), or name it in CHROMIUM"
    return None


@contextmanager
def chromium() -> Iterator["Browser"]:
    """The browser, closed at the end.

    Raises:
        RuntimeError: if there is none; see `what_is_missing`.
    """
    missing = what_is_missing()
    if missing:
        raise RuntimeError(missing)
    from playwright.sync_api import sync_playwright  # an extra: loaded where it is there

    with sync_playwright() as playwright:
        # In containers /dev/shm is small, and the user is often root, whom Chromium's sandbox refuses.
        options = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        browser = playwright.chromium.launch(executable_path=executable(), args=options)
        try:
            yield browser
        finally:
            browser.close()
