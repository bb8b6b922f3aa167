"""The page of a sweep: which setting, by how much, and is it chance."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from wsss import __version__
from wsss.progress import format_time
from wsss.report.comparison import Comparison, SweptRun, option_text
from wsss.report.headline import Card
from wsss.report.html import environment, write_png
from wsss.report.page_plots import Plot
from wsss.report.plots import inline_svg
from wsss.report.sweep_plots import SweepPicture, sweep_pictures
from wsss.report.sweep_tables import (
    TextTable,
    figure_table,
    headline_cards,
    kinds_table,
    left_out_lines,
    mean_texts,
    verdict,
)
from wsss.report.tables import title_of
from wsss.writing import write_text


class FigurePart(NamedTuple):
    """One figure: its table and its plots."""

    title: str
    table: TextTable
    plots: list[Plot]


class RunLine(NamedTuple):
    """A run in the list of runs; `link` leads to its own report, if it has one."""

    name: str
    link: str
    options: list[str]
    seed: str
    state: str
    time: str


def write_sweep_page(
    folder: Path, comparison: Comparison, *, figures: Sequence[str], best_command: str, command: str
) -> Path:
    """Write `index.html` of a sweep, a page that needs nothing else, and the pictures of its headline figure.

    Args:
        folder: where to.
        comparison: the sweep.
        figures: keys of results.json that have a table and pictures of their own.
        best_command: the best setting, ready to be run; empty without one.
        command: what started the sweep; empty where that is not known.
    """
    headline = comparison.headline
    shown = [key for key in dict.fromkeys([headline, *figures]) if key in comparison.figures]
    pictures = {key: sweep_pictures(comparison, key) for key in shown if key.endswith("miou")}
    others = [key for key in comparison.figures if key not in shown and not key.startswith("time/")]
    text = (
        environment()
        .get_template("sweep.html.j2")
        .render(
            name=folder.resolve().name,
            counts=_counts(comparison),
            cards=[Card(*card) for card in headline_cards(comparison)],
            verdict=verdict(comparison),
            control=comparison.control,
            is_compared=len(comparison.settings) > 1,
            best_command=best_command,
            command=command,
            parts=[
                FigurePart(
                    title_of(key), figure_table(comparison, key), _plots(f"figure{place}", key, pictures.get(key, []))
                )
                for place, key in enumerate(shown)
            ],
            kinds=kinds_table(comparison),
            others=mean_texts(comparison, others) if others else None,
            left_out=left_out_lines(comparison),
            names=comparison.names,
            runs=[_run_line(folder, comparison, run) for run in comparison.runs],
            version=__version__,
        )
    )
    for picture in pictures.get(headline or "", []):
        write_png(folder / f"{picture.name}.png", picture.figure)
    write_text(folder / "index.html", text)
    return folder / "index.html"


def _counts(comparison: Comparison) -> str:
    states = [run.state for run in comparison.runs]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    return f"{len(states)} runs ({counted}) of {len(comparison.settings)} settings"


def _plots(prefix: str, key: str, pictures: Sequence[SweepPicture]) -> list[Plot]:
    return [
        Plot(
            picture.title,
            Markup(inline_svg(picture.figure, name=f"{prefix}-{place}", alt=f"{title_of(key)}: {picture.title}")),
            picture.remark,
        )
        for place, picture in enumerate(pictures)
    ]


def _run_line(folder: Path, comparison: Comparison, run: SweptRun) -> RunLine:
    report = run.folder / "report" / "index.html"
    link = ""
    if report.is_file():
        place = report.resolve()
        inside = place.is_relative_to(folder.resolve())
        link = quote(place.relative_to(folder.resolve()).as_posix()) if inside else place.as_uri()
    return RunLine(
        run.name,
        link,
        [option_text((run.options or {}).get(name)) for name in comparison.names],
        "–" if run.seed is None else str(run.seed),
        run.state,
        "–" if run.seconds is None else format_time(run.seconds),
    )
