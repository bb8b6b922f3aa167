import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.report.conftest import FakeRun
from wsss.report import write_report

VOID_TAGS = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags with their attributes and the visible text; checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def predict(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ones(image.shape[:2], np.uint8)


def report(run: FakeRun, **options: object) -> Page:
    path = write_report(
        run.folder, description=run.description, train_ids=run.train_ids, val_ids=run.val_ids, **options  # type: ignore[arg-type]
    )  # fmt: skip
    assert path == run.folder / "report" / "index.html"
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(full_run: FakeRun) -> Page:
    return report(full_run, predict=predict)


def test_the_page_loads_nothing(full_run: FakeRun, page: Page) -> None:
    addresses = [a[k] for _, a in page.tags for k in ("src", "href", "xlink:href") if a.get(k)]
    assert addresses
    assert all(re.match(r"data:image/jpeg;base64,|#", str(address)) for address in addresses)
    assert not page.all("link")
    assert "http" not in (full_run.folder / "report" / "index.html").read_text(encoding="utf-8")


def test_ids_of_the_page_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_galleries_show_the_chain_of_each_image(page: Page) -> None:
    pictures = [a for a in page.all("img") if a.get("src")]
    assert len(pictures) == 6 * 7 + 2 * 3
    assert all(picture["alt"] for picture in pictures)
    assert [str(picture["alt"]).split()[0] for picture in pictures[:7]] == [
        *("photograph", "CAM", "ReCAM", "seed", "mask", "prediction", "truth")
    ]
    assert pictures[3]["alt"] == "seed of im_0: bird, <b>cow</b>"
    assert pictures[6]["alt"] == "truth of im_0: bird"


def test_figures_and_their_stamps_are_told(full_run: FakeRun, page: Page) -> None:
    for part in (
        *(
            "Seeds, mIoU 52.1 oracle 54.8",
            "80 % of its twin trained on truth (75.0)",
            "covers 90.0 %",
            "total 4 min 06 s",
        ),
        "mini_voc train · 600 images · threshold 0.42 (mean Otsu, no truth) · scales 0.5,1,1.5 + flip · no CRF",
        f"Pictures made from small & voc carry its licence: see {full_run.description.root / 'LICENSE'}",
    ):
        assert part in page.text


def test_names_are_escaped(page: Page) -> None:
    assert "<b>cow</b>" in page.text
    assert "my <run>" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert len(page.all("script")) == 1
    assert all(name != "run" for name, _ in page.tags)


def test_plots_are_inline_and_described(page: Page) -> None:
    labels = [attributes["aria-label"] for attributes in page.all("svg")]
    assert len(labels) == 4
    assert labels[1] == "Line chart of mIoU over the background threshold; best threshold 0.40"


def test_figures_for_a_readme_lie_beside_the_page(full_run: FakeRun, page: Page) -> None:
    folder = full_run.folder / "report"
    assert sorted(path.name for path in folder.iterdir()) == ["gallery.png", "index.html", "threshold_curve.png"]
    assert (folder / "gallery.png").stat().st_size <= 400_000
    with Image.open(folder / "gallery.png") as sheet:
        assert sheet.width % 7 == 6  # seven columns, and a gap
        assert sheet.width > 7 * 100


def test_equal_runs_give_equal_pages(full_run: FakeRun, page: Page) -> None:
    path = full_run.folder / "report" / "index.html"
    first = path.read_bytes()
    report(full_run, predict=predict)
    assert path.read_bytes() == first


def test_the_number_of_rows_can_be_chosen(run: FakeRun) -> None:
    page = report(run, num_images=2)
    assert sum(a.get("class") == "row" for a in page.all("div")) == 2 + 2


def test_an_empty_run_still_has_a_page(run: FakeRun) -> None:
    shutil.rmtree(run.folder)
    page = report(run, num_images=2)
    assert "small & voc · 6 training and 2 validation images" in page.text
    assert not page.all("svg")


@pytest.mark.parametrize(
    "parts",
    [
        {"results.json": "Along the chain", "seeds/curve.csv": "Seeds over", "config.yaml": "Config"},
        {
            "masks/curve.csv": "Pseudo-masks over",
            "seeds/maps/recam": "ReCAM seed",
            "segmenter/predictions": "Validation images",
        },
    ],
)
def test_missing_parts_are_left_out(run: FakeRun, page: Page, parts: dict[str, str]) -> None:
    for part in parts:
        path = run.folder / part
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    text = report(run, num_images=2).text
    for lost in parts.values():
        assert lost in page.text
        assert lost not in text
    assert "Left out" not in text


def test_broken_parts_are_left_out_and_named(run: FakeRun, caplog: pytest.LogCaptureFixture) -> None:
    parts = {
        "results.json": "[1]",
        "protocols.json": "{",
        "seeds/curve.csv": "a,b\n1,2\n",
        "masks/curve.csv": "threshold\n0\n",
        "seeds/iou.csv": "label,iou\nbird,many\n",
        "seeds/im_0.npz": "no zip",
        "masks/im_0.png": "no picture",
    }
    for part, content in parts.items():
        (run.folder / part).write_text(content)
    Image.new("L", (3, 3)).save(run.folder / "masks" / "im_1.png")
    notes = report(run).text.split("Left out")[1]
    assert "mask of im_1: (3, 3) pixels" in notes
    for part in parts:
        assert part in notes
        assert part in caplog.text


def test_a_data_set_without_truth_has_no_truth_column(run: FakeRun) -> None:
    annotations = run.description.root / "Annotations"
    annotations.mkdir()
    for image_id in (*run.train_ids, *run.val_ids):
        (annotations / f"{image_id}.xml").write_text("<annotation><object><name>bird</name></object></annotation>")
    shutil.rmtree(run.description.root / "SegmentationClass")
    page = report(run._replace(description=replace(run.description, labels="xml")), num_images=2)
    assert not any("truth of" in str(picture["alt"]) for picture in page.all("img"))
    assert "Left out" not in page.text
