"""The page of an audit of masks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wsss import __version__
from wsss.data import DataDescription
from wsss.report.embedding import PREFIX, page_row
from wsss.report.gallery import gallery_rows, train_columns
from wsss.report.html import audit_tables, environment, licence_of
from wsss.report.overlays import class_legend
from wsss.report.run_files import RunFiles
from wsss.report.tables import stamp
from wsss.writing import write_text


def write_audit_page(
    run_folder: Path,
    description: DataDescription,
    masks: Path,
    *,
    protocol: Mapping[str, object],
    summary: Mapping[str, object],
    classes: Sequence[Mapping[str, Any]],
    worst: Mapping[str, Sequence[str]],
) -> Path:
    """Write `audit/index.html` of a run, a page that needs nothing else.

    Args:
        run_folder: `outputs/<run>`.
        description: the data set of the run.
        masks: folder of the masks.
        protocol: what was audited.
        summary: figures of all masks.
        classes: a row for each class; columns without any value are left out.
        worst: image -> what is odd about its mask, the worst first.
    """
    legend = class_legend(description.classes)
    files = RunFiles(run_folder)
    drawn = gallery_rows(files, description, list(worst), train_columns(files, {}, masks=str(masks.resolve())))
    rows = [page_row(row, description.classes) for row in drawn]
    text = (
        environment()
        .get_template("audit.html.j2")
        .render(
            run=run_folder.resolve().name,
            stamp=stamp(dict(protocol)),
            **audit_tables(summary, classes),
            remark="The masks with the lowest mIoU." if "miou" in summary else "The masks with most that is odd.",
            legend=legend,
            prefix=PREFIX,
            rows=list(zip(rows, worst.values(), strict=True)),
            licence=licence_of(description),
            version=__version__,
        )
    )
    path = run_folder / "audit" / "index.html"
    write_text(path, text)
    return path
