"""A sweep as tables: for the terminal, Markdown, CSV and JSON, and what it says in words."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from rich.table import Table
from rich.text import Text

from wsss.metrics.statistics import CONFIDENCE, Spread
from wsss.report.comparison import (
    Comparison,
    SweptRun,
    Tested,
    control_differences,
    kind_tests,
    option_text,
    setting_text,
    short_names,
)
from wsss.report.tables import format_value, plain_table, title_of, with_sign

MANY = 20  # settings from which the best come first
FEW = 3  # random seeds below which a test means little
LEVEL = 1 - CONFIDENCE
NONE = "–"


class TextTable(NamedTuple):
    """A table ready to be shown; a column whose place is in `numbers` is aligned to the right."""

    header: list[str]
    rows: list[list[str]]
    numbers: set[int]

    def rich(self) -> Table:
        """For the terminal: headers wrapped to their columns, so that figures stay whole where there is room."""
        table = plain_table()
        for place, name in enumerate(self.header):
            width = max(len(cell) for cell in (*(row[place] for row in self.rows), *name.split()))
            header = "\n".join(textwrap.wrap(name, width, break_on_hyphens=False))
            justify: Literal["left", "right"] = "right" if place in self.numbers else "left"
            table.add_column(Text(header), justify=justify, overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))  # brackets are no markup
        return table

    def markdown(self) -> str:
        """For a page of text."""
        rule = "|" + "---|" * len(self.header)
        lines = [
            "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in (self.header, *self.rows)
        ]
        return "\n".join([lines[0], rule, *lines[1:]])


def overview(comparison: Comparison, figures: Sequence[str]) -> TextTable:
    """Settings with mean ± standard deviation; runs one by one where no setting has more than one random seed."""
    if all(len(setting.runs) < 2 for setting in comparison.settings):
        return runs_table(comparison, figures)
    known = [key for key in figures if key in comparison.figures]
    rows = [
        [option_text(setting.options[name]) for name in comparison.names]
        + [str(len(setting.runs))]
        + [_mean_text(key, setting.spread(key)) for key in known]
        for setting in comparison.settings
    ]
    header = [*short_names(comparison.names), "random seeds", *map(title_of, known)]
    if (key := comparison.headline) is not None and len(rows) > 1:
        header += ["against control", "p (Holm)"]
        for row, tested in zip(rows, control_differences(comparison, key), strict=True):
            row += [NONE, NONE] if tested is None else [_signed(key, tested.difference.mean), p_text(tested.p_holm)]
    return TextTable(header, rows, set(range(len(comparison.names), len(header))))


def runs_table(comparison: Comparison, figures: Sequence[str]) -> TextTable:
    """Runs with their figures, and `at` behind those that have a background threshold."""
    known = [key for key in figures if key in comparison.figures]
    done = [run for run in comparison.runs if run.figures and run.state in ("done", "repeated")]
    at = {key for key in known if any(key in (run.thresholds or {}) for run in done)}
    rows = []
    for run in done:
        row = [run.name, *(option_text((run.options or {}).get(name)) for name in comparison.names)]
        for key in known:
            value, threshold = (run.figures or {}).get(key), (run.thresholds or {}).get(key)
            row.append(NONE if value is None else format_value(key, value))
            row += [NONE if threshold is None else f"{threshold:.2f}"] if key in at else []
        rows.append(row)
    titles = [title for key in known for title in ([title_of(key), "at"] if key in at else [title_of(key)])]
    header = ["run", *short_names(comparison.names), *titles]
    return TextTable(header, rows, set(range(1 + len(comparison.names), len(header))))


def figure_table(comparison: Comparison, key: str) -> TextTable:
    """All that is known of one figure: its mean, intervals, and each setting against its control.

    Many settings come with the best first; columns that would be empty are left out.
    """
    of_figure = ("n", "mean ± std", "95 % interval", "by random seed", "against the control", "pairs", "p", "p (Holm)")
    header = [*short_names(comparison.names), *of_figure]
    rows = []
    tests, controls = control_differences(comparison, key), _controls(comparison)
    for setting, tested, is_control in zip(comparison.settings, tests, controls, strict=True):
        found, values = setting.spread(key), setting.values(key).values()
        row = [
            *(option_text(setting.options[name]) for name in comparison.names),
            str(found.n if found else 0),
            _mean_text(key, found),
            NONE if found is None else _interval(key, found.low, found.high),
            " / ".join(format_value(key, value) for value in values) if len(values) > 1 else NONE,
            "control" if is_control else _difference_text(key, tested),
            str(tested.difference.n) if tested else NONE,
            p_text(tested.difference.p if tested else None),
            p_text(tested.p_holm if tested else None),
        ]
        rows.append((-math.inf if found is None else found.mean, row))
    if len(rows) > MANY:
        rows.sort(key=lambda pair: -pair[0])
    numbers = {*range(len(comparison.names), len(header))} - {header.index("by random seed")}
    return _without_empty(TextTable(header, [row for _, row in rows], numbers))


def _without_empty(table: TextTable) -> TextTable:
    kept = [place for place in range(len(table.header)) if any(row[place] != NONE for row in table.rows)]
    return TextTable(
        [table.header[place] for place in kept],
        [[row[place] for place in kept] for row in table.rows],
        {new for new, old in enumerate(kept) if old in table.numbers},
    )


def mean_texts(comparison: Comparison, keys: Sequence[str]) -> TextTable:
    """Mean ± standard deviation of many figures, a column each."""
    header = [*short_names(comparison.names), *map(title_of, keys)]
    rows = [
        [
            *(option_text(setting.options[name]) for name in comparison.names),
            *(_mean_text(key, setting.spread(key)) for key in keys),
        ]
        for setting in comparison.settings
    ]
    return TextTable(header, rows, set(range(len(comparison.names), len(header))))


def kinds_table(comparison: Comparison) -> TextTable | None:
    """ReCAM's maps against those of the control trained beside them, if there are any."""
    found = kind_tests(comparison)
    if not found:
        return None
    header = [*short_names(comparison.names), "map", "mean ± std", "against BCE alone", "pairs", "p", "p (Holm)"]
    rows = [
        [
            *(option_text(setting.options[name]) for name in comparison.names),
            title_of(key).removeprefix("seeds, "),
            _mean_text(key, setting.spread(key)),
            _difference_text(key, tested),
            str(tested.difference.n),
            p_text(tested.difference.p),
            p_text(tested.p_holm),
        ]
        for setting, key, tested in found
    ]
    return TextTable(header, rows, set(range(len(comparison.names) + 1, len(header))))


def headline_cards(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """Title, value, remark and small print of the headline figures."""
    key, best = comparison.headline, comparison.best
    if key is None or best is None or (found := best.spread(key)) is None:
        return []
    small = f"n = {found.n}" + ("" if found.low is None else f", 95 % interval {_interval(key, found.low, found.high)}")
    if len(comparison.settings) == 1:
        return [(title_of(key), _mean_text(key, found), "", small)]
    cards = [(f"Best setting by {title_of(key)}", _mean_text(key, found), setting_text(best.options), small)]
    tested = control_differences(comparison, key)[comparison.settings.index(best)]
    if tested is not None:
        _, mean, low, high, p = tested.difference
        between = "" if low is None else f"95 % interval {_interval(key, low, high, signed=True)}"
        of_test = "no test" if p is None else f"p {p_text(p)}, with Holm's correction {p_text(tested.p_holm)}"
        small = f"{_count(tested.difference.n, 'pair')}, {of_test}"
        cards.append(("Against the control", _signed(key, mean), between, small))
    return cards


def verdict(comparison: Comparison) -> list[str]:
    """What the sweep says, in sentences."""
    key, best = comparison.headline, comparison.best
    if key is None or best is None or (found := best.spread(key)) is None:
        return ["No finished run has an mIoU (no ground truth, or no run got as far): nothing to choose by."]
    place = comparison.settings.index(best)
    mean = f"{_mean_text(key, found)} over {_count(found.n, 'random seed')}"
    if len(comparison.settings) == 1:
        return [f"{key} ({title_of(key)}): {mean}; one setting, so nothing to choose."]
    lines = [f"Best by {key} ({title_of(key)}): {setting_text(best.options)}, {mean}."]
    tested = control_differences(comparison, key)[place]
    if _controls(comparison)[place]:
        lines.append("That is the control itself: no setting has a higher mean.")
    elif tested is None:
        lines.append("It has no control with a common random seed, so there is no telling whether the gain is chance.")
    else:
        lines.append(f"Against the control: {_difference_text(key, tested)}; {_significance(tested)}.")
    lines.append(
        f"The best of {len(comparison.settings)} was chosen by this very figure, on the images it is scored on, so it "
        "flatters the winner: report it on images that have chosen nothing."
    )
    return lines


def runs_csv(comparison: Comparison) -> tuple[list[str], list[list[object]]]:
    """Every run, its options and all of its figures."""
    figures = sorted({key for run in comparison.runs for key in run.figures or {}})
    at = [key for key in figures if any(key in (run.thresholds or {}) for run in comparison.runs)]
    header = ["run", *comparison.names, "seed", "state", "reason", "seconds", *figures, *(f"{key} at" for key in at)]
    rows: list[list[object]] = [
        [
            *(run.name, *((run.options or {}).get(name) for name in comparison.names)),
            *(run.seed, run.state, run.reason, run.seconds),
            *((run.figures or {}).get(key) for key in figures),
            *((run.thresholds or {}).get(key) for key in at),
        ]
        for run in comparison.runs
    ]
    return header, rows


def summary_json(comparison: Comparison) -> dict[str, Any]:
    """Settings, figures and tests as plain values."""
    tests = {key: control_differences(comparison, key) for key in comparison.figures}
    settings = []
    for place, setting in enumerate(comparison.settings):
        figures = {}
        for key in comparison.figures:
            if (found := setting.spread(key)) is None:
                continue
            tested = tests[key][place]
            figures[key] = {
                **found._asdict(),
                "values": {str(seed): value for seed, value in setting.values(key).items()},
                "difference": None if tested is None else _test_json(tested),
            }
        control = None if setting.control is None else comparison.settings[setting.control].options
        runs = [run.name for run in setting.runs]
        settings.append({"options": setting.options, "runs": runs, "control": control, "figures": figures})
    best = comparison.best
    return {
        "control": comparison.control,
        "headline": comparison.headline,
        "best": None if best is None else best.options,
        "verdict": verdict(comparison),
        "settings": settings,
        "within_runs": [
            {"options": setting.options, "figure": key, **_test_json(tested)}
            for setting, key, tested in kind_tests(comparison)
        ],
        "left_out": [{"run": r.name, "state": r.state, "reason": r.reason} for r in comparison.left_out],
    }


def summary_csv(comparison: Comparison) -> tuple[list[str], list[list[object]]]:
    """A row for each setting and figure."""
    columns = ("n", "mean", "std", "low", "high", "values")
    of_test = ("n", "mean", "low", "high", "p", "p_holm", "note")
    header = [*comparison.names, "figure", *columns, "is_control", *(f"difference_{name}" for name in of_test)]
    rows: list[list[object]] = []
    entries = summary_json(comparison)["settings"]
    for setting, found, is_control in zip(comparison.settings, entries, _controls(comparison), strict=True):
        for key, entry in found["figures"].items():
            values = " ".join(f"{seed}:{value}" for seed, value in entry["values"].items())
            tested = entry["difference"] or {}
            rows.append(
                [
                    *(*setting.options.values(), key),
                    *((entry | {"values": values})[name] for name in columns),
                    *(is_control, *(tested.get(name) for name in of_test)),
                ]
            )
    return header, rows


def left_out_lines(comparison: Comparison) -> list[str]:
    """A line for each run that is in no setting."""
    return [f"{_what(comparison, run)}: {run.state}, {run.reason}" for run in comparison.left_out]


def _what(comparison: Comparison, run: SweptRun) -> str:
    known = {} if run.options is None else {name: run.options.get(name) for name in comparison.names}
    known |= {} if run.seed is None else {"seed": run.seed}
    return f"{run.name} ({setting_text(known)})" if known else run.name


def _controls(comparison: Comparison) -> list[bool]:
    """Whether each setting is the control of others."""
    places = {setting.control for setting in comparison.settings}
    return [place in places for place in range(len(comparison.settings))]


def _test_json(tested: Tested) -> dict[str, Any]:
    note = f"fewer than {FEW} random seeds: means little" if tested.difference.n < FEW else None
    return {**tested.difference._asdict(), "p_holm": tested.p_holm, "note": note}


def _significance(tested: Tested) -> str:
    n, p = tested.difference.n, tested.p_holm
    if p is None:
        return "one random seed, no test" if n < 2 else "no test, as all random seeds differ by the same"
    few = f"; {_count(n, 'random seed')} mean little" if n < FEW else ""
    chance = "unlikely to be chance" if p < LEVEL else "may well be chance"
    equals = "" if p < 0.001 else "= "
    return f"p {equals}{p_text(p)} in a paired test over {_count(n, 'seed')}, after Holm's correction: {chance}{few}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def _mean_text(key: str, found: Spread | None) -> str:
    if found is None:
        return NONE
    return format_value(key, found.mean) + ("" if found.std is None else f" ± {format_value(key, found.std)}")


def _difference_text(key: str, tested: Tested | None) -> str:
    if tested is None:
        return NONE
    _, mean, low, high, _ = tested.difference
    return _signed(key, mean) + ("" if low is None else f" {_interval(key, low, high, signed=True)}")


def _interval(key: str, low: float | None, high: float | None, *, signed: bool = False) -> str:
    if low is None or high is None:
        return NONE
    text = _signed if signed else format_value
    return f"[{text(key, low)}, {text(key, high)}]"


def _signed(key: str, value: float) -> str:
    return with_sign(value, format_value(key, abs(value)))


def p_text(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
