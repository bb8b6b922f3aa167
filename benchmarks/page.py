"""docs/benchmarks.md: what `make bench` has measured side by side, in one table and one picture.

python benchmarks/page.py             # gathers outputs/bench/*.json into docs/benchmarks.json, and renders the page
python benchmarks/page.py --render    # the page anew from docs/benchmarks.json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = (  # of `make bench`, in the page's order
    "recam_head",
    "cam",
    "crf",
    "random_walk",
    "threshold_sweep",
    "evaluation",
    "segmenter",
)
MET, MISSED, FREE = "#2a7f62", "#c8553d", "#8a8a8a"

Row = dict[str, Any]  # a `Comparison`


def gather(folder: Path) -> Row:
    """Comparisons of all benchmarks, and what they were measured on.

    Raises:
        SystemExit: if one has not been measured, or two were measured on different machines or by different torch.
    """
    rows: list[Row] = []
    places = {}
    for name in BENCHMARKS:
        path = folder / f"{name}.json"
        if not path.exists():
            sys.exit(f"error: {path} is missing; `make bench` measures all, python benchmarks/{name}.py this one")
        measured = json.loads(path.read_text())
        places[name] = {"machine": measured["machine"], "torch": measured["torch"]}
        rows += [{"threads": measured["threads"], **row} for row in measured["compared"]]
    if others := [name for name in places if places[name] != places[BENCHMARKS[0]]]:
        sys.exit(f"error: {others[0]} and {BENCHMARKS[0]} were not measured on one machine; measure both again")
    return {**places[BENCHMARKS[0]], "rows": rows}


def is_met(row: Row) -> bool | None:
    """Whether the target was reached, to a hundredth; None without a target."""
    return None if row["target"] is None else bool(row["faster"] >= row["target"] - 0.005)


def picture(rows: list[Row]) -> Figure:
    """A bar a comparison, how many times as fast, on a logarithmic axis; a mark where its target lies."""
    colours = {True: MET, False: MISSED, None: FREE}
    figure, axes = plt.subplots(figsize=(9, 0.32 * len(rows) + 1), layout="constrained")
    places = range(len(rows))
    axes.barh(places, [row["faster"] - 1 for row in rows], left=1, color=[colours[is_met(row)] for row in rows])
    for place, row in zip(places, rows, strict=True):
        if row["target"] is not None:
            axes.plot([row["target"]] * 2, [place - 0.4, place + 0.4], color="black")
    axes.set_yticks(places, [f"{row['what']}\nagainst {row['peer']}" for row in rows], fontsize=6)
    axes.set(xscale="log", xlabel="times as fast; | target")
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.5)
    axes.grid(axis="x", which="both", alpha=0.2)
    return figure


def table(rows: list[Row]) -> str:
    """Markdown."""

    def pair(row: Row, ours: str, theirs: str) -> list[str]:
        return ["–" if row[key] is None else f"{row[key]:.3g}" for key in (ours, theirs)]

    lines = [
        "| what | against | s | its s | times as fast | target | extra MiB | its MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        target = "–" if row["target"] is None else f"{row['target']:.3g}{'' if is_met(row) else ', not met'}"
        times = pair(row, "seconds", "peer_seconds")
        memory = ["–" if row[key] is None else f"{row[key]:.0f}" for key in ("mib", "peer_mib")]
        cells = [row["what"], row["peer"], *times, f"{row['faster']:.2f}", target, *memory]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def page(measured: Row) -> str:
    """Markdown of the whole page."""
    template = (ROOT / "benchmarks" / "benchmarks.md.j2").read_text()
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    verdicts = [is_met(row) for row in measured["rows"]]
    counts = {"met": verdicts.count(True), "missed": verdicts.count(False)}
    return environment.from_string(template).render(table=table(measured["rows"]), measured=measured, **counts)


def main() -> None:
    """Gather, render."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, default=ROOT / "outputs" / "bench", help="folder of the measurements")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--render", action="store_true", help="gather nothing")
    options = parser.parse_args()
    numbers = options.page.with_suffix(".json")
    if not options.render:
        numbers.write_text(json.dumps(gather(options.bench), indent=1, ensure_ascii=False) + "\n")
    measured = json.loads(numbers.read_text())
    picture(measured["rows"]).savefig(options.page.with_suffix(".png"), dpi=120, metadata={"Software": None})
    options.page.write_text(page(measured))


if __name__ == "__main__":
    main()
