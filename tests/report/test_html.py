import base64
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.report.conftest import FakeRun
from wsss.data import VOC_CLASSES, save_mask
from wsss.report import write_report

VOID_TAGS = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags with their attributes and the visible text; checks that tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.scripts: dict[int, str] = {}  # by their place among the tags
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
        if self.open[-1:] == ["script"]:
            place = len(self.tags) - 1
            self.scripts[place] = self.scripts.get(place, "") + data
        elif self.open[-1:] != ["style"]:
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def rows(self, gallery: str) -> list[dict[str, Any]]:
        """Rows of a gallery as the page's script reads them: what it sorts by, and the line of pictures."""
        section = next(i for i, (tag, a) in enumerate(self.tags) if tag == "section" and a.get("id") == gallery)
        place = [i for i, (tag, _) in enumerate(self.tags) if tag == "script" and i > section][:2]
        index, pictures = (self.scripts[i] for i in place)
        lines = pictures.strip().splitlines()
        return [row | json.loads(line) for row, line in zip(json.loads(index)["rows"], lines, strict=True)]

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
    assert all(re.match(r"data:image/(webp|png);base64,|#", str(address)) for address in addresses)
    assert not page.all("link")
    assert "http" not in (full_run.folder / "report" / "index.html").read_text(encoding="utf-8")


def test_ids_of_the_page_are_unique(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_galleries_show_the_chain_of_each_image(page: Page) -> None:
    train, val = page.rows("train"), page.rows("val")
    assert [row["id"] for row in train] == [f"im_{n}" for n in range(6)]
    assert [[*row["layers"]] for row in train] == [
        ["CAM", "ReCAM W1∘ReLU(W2)", "seed", "mask, CRF", "prediction", "truth"]
    ] * 6
    assert [[*row["layers"]] for row in val] == [["prediction", "truth"]] * 2
    assert train[0]["photograph"][1] == "photograph im_0: bird"
    assert train[0]["layers"]["seed"][1] == "seed of im_0: bird, <b>cow</b>"
    assert train[0]["layers"]["truth"][1] == "truth of im_0: bird"
    names = [attributes["value"] for attributes in page.all("input") if attributes.get("name") == "train-step"]
    assert names == [*train[0]["layers"], ""]


def test_pictures_of_a_gallery_are_small_and_of_the_photograph(run: FakeRun) -> None:
    row = report(run, side=16).rows("train")[0]
    photograph, mask, seed = (
        Image.open(io.BytesIO(base64.b64decode(picture[0])))
        for picture in (row["photograph"], row["layers"]["truth"], row["layers"]["seed"])
    )
    assert row["size"] == [16, 12]
    assert photograph.size == mask.size == (16, 12)
    assert seed.size == (8, 6)  # the map as it is: the browser makes it larger
    colors = {color for _, color in mask.convert("RGBA").getcolors() or []}
    assert {(128, 0, 0, 153), (128, 0, 0, 255)} < colors  # a bird, and its outline
    assert all(color[3] == 0 for color in colors if color[:3] == (0, 0, 0))


def test_images_have_scores_to_sort_by(run: FakeRun) -> None:
    assert {row["id"] for row in report(run).rows("train") if row["score"] is None} == set()
    perfect = np.asarray(Image.open(run.description.mask_path("im_2")))
    save_mask(run.folder / "masks" / "im_2.png", np.where(perfect == 255, 0, perfect))
    (run.folder / "masks" / "im_3.png").unlink()
    scores = {row["id"]: row["score"] for row in report(run).rows("train")}
    assert scores["im_2"] == 100
    assert scores["im_3"] is None
    assert 0 < scores["im_0"] < 100
    unscored = write_report(
        run.folder, description=run.description, train_ids=run.train_ids, val_ids=run.val_ids, score_ids=()
    )
    assert {row["score"] for row in Page(unscored.read_text(encoding="utf-8")).rows("train")} == {None}


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
    assert len(page.all("script")) == 1 + 2 * 2  # the page's own, and two of data for each gallery
    assert all(name != "run" for name, _ in page.tags)


def test_plots_are_inline_and_described(page: Page) -> None:
    labels = [str(attributes["aria-label"]) for attributes in page.all("svg")]
    assert [label.split(" ")[0] for label in labels] == ["Bar", "Line", "Line", "Bar", "Confusion", "Confusion", "Line"]
    assert labels[1].endswith("best threshold 0.40, chosen without truth 0.42")
    assert labels[2].endswith("best threshold 0.40")  # its protocol has no threshold
    assert labels[-1] == "Line charts of the training of classifier: bce, val/map at the end 75.0 %"


@pytest.mark.parametrize("is_voc", [False, True])
def test_published_figures_stand_beside_those_of_the_same_images_alone(run: FakeRun, is_voc: bool) -> None:
    assert "not comparable" in report(run, num_images=1).text
    protocol = {"split": "train", "images": 1464 if is_voc else 180}
    (run.folder / "protocols.json").write_text(json.dumps({"seeds/miou": protocol}))
    (run.folder / "results.json").write_text(json.dumps({"seeds/miou": 50.0}))
    text = report(run._replace(description=replace(run.description, classes=VOC_CLASSES)), num_images=1).text
    assert ("published: CAM, ResNet-50 48.3 (Ahn et al., CVPR 2019)" in text) == is_voc
    assert ("not comparable" in text) != is_voc
    assert "68.5" in text


def test_the_page_says_how_to_repeat_the_run(run: FakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.folder.parent)
    text = report(run, num_images=1).text
    for part in (
        """run_pipeline.py 'reproduce='"'"'my <run>'"'"''""",
        *("train_seg.py run=x", "commit abcdef012345, changed since", "threads 2, precision bf16", "GPU none"),
    ):
        assert part in text


def test_an_audit_and_the_pictures_of_the_sweep_are_shown(run: FakeRun) -> None:
    (run.folder / "audit").mkdir()
    (run.folder / "audit" / "audit.json").write_text(json.dumps({"summary": {"erased": 2}, "worst": ["im_4"]}))
    (run.folder / "audit" / "classes.csv").write_text("class,over,iou\nbird,3.5,\n")
    page = report(run, num_images=1)
    assert "erased 2" in page.text
    assert "class over bird 3.5" in page.text  # a column without values is left out
    assert "To look at first: im_4" in page.text
    assert "The sweep of this run" not in page.text
    (run.folder.parent / "sweep.json").write_text("{}")
    Image.new("L", (3, 3)).save(run.folder.parent / "heat_map.png")
    assert "Heat map of the sweep" in str([a.get("alt") for a in report(run, num_images=1).all("img")])


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
    assert [len(page.rows(name)) for name in ("train", "val")] == [2, 2]
    assert "2 of 6 images: evenly spaced." in page.text
    assert "All 2 images." in page.text
    many = report(run, num_images=3)
    assert "3 of 6 images: the 1 whose masks score worst, the 1 best, others evenly spaced." in many.text


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
            "seeds/maps/recam": "ReCAM W1∘ReLU(W2)",
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
    rows = page.rows("train") + page.rows("val")
    assert rows
    assert not any("truth" in row["layers"] or row["score"] is not None for row in rows)
    assert "Left out" not in page.text
