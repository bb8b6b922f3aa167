"""A plan for people and for programs: tables, and plan.json."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from wsss.pipeline.plan import Plan
from wsss.progress import format_time
from wsss.report.tables import plain_table


def plan_table(plan: Plan) -> Table:
    """A row a step, and what all of it takes."""
    table = _table("step", "images × epochs", "time", "memory", "disk", "how it scales")
    has_gpu = any(row.memory.gpu for row in plan.rows)
    for row in plan.rows:
        gpu = f", GPU {format_bytes(row.memory.gpu)}" if has_gpu and row.memory.gpu else ""
        memory = format_bytes(row.memory.ram) + gpu if row.memory.ram else "–"
        cells = [format_time(plan.seconds(row)), memory, format_bytes(row.disk) if row.disk else "–"]
        table.add_row(row.step, row.what, *(["finished", "–", "–"] if row.finished else cells), row.scales)
    seconds, disk = sum(map(plan.seconds, plan.rows)), sum(map(plan.disk, plan.rows))
    largest = max(row.memory.ram for row in plan.rows)
    table.add_section()
    table.add_row("total", "", format_time(seconds), format_bytes(largest), format_bytes(disk), "")
    return table


def plan_notes(plan: Plan) -> list[str]:
    """What to know of the table."""
    facts, hardware = plan.facts, plan.config.hardware
    height, width = facts.size
    lines = [
        f"data: {facts.images} train images ({facts.scored} scored), {facts.val_images} val images, {height} × {width} "
        f"pixels, {facts.classes_per_image:.2f} classes an image; {facts.source}",
        f"measured in {plan.measured_s:.0f} s on {plan.device}, {plan.cores} cores",
    ]
    ratios = {name: value for name, value in asdict(hardware).items() if value not in (None, 1, 1.0)}
    if ratios:
        given = ", ".join(f"{name}={value:g}" for name, value in ratios.items())
        lines.append(f"hardware: {given} as you say; nothing of it was measured, and memory is this machine's")
    return [*lines, *plan.notes]


def comparison_table(plan: Plan, measured: Mapping[str, tuple[float | None, int]]) -> Table:
    """Predicted against measured, step by step; totals are of the steps that have both."""
    table = _table("step", "time predicted", "measured", "ratio", "disk predicted", "measured", "ratio")
    times: list[tuple[float, float]] = []
    sizes: list[tuple[float, float]] = []
    for row in (row for row in plan.rows if row.step in measured):
        seconds, size = measured[row.step]
        cells = ["–"] * 3
        if seconds is not None:
            times.append((plan.seconds(row), seconds))
            cells = _compared(*times[-1], format_time)
        sizes.append((row.disk, float(size)))
        table.add_row(row.step, *cells, *_compared(*sizes[-1], format_bytes))
    table.add_section()
    table.add_row("total", *_compared(*_sums(times), format_time), *_compared(*_sums(sizes), format_bytes))
    return table


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain values: seconds and bytes."""
    rows = [
        {
            "step": row.step,
            "finished": row.finished,
            "seconds": round(plan.seconds(row), 2),
            "ram_bytes": round(row.memory.ram),
            "gpu_bytes": round(row.memory.gpu),
            "disk_bytes": round(plan.disk(row)),
            "parts_here": [part._asdict() for part in row.parts],
            "scales": row.scales,
        }
        for row in plan.rows
    ]
    return {
        "data": asdict(plan.facts),
        "hardware": asdict(plan.config.hardware),
        "measured_on": {"device": plan.device, "cores": plan.cores, "seconds": round(plan.measured_s, 1)},
        "notes": plan.notes,
        "steps": rows,
        "seconds": round(sum(map(plan.seconds, plan.rows)), 1),
        "disk_bytes": round(sum(map(plan.disk, plan.rows))),
    }


def format_bytes(number: float) -> str:
    """Write a size in its largest unit."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number / 1e3:.3g} kB"


def _sums(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return sum(predicted for predicted, _ in pairs), sum(measured for _, measured in pairs)


def _compared(predicted: float, measured: float, write: Callable[[float], str]) -> list[str]:
    return [write(predicted), write(measured), f"{predicted / measured:.2f}" if measured else "–"]


def _table(*titles: str) -> Table:
    table = plain_table()
    for title in titles:
        is_text = title in ("step", "images × epochs", "how it scales")
        table.add_column(title, justify="left" if is_text else "right", overflow="fold")
    return table
