"""The page of results, rendered from the tables' descriptions and their small files."""

import json
import logging
import re
import textwrap
from collections.abc import Mapping
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, StrictUndefined, TemplateError

from wsss.errors import InputError, first_line
from wsss.metrics.statistics import holm, paired_difference
from wsss.pipeline.result_specs import TableSpec
from wsss.pipeline.result_tables import PLACEHOLDER, Numbers, Values
from wsss.progress import format_time
from wsss.report.sweep_tables import NONE, TextTable, p_text
from wsss.report.tables import with_sign
from wsss.writing import write_text

log = logging.getLogger(__name__)

WIDTH, LINE = 110, 128  # of commands and of sentences


def render_page(template: Path, specs: Mapping[str, TableSpec], numbers: Path) -> str:
    """The page: a Jinja template in which `{{ table("<name>") }}` is a table's section.

    `{{ contents() }}` links to all of them; `{{ of("<name>").cell(row, column).mean | number }}` reads a figure off a
    measured one, see `Figures`.

    Raises:
        InputError: if the template cannot be rendered, or a table's file and description do not belong together.
    """

    def described(name: str) -> tuple[TableSpec, Path]:
        if name not in specs:
            raise InputError(f"{template}: no table is called {name}; there are {', '.join(specs)}")
        return specs[name], numbers / f"{name}.json"

    def table(name: str) -> str:
        return render_table(*described(name))

    def of(name: str) -> Figures:
        spec, path = described(name)
        return Figures(spec, read_numbers(spec, path))

    def contents() -> str:
        titles = [described(name)[0].title for name in re.findall(r'{{ table\("(\w+)"\) }}', text)]
        return "\n".join(f"- [{title}](#{anchor(title)})" for title in titles)

    try:
        text = template.read_text()
        return wrap(_environment().from_string(text).render(table=table, of=of, contents=contents)) + "\n"
    except KeyError as error:
        raise InputError(f"{template}: no table has {error}; correct what asks for it") from None
    except (TemplateError, OSError) as error:
        raise InputError(f"{template}: {first_line(error)}") from None


def render_table(spec: TableSpec, path: Path) -> str:
    """A table's section, from its heading on, not wrapped; without its file it says that it was not measured.

    Raises:
        InputError: if the file was measured by other commands, or lacks what the description asks for.
    """
    heading, commands = f"## {spec.title}", "\n".join(map(_shown, spec.commands))
    listed, many = ", ".join(map(str, spec.seeds)), "s" if len(spec.seeds) > 1 else ""
    data = f"{spec.data}; random seed{many} {listed}."
    if not path.exists():
        expected = f"Not measured yet; thought to take {spec.minutes:g} core-minutes."
        return f"{heading}\n\n{data} {expected}\n\n{commands}"
    numbers = read_numbers(spec, path)
    figures = Figures(spec, numbers)
    try:
        about, says = (figures.fill(text).strip() for text in (spec.about, spec.says))
        table = text_table(spec, numbers).markdown()
    except KeyError as error:
        wanted = f"{path}: nothing of {error}"
        raise InputError(f"{wanted}; measure {path.stem} again, or correct what asks for it") from None
    except TemplateError as error:
        raise InputError(f"{path.stem}: {first_line(error)}") from None
    known = " ".join(filter(None, [data, _measured(numbers), numbers["note"]]))
    return "\n\n".join(filter(None, [heading, known, commands, about, table, says]))


def read_numbers(spec: TableSpec, path: Path) -> Numbers:
    """A table's file.

    Raises:
        InputError: if it is not there or not readable, or was measured by other commands.
    """
    try:
        numbers: Numbers = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable ({error}); measure {path.stem} again") from None
    if (numbers["commands"], numbers["seeds"]) != (spec.commands, spec.seeds):
        raise InputError(f"{path}: measured by other commands than the table has now; measure {path.stem} again")
    numbers["against"] = differences(spec, _values(spec, numbers))
    return numbers


def differences(spec: TableSpec, values: Values) -> dict[str, dict[str, Any]]:
    """Row -> label of the test -> its number of pairs, mean difference and corrected p."""
    found: dict[str, dict[str, Any]] = {row.label: {} for row in spec.rows}
    for test in spec.against:
        tested = []
        for row in found:
            control = (test.row or row, test.minus or test.column)
            is_control = control == (row, test.column)
            of_row = {} if is_control else values.get((row, test.column), {})
            tested.append(paired_difference(of_row, values.get(control, {})))
        corrected = holm([None if difference is None else difference.p for difference in tested])
        for row, difference, p in zip(found, tested, corrected, strict=True):
            if difference is not None:
                found[row][test.label] = {"n": difference.n, "mean": difference.mean, "p": p}
    return found


def _values(spec: TableSpec, numbers: Numbers) -> Values:
    """A file's figures by random seed."""
    return {
        (row, column): _by_seed(spec, cell) for row, cells in numbers["cells"].items() for column, cell in cells.items()
    }


def _by_seed(spec: TableSpec, cell: Mapping[str, Any]) -> dict[int, float]:
    """A cell's figures."""
    return dict(zip(spec.seeds, cell["values"], strict=True))


def _measured(numbers: Numbers) -> str:
    """Time and machine in a sentence; nothing where a table's file does not know them."""
    if not numbers["seconds"]:
        return ""
    machine = f" on {numbers['machine']}" if numbers["machine"] else ""
    return f"The steps took {format_time(numbers['seconds'])}{machine}."


def text_table(spec: TableSpec, numbers: Numbers) -> TextTable:
    """The table: means over the random seeds ± their standard deviation, then tests."""
    header = [spec.head, *(column.label for column in spec.columns)]
    header += [title for test in spec.against for title in (test.label, "p")]
    rows = []
    for row in spec.rows:
        cells, tested = numbers["cells"][row.label], numbers["against"][row.label]
        texts = [
            NONE if column.label in row.without else _cell_text(cells[column.label], column.format)
            for column in spec.columns
        ]
        for test in spec.against:
            found = tested.get(test.label)
            texts += [NONE, NONE] if found is None else [_signed(found["mean"]), p_text(found["p"])]
        rows.append([row.label, *texts])
    return TextTable(header, rows, set(range(1, len(header))))


def _cell_text(cell: Mapping[str, Any], form: str) -> str:
    text = f"{cell['mean']:{form}}"
    if cell["std"] is not None:
        text += f" ± {cell['std']:{form}}"
    return text


def _shown(command: str) -> str:
    """A command as it is typed from the repository's root, indented as code."""
    plain = command.replace(" outputs={outputs}", "").replace("{outputs}", "outputs")
    plain = PLACEHOLDER.sub(r"<\1>", plain)
    lines = textwrap.wrap(f"python {plain}", WIDTH, break_long_words=False, break_on_hyphens=False)
    return "    " + " \\\n      ".join(lines)


class Figures(NamedTuple):
    """A measured table, as expressions of templates read it."""

    spec: TableSpec
    numbers: Numbers

    def cell(self, row: str, column: str) -> dict[str, Any]:
        """`mean`, `std`, `n` and `values`."""
        found: dict[str, Any] = self.numbers["cells"][row][column]
        return found

    def gain(self, row: str, other: str, column: str) -> float:
        """How far a row's mean lies above another's."""
        return float(self.cell(row, column)["mean"] - self.cell(other, column)["mean"])

    def best(self, column: str) -> str:
        """Label of the row with the highest mean."""
        return max(self._means(column).items(), key=itemgetter(1))[0]

    def level(self, column: str) -> str:
        """The rows that lie within a standard deviation of the best one, in brackets; nothing where there are none."""
        best, means = self.best(column), self._means(column)
        least = means.pop(best) - (self.cell(best, column)["std"] or 0)
        near = [row for row, mean in means.items() if mean >= least]
        return f" (within a standard deviation: {'; '.join(near)})" if near else ""

    def _means(self, column: str) -> dict[str, float]:
        """Label -> mean, of the rows that a column speaks of."""
        rows = [row.label for row in self.spec.rows if column not in row.without]
        return {row: float(self.cell(row, column)["mean"]) for row in rows}

    def test(self, row: str, label: str) -> dict[str, Any]:
        """`mean` difference, corrected `p` and number `n` of pairs."""
        found: dict[str, Any] = self.numbers["against"][row][label]
        return found

    def paired(self, row: str, other: str, column: str, minus: str | None = None) -> str:
        """Mean difference of two rows and the p of Student's paired test over the random seeds, not corrected.

        Args:
            row: label.
            other: its control's.
            column: whose figures are compared.
            minus: column of the control's figures; default: the same.
        """
        control = self.cell(other, minus or column)
        difference = paired_difference(*(_by_seed(self.spec, cell) for cell in (self.cell(row, column), control)))
        assert difference is not None  # all rows have the table's random seeds
        p = "" if difference.p is None else f" (p {p_text(difference.p)})"
        return _signed(difference.mean) + p

    def fill(self, text: str) -> str:
        """Markdown with what its expressions read off the table."""
        names = {name: getattr(self, name) for name in ("cell", "gain", "best", "level", "test", "paired")}
        return _environment().from_string(text).render(**names)


def anchor(title: str) -> str:
    """A heading's place in a page, as GitHub names it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def wrap(text: str) -> str:
    """Markdown's plain paragraphs and list items in lines of one width; code, tables and headings as they are."""
    return "\n\n".join(_wrapped(block) for block in text.strip().split("\n\n"))


def _wrapped(block: str) -> str:
    if block.startswith(("#", "|", "    ", "<")):
        return block
    return "\n".join(map(_filled, re.split(r"\n(?=- )", block)))


def _filled(text: str) -> str:
    """A paragraph, or an item of a list, in lines."""
    indent = "  " if text.startswith("- ") else ""
    text = " ".join(text.split())
    return textwrap.fill(text, LINE, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _environment() -> Environment:
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"number": _number, "signed": _signed}
    return environment


def _number(value: float, digits: int = 1) -> str:
    return f"{value:.{digits}f}".replace("-", "−")


def _signed(value: float, digits: int = 1) -> str:
    return with_sign(value, f"{abs(value):.{digits}f}")


def write_page(path: Path, template: Path, specs: Mapping[str, TableSpec]) -> None:
    """Render the page from the tables' files, which lie in the folder of its name without suffix."""
    write_text(path, render_page(template, specs, path.with_suffix("")))
    log.info("wrote %s", path)
