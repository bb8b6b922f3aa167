"""The page of a run: one file that needs nothing else, for a browser, an e-mail or an archive."""

import base64
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from wsss import __version__
from wsss.data import DataDescription
from wsss.report.gallery import (
    GalleryRow,
    Predict,
    Tile,
    choose_images,
    columns_of,
    present_classes,
    train_rows,
    val_rows,
)
from wsss.report.overlays import RGB, LegendEntry, class_legend, contact_sheet
from wsss.report.plots import Curve, chain_bars, inline_svg, iou_bars, threshold_curves
from wsss.report.run_files import RunFiles
from wsss.report.tables import format_value, name_figure, result_groups, stamp, twin_share, void_note
from wsss.writing import whole_file

MAX_TILE_SIDE = 400  # pixels: enough to look closely, small enough to send a page of a hundred pictures by e-mail
SHEET_ROWS, SHEET_BYTES, SHEET_CELLS = 6, 400_000, (160, 144, 128, 112, 96, 80, 64)


class Card(NamedTuple):
    """A headline figure, what stands beside it, and its protocol."""

    title: str
    value: str
    remark: str
    stamp: str


class Plot(NamedTuple):
    """A plot as inline SVG."""

    title: str
    svg: Markup
    remark: str = ""


class Picture(NamedTuple):
    """A tile ready for the page; `src` is a data address."""

    column: str
    src: str
    alt: str
    width: int
    height: int


class PageRow(NamedTuple):
    """A gallery row ready for the page; a column without a picture is None."""

    image_id: str
    classes: list[LegendEntry]
    pictures: list[Picture | None]


class Gallery(NamedTuple):
    """Rows of pictures under one heading."""

    title: str
    remark: str
    columns: list[str]
    rows: list[PageRow]


class Time(NamedTuple):
    """How long a step took, also as percent of the longest."""

    step: str
    text: str
    percent: float


def write_report(
    run_folder: Path,
    *,
    description: DataDescription,
    train_ids: Sequence[str],
    val_ids: Sequence[str],
    predict: Predict | None = None,
    num_images: int = 12,
) -> Path:
    """Write `report/index.html` of a run from whatever the run has left, and its main figures as pictures.

    A part that is missing is left out; one that cannot be read is left out, warned of, and named on the page. Beside
    the page lie `gallery.png`, a sheet of six training images, and `threshold_curve.png`, if there is anything to show.

    Args:
        run_folder: `outputs/<run>`.
        description: the data set of the run.
        train_ids: images the seeds and masks were made of.
        val_ids: images the segmenter was scored on.
        predict: the segmenter, (H, W, 3) uint8 image to (H, W) uint8 labels; default: no predictions are made.
        num_images: rows of each gallery.

    Returns:
        Path of the page.
    """
    run_folder = Path(run_folder)
    report = run_folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    files = RunFiles(run_folder)
    results, protocols = files.results(), files.protocols()
    groups = result_groups(results, protocols)

    classes_of = partial(present_classes, files, description)
    choose = partial(choose_images, classes_of=classes_of, num_classes=description.num_classes)
    made = files.ids("seeds", "masks")
    chosen = choose([i for i in train_ids if i in made] or train_ids, num_images=num_images)
    train = train_rows(files, description, chosen, predict)
    predicted = files.ids("segmenter/predictions")
    has_val = bool(predicted) or predict is not None
    shown = choose([i for i in val_ids if i in predicted] or val_ids, num_images=num_images) if has_val else []
    val = val_rows(files, description, shown, predict)

    legend = class_legend(description.classes)
    unseen = "" if {*train_ids} & {*val_ids} else "None of them is a training image."
    galleries = [
        gallery_of(
            "Training images, from label to mask", "Colours stand for classes, in maps and masks.", train, legend
        ),
        gallery_of("Validation images", unseen, val, legend),
    ]
    curves = files.seed_curves()
    page = environment().get_template("report.html.j2")
    text = page.render(
        run=run_folder.resolve().name,
        data=description.name,
        counts=f"{len(train_ids)} training and {len(val_ids)} validation images",
        version=__version__,
        cards=_cards(results, protocols),
        groups=[group for group in groups if group.title != "time"],
        void_note=void_note(protocols),
        plots=_plots(files, results, protocols, curves),
        legend=legend,
        galleries=[gallery for gallery in galleries if gallery.rows],
        times=_times(results),
        config=files.config(),
        licence=licence_of(description),
        notes=list(dict.fromkeys(files.notes)),
    )
    _write_sheet(report / "gallery.png", train, choose(chosen, num_images=SHEET_ROWS))
    if curves:
        figure = threshold_curves(
            curves, chosen=_threshold(protocols, "seeds/miou"), oracle=_best(next(iter(curves.values())))
        )
        write_png(report / "threshold_curve.png", figure)
    _write(report / "index.html", text.encode("utf-8"))
    return report / "index.html"


def environment() -> Environment:
    """Templates of the pages."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _cards(results: dict[str, float], protocols: dict[str, dict[str, object]]) -> list[Card]:
    """Headline figures, as far as they exist."""
    share = twin_share(results)
    twin = results.get("segmenter/supervised_val_miou")
    coverage = results.get("masks/coverage")
    remarks = {
        "seeds/miou": [_beside("oracle", results.get("seeds/oracle_miou"))],
        "masks/miou": [
            _beside("oracle", results.get("masks/oracle_miou")),
            "" if coverage is None else f"covers {format_value('masks/coverage', coverage)}",
        ],
        "segmenter/val_miou": ["" if share is None else f"{share:.0f} % of its twin trained on truth ({twin:.1f})"],
        "classifier/val_map": [],
    }
    titles = {
        "seeds/miou": "Seeds, mIoU",
        "masks/miou": "Pseudo-masks, mIoU",
        "segmenter/val_miou": "Segmenter, val mIoU",
        "classifier/val_map": "Classifier, val mAP",
    }
    return [
        Card(
            titles[key],
            format_value(key, results[key]),
            " · ".join(filter(None, remarks[key])),
            stamp(protocols.get(key, {})),
        )
        for key in titles
        if key in results
    ]


def _beside(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {value:.1f}"


def _plots(
    files: RunFiles, results: dict[str, float], protocols: dict[str, dict[str, object]], curves: dict[str, Curve]
) -> list[Plot]:
    plots = []
    keys = ("seeds/miou", "masks/miou", "segmenter/val_miou")
    if any(key in results for key in keys):
        steps = ", ".join(f"{name_figure(key)[1]} {results[key]:.1f}" for key in keys if key in results)
        svg = inline_svg(chain_bars(results), name="chain", alt=f"Bar chart of mIoU in percent: {steps}")
        plots.append(
            Plot(
                "Along the chain", Markup(svg), "Ticks: what the best threshold, or training on the truth, would give."
            )
        )
    mask_curve = files.mask_curve()
    for name, title, shown in (
        ("seed", "Seeds over the background threshold", curves),
        ("mask", "Pseudo-masks over the background threshold", {"mask": mask_curve} if mask_curve else {}),
    ):
        if not shown:
            continue
        key = f"{name}s/miou"
        chosen, oracle = _threshold(protocols, key), _best(next(iter(shown.values())))
        alt = f"Line chart of mIoU over the background threshold; best threshold {oracle:.2f}"
        figure = threshold_curves(shown, chosen=chosen, oracle=oracle)
        plots.append(Plot(title, Markup(inline_svg(figure, name=name, alt=alt))))
    tables = files.iou_tables()
    if tables:
        alt = f"Bar chart of IoU per class for {'; '.join(tables)}"
        plots.append(Plot("IoU per class", Markup(inline_svg(iou_bars(tables), name="iou", alt=alt))))
    return plots


def _threshold(protocols: dict[str, dict[str, object]], key: str) -> float | None:
    value = protocols.get(key, {}).get("threshold")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _best(curve: Curve) -> float:
    return max(zip(curve.miou, curve.thresholds, strict=True), key=lambda point: point[0])[1]


def gallery_of(title: str, remark: str, rows: list[GalleryRow], legend: list[LegendEntry]) -> Gallery:
    """Rows made ready for a page."""
    columns = columns_of(rows)
    return Gallery(
        *(title, remark, columns),
        [
            PageRow(
                row.image_id,
                [legend[index] for index in row.classes],
                [_picture(column, row.tiles[column]) if column in row.tiles else None for column in columns],
            )
            for row in rows
        ],
    )


def _picture(column: str, tile: Tile) -> Picture:
    image = Image.fromarray(tile.picture)
    image.thumbnail((MAX_TILE_SIDE, MAX_TILE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=88, subsampling=0, optimize=True)
    address = "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(column, address, tile.alt, *image.size)


def _times(results: dict[str, float]) -> list[Time]:
    """Rows of the time group, with bars."""
    seconds = {key: value for key, value in results.items() if key.startswith("time/")}
    longest = max(seconds.values(), default=0) or 1
    by_name = {name_figure(key)[1]: value for key, value in seconds.items()}
    rows = next((group.rows for group in result_groups(seconds, {})), [])
    return [Time(row.figure, row.value, round(100 * by_name.get(row.figure, 0) / longest, 1)) for row in rows]


def licence_of(description: DataDescription) -> str:
    """A line on the licence of pictures made from a data set; empty where it names none."""
    found = next((name for name in ("LICENSE", "LICENCE", "LICENSE.txt") if (description.root / name).is_file()), None)
    if found is None:
        return ""
    return f"Pictures made from {description.name} carry its licence: see {description.root / found}"


def _write_sheet(path: Path, rows: list[GalleryRow], ids: Sequence[str]) -> None:
    """Write a contact sheet of the rows `ids` as palette PNG, at the largest size that `SHEET_BYTES` allow."""
    chosen = [row for row in rows if row.image_id in ids]
    columns = columns_of(chosen)
    if len(columns) < 2:
        return
    cells: list[list[RGB | None]] = [[r.tiles[c].picture if c in r.tiles else None for c in columns] for r in chosen]
    sample = contact_sheet(cells, columns, cell=SHEET_CELLS[-1] // 2)  # enough to choose colours from, and quick
    palette = sample.quantize(256, kmeans=1)
    for cell in SHEET_CELLS:
        sheet = contact_sheet(cells, columns, cell=cell).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        buffer = io.BytesIO()
        sheet.save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= SHEET_BYTES:
            break
    _write(path, buffer.getvalue())


def write_png(path: Path, figure: Figure) -> None:
    """A plot as a picture of its own."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)
