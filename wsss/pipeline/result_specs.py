"""Tables of results, described in YAML: which commands make a table's runs, which figure of which run goes where."""

from dataclasses import dataclass, field
from pathlib import Path

import yaml
from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from wsss.errors import InputError, first_line


@dataclass
class RowSpec:
    """A row.

    Attributes:
        label: its first cell.
        values: what `{name}` stands for in this row's runs and figures.
        without: columns that say nothing here.
    """

    label: str = MISSING
    values: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)


@dataclass
class ColumnSpec:
    """A column of figures.

    Attributes:
        label: its header.
        figure: key of results.json, or `localization/<split>/<kind>/<column>` of localize.py's table, or
            `faithfulness/…` and `drawing/…` of the others.
        run: see `TableSpec`; default: the table's.
        format: of Python.
    """

    label: str = MISSING
    figure: str = MISSING
    run: str | None = None
    format: str = ".1f"


@dataclass
class AgainstSpec:
    """Student's paired test over the random seeds, in two columns: the mean difference, and p after Holm's correction.

    Attributes:
        label: header of the difference.
        column: whose figures are tested.
        row: the control's row; default: the same.
        minus: the control's column; default: the same.
    """

    label: str = MISSING
    column: str = MISSING
    row: str | None = None
    minus: str | None = None


@dataclass
class TableSpec:
    """A table.

    Attributes:
        title: heading.
        data: what it was measured on, as a sentence without a full stop.
        minutes: core-minutes that it is thought to take; cheap tables are measured first.
        commands: of our scripts, from the repository's root, quoted as for a shell, though none sees them. `{outputs}`
            is the folder of the runs, any other `{name}` a folder of data.
        seeds: random seeds.
        run: folder of a cell's run under outputs; `{seed}` is the random seed, other `{name}` are `values`.
        values: what a row's `values` add to and override.
        head: header of the rows' labels.
        rows: from top to bottom.
        columns: from left to right.
        against: behind them.
        about: Markdown between the commands and the table: what the figures are.
        says: Markdown below it: what they say. Both are templates, in which `{{ cell(row, column).mean | number }}`,
            `{{ gain(row, other row, column) | signed }}`, `{{ best(column) }}`, `{{ test(row, label).p | number(3) }}`
            and more are read off the table: `Figures` in result_page.py.
    """

    title: str = MISSING
    data: str = MISSING
    minutes: float = MISSING
    commands: list[str] = MISSING
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    run: str = MISSING
    values: dict[str, str] = field(default_factory=dict)
    head: str = ""
    rows: list[RowSpec] = MISSING
    columns: list[ColumnSpec] = MISSING
    against: list[AgainstSpec] = field(default_factory=list)
    about: str = ""
    says: str = ""


def read_specs(folder: Path) -> dict[str, TableSpec]:
    """The tables described in a folder, `<name>.yaml` each, cheap ones first.

    Raises:
        InputError: if there is none, or one is at fault.
    """
    specs = {path.stem: read_spec(path) for path in sorted(folder.glob("*.yaml"))}
    if not specs:
        raise InputError(f"{folder}: describes no table; expected <name>.yaml")
    return dict(sorted(specs.items(), key=lambda named: named[1].minutes))


def read_spec(path: Path) -> TableSpec:
    """One description.

    Raises:
        InputError: if it cannot be read, lacks something, or names a row or column that is not there.
    """
    try:
        spec = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TableSpec), OmegaConf.load(path)))
    except (OmegaConfBaseException, yaml.YAMLError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not the description of a table ({first_line(error)})") from None
    assert isinstance(spec, TableSpec)
    rows, columns = ([one.label for one in of_kind] for of_kind in (spec.rows, spec.columns))
    for labels in (rows, columns):
        if twice := [label for label in labels if labels.count(label) > 1]:
            raise InputError(f"{path}: two are called {twice[0]}; give each row and column a label of its own")
    for test in spec.against:
        if test.row is None and test.minus is None:
            raise InputError(f"{path}: against {test.label}: name its control, a row or a column (minus), or both")
    named = [
        *((name, columns) for row in spec.rows for name in row.without),
        *((test.column, columns) for test in spec.against),
        *((test.minus, columns) for test in spec.against if test.minus is not None),
        *((test.row, rows) for test in spec.against if test.row is not None),
    ]
    for name, labels in named:
        if name not in labels:
            raise InputError(f"{path}: nothing is called {name}; there are {', '.join(labels)}")
    return spec
