"""The page of a run in a browser: it shows, filters, sorts and is walked through by keys, without errors."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

from benchmarks.browser import chromium, what_is_missing
from tests.report.conftest import FakeRun
from wsss.data import DataDescription, save_mask
from wsss.report import write_report

pytestmark = pytest.mark.skipif(what_is_missing() is not None, reason=str(what_is_missing()))

MANY = 1500


class Opened(NamedTuple):
    """A page in the browser, and what its console said."""

    page: Any
    said: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def path(full_run: FakeRun) -> Path:
    return write_report(
        full_run.folder, description=full_run.description, train_ids=full_run.train_ids, val_ids=full_run.val_ids
    )


def open_page(browser: Any, path: Path, **options: Any) -> Opened:
    page = browser.new_page(**options)
    page.set_default_timeout(10_000)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(path.as_uri())
    return Opened(page, said)


@pytest.fixture
def page(browser: Any, path: Path) -> Iterator[Any]:
    opened = open_page(browser, path)
    yield opened.page
    assert opened.said == []
    opened.page.close()


def shown(page: Any, gallery: str = "train") -> list[str]:
    return page.locator(f"#{gallery} figcaption b").all_inner_texts()


def focused(page: Any) -> str:
    return page.evaluate("document.activeElement.closest('figure')?.querySelector('b')?.textContent ?? ''")


def in_viewer(page: Any) -> tuple[str, str]:
    return (
        page.locator(".viewer .caption b").inner_text(),
        page.locator(".viewer .steps [aria-pressed=true]").inner_text().strip(),
    )


def test_pictures_are_drawn_and_described(page: Any) -> None:
    assert shown(page) == [f"im_{n}" for n in range(6)]
    assert shown(page, "val") == ["im_6", "im_7"]
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0 && image.hasAttribute('alt'))")
    assert (
        page.locator("#train .tile").first.locator("img").last.get_attribute("alt")
        == "mask, CRF of im_0: bird, <b>cow</b>"
    )
    unnamed = """[...document.querySelectorAll('button, input, select')].filter(
        one => !(one.ariaLabel || one.textContent.trim() || one.labels?.length || one.querySelector('img[alt]')))"""
    assert page.evaluate(f"{unnamed}.length") == 0


def test_the_slider_uncovers_the_photograph(page: Any) -> None:
    over = page.locator("#train .over").first
    clip = "element => getComputedStyle(element).clipPath"
    assert over.evaluate(clip) in ("inset(0px 0px 0px 0%)", "inset(0px)")
    page.locator("#train .reveal input").fill("40")
    assert over.evaluate(clip) == "inset(0px 0px 0px 40%)"
    assert page.locator("#val .over").first.evaluate(clip) != over.evaluate(clip)


def test_steps_lie_over_all_photographs_or_side_by_side(page: Any) -> None:
    page.get_by_label("CAM", exact=True).locator("visible=true").first.check(force=True)
    alts = page.locator("#train .over img:last-child").evaluate_all("all => all.map(one => one.alt)")
    assert [alt.split(" of ")[0] for alt in alts] == ["CAM"] * 6
    page.locator("#train").get_by_label("all steps").check(force=True)
    assert (
        page.locator("#train figure").first.locator(".tile").count() == 6
    )  # photograph, CAM, ReCAM, seed, mask, truth


def test_classes_filter_and_scores_sort(page: Any) -> None:
    fish = page.locator("#train .filters button", has_text="$fish$")
    fish.click()
    assert shown(page) == ["im_5"]
    assert fish.get_attribute("aria-pressed") == "true"
    page.locator("#train .filters button", has_text="bird").click()
    assert shown(page) == [f"im_{n}" for n in range(6)]  # of either class
    page.locator("#train select").select_option("worst")
    scores = [float(text.split()[1]) for text in page.locator("#train .score").all_inner_texts()]
    assert scores == sorted(scores)
    worst = shown(page)
    page.locator("#train select").select_option("best")
    scores = [float(text.split()[1]) for text in page.locator("#train .score").all_inner_texts()]
    assert scores == sorted(scores, reverse=True)
    assert shown(page)[0] == worst[-1]


def test_keys_go_through_images_and_steps(page: Any) -> None:
    page.locator("#train .tile").first.focus()
    page.keyboard.press("ArrowRight")
    assert focused(page) == "im_1"
    page.keyboard.press("Enter")
    assert in_viewer(page) == ("im_1", "mask, CRF")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert in_viewer(page) == ("im_2", "truth")
    page.keyboard.press("ArrowLeft")
    assert in_viewer(page) == ("im_1", "truth")
    page.locator(".viewer input").focus()
    page.keyboard.press("ArrowRight")
    assert in_viewer(page) == ("im_1", "truth")  # the slider keeps its keys
    assert page.locator(".viewer input").input_value() == "1"
    page.keyboard.press("Escape")
    assert not page.locator(".viewer").is_visible()
    assert focused(page) == "im_1"


def test_dragging_over_the_large_picture_moves_the_slider(page: Any) -> None:
    page.locator("#train .tile").first.click()
    box = page.locator(".viewer .stage .stack").bounding_box()
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 9)
    page.mouse.up()
    assert float(page.locator(".viewer input").input_value()) == pytest.approx(60, abs=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_system_until_its_switch_is_used(browser: Any, path: Path, scheme: str) -> None:
    page, said = open_page(browser, path, color_scheme=scheme)
    color = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(color)
    assert (before == "rgb(18, 20, 24)") == (scheme == "dark")
    page.locator(".theme").click()
    after = page.evaluate(color)
    assert (after == "rgb(18, 20, 24)") == (scheme == "light")
    assert said == []
    page.close()


def test_a_narrow_screen_needs_no_sideways_scrolling(browser: Any, path: Path) -> None:
    page, said = open_page(browser, path, viewport={"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.locator("#train .tile").first.click()
    assert page.locator(".viewer").bounding_box()["width"] <= 360
    assert said == []
    page.close()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of 1,500 images: a few tiny ones under many names."""
    root = tmp_path_factory.mktemp("many")
    folders = [root / "data" / "JPEGImages", root / "data" / "SegmentationClass", root / "run/segmenter/predictions"]
    rng = np.random.default_rng(0)
    for folder in folders:
        folder.mkdir(parents=True)
    ids = [f"im_{number:04}" for number in range(MANY)]
    for number, image_id in enumerate(ids):
        for folder, suffix in zip(folders, ("jpg", "png", "png"), strict=True):
            made = folder / f"{image_id}.{suffix}"
            if number >= 5:
                os.link(folder / f"{ids[number % 5]}.{suffix}", made)
            elif suffix == "jpg":
                Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).save(made)
            else:
                save_mask(made, rng.choice(np.array([0, 1 + number % 2], np.uint8), (6, 8)))
    data = DataDescription("tiny", root / "data", ("bird", "cow"), labels="masks")
    path = write_report(root / "run", description=data, train_ids=[], val_ids=ids, num_images=MANY)
    shutil.rmtree(root / "data")
    return path


def test_1500_images_are_paged_and_only_those_of_a_page_are_decoded(browser: Any, many: Path) -> None:
    page, said = open_page(browser, many)
    assert page.locator("#val .status").inner_text() == f"Images 1 to 24 of {MANY}"
    assert page.locator("#val img").count() == 24 * 3
    page.locator("#val [data-page='1']").click()
    assert page.locator("#val .status").inner_text() == f"Images 25 to 48 of {MANY}"
    page.locator("#val .tile").last.focus()
    page.keyboard.press("ArrowRight")
    assert page.locator("#val .pager span").inner_text() == "page 3 of 63"
    assert focused(page) == "im_0048"
    page.locator("#val .filters button", has_text="cow").click()
    assert page.locator("#val .status").inner_text() == "Images 1 to 24 of 600"
    assert said == []
    page.close()
