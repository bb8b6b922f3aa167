"""The page of a run: one file that needs nothing else, for a browser, an e-mail or an archive."""

import io
import logging
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from wsss import __version__
from wsss.data import DataDescription
from wsss.report.embedding import PREFIX, PageRow, index_json, page_row, picture_lines
from wsss.report.gallery import (
    Column,
    GalleryRow,
    Predict,
    choose_images,
    gallery_rows,
    present_classes,
    train_columns,
    val_columns,
)
from wsss.report.headline import cards, environment_facts, references
from wsss.report.overlays import RGB, class_legend, contact_sheet, greyed, over, paled
from wsss.report.page_plots import (
    Protocols,
    best_threshold,
    chosen_threshold,
    confusion_plots,
    figure_plots,
    sweep_figures,
    training_plots,
)
from wsss.report.plots import threshold_curves
from wsss.report.run_files import RunFiles
from wsss.report.scored import ScoredImages, score_images
from wsss.report.tables import name_figure, result_groups, void_note
from wsss.writing import whole_file

log = logging.getLogger(__name__)

Choose = Callable[..., list[str]]  # `choose_images` of a data set

SHEET_ROWS, SHEET_BYTES, SHEET_CELLS = 6, 400_000, (160, 144, 128, 112, 96, 80, 64)
SHEET_COLUMNS = (
    Column("CAM", "seeds/maps/cam", True),
    Column("ReCAM", "seeds/maps/recam", True),
    Column("seed", "seeds", True),
    Column("mask", "masks"),
)


class Gallery(NamedTuple):
    """Rows of pictures under one heading.

    Attributes:
        name: its id in the page.
        title: the heading.
        remark: which images these are.
        scored: what the images' scores are of; empty where there is no truth.
        columns: titles of the layers that some row has.
        first: the one that is shown at first; empty where there is none.
        rows: the rows.
        index_json: see `index_json`.
        lines: see `picture_lines`.
    """

    name: str
    title: str
    remark: str
    scored: str
    columns: list[str]
    first: str
    rows: list[PageRow]
    index_json: Markup
    lines: list[Markup]


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
    score_ids: Sequence[str] | None = None,
    predict: Predict | None = None,
    num_images: int = 96,
    side: int = 320,
) -> Path:
    """Write `report/index.html` of a run from whatever the run has left, and its main figures as pictures.

    A part that is missing is left out; one that cannot be read is left out, warned of, and named on the page. Beside
    the page lie `gallery.png`, a sheet of six training images, and `threshold_curve.png`, if there is anything to show.

    Args:
        run_folder: `outputs/<run>`.
        description: the data set of the run.
        train_ids: images the seeds and masks were made of.
        val_ids: images the segmenter was scored on.
        score_ids: training images whose masks are scored; default: all with truth.
        predict: the segmenter, (H, W, 3) uint8 image to (H, W) uint8 labels; default: no predictions are made.
        num_images: images in each gallery; with `side` it decides how large the page is.
        side: the longer side of their pictures, pixels.

    Returns:
        Path of the page.
    """
    run_folder = Path(run_folder)
    report = run_folder / "report"
    report.mkdir(parents=True, exist_ok=True)
    files = RunFiles(run_folder)
    results, protocols = files.results(), files.protocols()
    classes_of = partial(present_classes, files, description)
    choose: Choose = partial(choose_images, classes_of=classes_of, num_classes=description.num_classes)

    made, predicted = files.ids("seeds", "masks"), files.ids("segmenter/predictions")
    masks = score_images(files, description, "masks", train_ids if score_ids is None else score_ids)
    predictions = score_images(files, description, "segmenter/predictions", val_ids)
    make = partial(_gallery, files, description, choose, predict=predict, num_images=num_images, side=side)
    train = make(
        "train",
        [i for i in train_ids if i in made] or train_ids,
        train_columns(files, protocols.get("masks/threshold", {})),
        masks,
    )
    shown = [i for i in val_ids if i in predicted] or (val_ids if predict is not None else [])
    val = make("val", shown, val_columns(files), predictions)

    page = environment().get_template("report.html.j2")
    text = page.render(
        data=description.name,
        counts=f"{len(train_ids)} training and {len(val_ids)} validation images",
        chain=_middle(train.rows, masks.miou),
        galleries=[gallery for gallery in (train, val) if gallery.rows],
        licence=licence_of(description),
        **_figures(files, results, protocols, description.classes, masks, predictions),
        **_circumstances(files, run_folder),
        notes=list(dict.fromkeys(files.notes)),  # of all that has been read above
    )
    sheet = choose([row.image_id for row in train.rows], num_images=SHEET_ROWS)
    _write_sheet(report / "gallery.png", files, description, sheet, predict)
    if curves := files.seed_curves():
        chosen = chosen_threshold(protocols, "seeds/miou")
        write_png(
            report / "threshold_curve.png", threshold_curves(curves, chosen=chosen, oracle=best_threshold(curves))
        )
    _write(report / "index.html", text.encode("utf-8"))
    log.info("report: %.1f MB", (report / "index.html").stat().st_size / 1e6)
    return report / "index.html"


def _figures(
    files: RunFiles,
    results: dict[str, float],
    protocols: Protocols,
    classes: Sequence[str],
    masks: ScoredImages,
    predictions: ScoredImages,
) -> dict[str, Any]:
    """Tables and plots for the page, by their names in its template."""
    audit = files.audit()
    return {
        "cards": cards(results, protocols, classes),
        "references": references(results, protocols, classes),
        "groups": [group for group in result_groups(results, protocols) if group.title != "time"],
        "void_note": void_note(protocols),
        "plots": figure_plots(files, results, protocols),
        "confusions": confusion_plots(
            {"Pseudo-masks, train": masks.confusion, "Segmenter, val": predictions.confusion},
            ["background", *classes],
            protocols,
        ),
        "trainings": training_plots(files),
        "sweep": list(sweep_figures(files)),
        "audit": audit and audit_tables(audit["summary"], audit["classes"]) | {"worst": audit["worst"]},
        "times": _times(results),
    }


def _circumstances(files: RunFiles, run_folder: Path) -> dict[str, Any]:
    """What made the run and how it is repeated, by the names in the page's template."""
    record = files.environment()
    return {
        "run": run_folder.resolve().name,
        "version": __version__,
        "prefix": PREFIX,
        "repeat": _repeat(run_folder),
        "command": record.get("command", ""),
        "facts": environment_facts(record),
        "config": files.config(),
    }


def environment() -> Environment:
    """Templates of the pages."""
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _gallery(
    files: RunFiles,
    description: DataDescription,
    choose: Choose,
    name: str,
    ids: Sequence[str],
    columns: Sequence[Column],
    scored: ScoredImages,
    *,
    predict: Predict | None,
    num_images: int,
    side: int,
) -> Gallery:
    """A gallery of some of `ids`, ready for the page."""
    chosen = choose(ids, num_images=num_images, scores=scored.miou)
    drawn = gallery_rows(files, description, chosen, columns, predict=predict, side=side)
    rows = [page_row(row, description.classes) for row in drawn]
    filled = {picture.column for row in rows for picture in row.layers}
    titles = [t for t in dict.fromkeys([*(c.title for c in columns), "prediction", "truth"]) if t in filled]
    what = {"train": "mask", "val": "prediction"}[name]
    first = [title for title in titles if title.startswith(what)] or titles[-1:] or [""]
    return Gallery(
        name,
        {"train": "Training images, from label to mask", "val": "Validation images"}[name],
        _which(len(rows), len(ids), what, is_scored=bool(scored.miou)),
        what if any(row.image_id in scored.miou for row in rows) else "",
        titles,
        first[0],
        rows,
        index_json(rows, scored.miou, class_legend(description.classes)),
        list(picture_lines(rows)),
    )


def _which(shown: int, total: int, what: str, *, is_scored: bool) -> str:
    if shown == total:
        return f"All {total} images."
    third = shown // 3
    extremes = f"the {third} whose {what}s score worst, the {third} best, others " if is_scored and third else ""
    return f"{shown} of {total} images: {extremes}evenly spaced. report.num_images shows more."


def _middle(rows: Sequence[PageRow], scores: dict[str, float]) -> tuple[PageRow, str] | None:
    """An image that is neither good nor bad, of several classes if there is one, and words for it."""
    telling = [row for row in rows if len(row.classes) > 1]
    ranked = sorted((row for row in telling or rows if row.image_id in scores), key=lambda row: scores[row.image_id])
    if not ranked:
        return (rows[len(rows) // 2], "a training image") if rows else None
    row = ranked[len(ranked) // 2]
    which = "the images of several classes below" if telling else "the images below"
    return row, f"of {which}, the one whose mask scores in the middle (mIoU {scores[row.image_id]:.1f})"


def _repeat(run_folder: Path) -> str:
    """The option that repeats the run, as it is typed; Hydra wants commas and spaces in quotes of its own."""
    path = _from_here(run_folder)
    return f"reproduce={path}" if re.fullmatch(r"[\w./+-]+", path) else shlex.quote(f"reproduce='{path}'")


def _from_here(path: Path) -> str:
    """A path as it is typed in the folder that the page was made in."""
    path, here = path.absolute(), Path.cwd()
    return (path.relative_to(here) if path.is_relative_to(here) else path).as_posix()


def audit_tables(summary: Mapping[str, Any], classes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of all masks, and of each class, as text; columns without any value are left out."""
    columns = [name for name in classes[0] if any(row[name] not in (None, "") for row in classes)] if classes else []
    return {
        "summary": [(name.replace("_", " "), value) for name, value in summary.items()],
        "columns": [name.replace("_", " ") for name in columns],
        "classes": [["" if row[name] is None else row[name] for name in columns] for row in classes],
    }


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
    return f"Pictures made from {description.name} carry its licence: see {_from_here(description.root / found)}"


def _write_sheet(
    path: Path, files: RunFiles, description: DataDescription, ids: Sequence[str], predict: Predict | None
) -> None:
    """Write a contact sheet of some images as palette PNG, at the largest size that `SHEET_BYTES` allow."""
    rows = [*gallery_rows(files, description, ids, SHEET_COLUMNS, predict=predict)]
    titles = [column.title for column in SHEET_COLUMNS] + ["prediction", "truth"]
    columns = [title for title in titles if any(title in row.layers for row in rows)]
    if not columns:
        return
    cells = [[row.photograph, *(_drawn(row, column) for column in columns)] for row in rows]
    titles = ["image", *columns]
    sample = contact_sheet(cells, titles, cell=SHEET_CELLS[-1] // 2)  # enough to choose colours from, and quick
    palette = sample.quantize(256, kmeans=1)
    for cell in SHEET_CELLS:
        sheet = contact_sheet(cells, titles, cell=cell).quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        buffer = io.BytesIO()
        sheet.save(buffer, format="PNG", optimize=True)
        if buffer.tell() <= SHEET_BYTES:
            break
    _write(path, buffer.getvalue())


def _drawn(row: GalleryRow, column: str) -> RGB | None:
    layer = row.layers.get(column)
    if layer is None:
        return None
    return over(paled(row.photograph) if layer.is_map else greyed(row.photograph, layer.picture), layer.picture)


def write_png(path: Path, figure: Figure) -> None:
    """A plot as a picture of its own."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=130, facecolor="white", metadata={"Software": None})
    _write(path, buffer.getvalue())


def _write(path: Path, content: bytes) -> None:
    with whole_file(path) as file:
        file.write(content)
