"""Look at a whole data set and tell what it holds and what is wrong with it."""

import logging
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from wsss.data import Survey
from wsss.pipeline.run import Run
from wsss.report.data_page import class_counts, cooccurrence, data_page
from wsss.writing import write_csv, write_text

log = logging.getLogger(__name__)

MAX_ROWS = 60  # classes that the terminal shows


def validate(run: Run) -> Survey:
    """Write `data/index.html` and four tables in the run's folder, and print faults, notes and counts."""
    found = run.survey()
    folder = run.folder / "data"
    write_text(folder / "index.html", data_page(run.data, found))
    _write_tables(run, found)
    _print(run, found)
    log.info("wrote %s", folder / "index.html")
    return found


def _write_tables(run: Run, found: Survey) -> None:
    folder, names, splits = run.folder / "data", run.data.classes, found.splits
    write_csv(
        folder / "findings.csv",
        ["kind", "image", "text"],
        [("error" if f.is_error else "note", f.image_id or "", f.text) for f in found.findings],
    )
    members = {split: set(ids) for split, ids in splits.items()}
    write_csv(
        folder / "images.csv",
        ["image", "splits", "width", "height", "labels"],
        [
            (
                i,
                ";".join(s for s in members if i in members[s]),
                *(facts.size or ("", "")),
                ";".join(names[label] for label in facts.labels or ()),
            )
            for i, facts in found.images.items()
        ],
    )
    counts = class_counts(run.data, found).tolist()
    write_csv(folder / "classes.csv", ["class", *splits], [(n, *row) for n, row in zip(names, counts, strict=True)])
    together = cooccurrence(run.data, found).tolist()
    write_csv(folder / "cooccurrence.csv", ["", *names], [(n, *row) for n, row in zip(names, together, strict=True)])


def _print(run: Run, found: Survey) -> None:
    console = Console(highlight=False, soft_wrap=True)
    _print_lines(console, "[red]error:[/red]", (fault.text for fault in found.errors))
    _print_lines(console, "note:", (note.text for note in found.notes))
    headers = (escape(f"{split} ({len(ids)})") for split, ids in found.splits.items())
    table = Table("class", *headers, title=Text(run.data.name))
    counts = class_counts(run.data, found).tolist()
    for name, row in list(zip(run.data.classes, counts, strict=True))[:MAX_ROWS]:
        table.add_row(Text(name), *map(str, row))
    if len(counts) > MAX_ROWS:
        table.add_row(f"and {len(counts) - MAX_ROWS} more", *("" for _ in found.splits))
    without = [sum(found.images[i].labels == () for i in ids) for ids in found.splits.values()]
    if any(without):
        table.add_row("[dim]no class[/dim]", *map(str, without))
    console.print(table)
    bad = len({fault.image_id for fault in found.errors if fault.image_id is not None})
    errors = f"errors: {len(found.errors)}" + (f" (images with one: {bad})" if bad else "")
    console.print(f"images: {len(found.images)}, {errors}, notes: {len(found.notes)}")


def _print_lines(console: Console, kind: str, texts: Iterable[str]) -> None:
    for text in texts:
        console.print(kind, end=" ")
        console.print(" ".join(text.split()), markup=False)
