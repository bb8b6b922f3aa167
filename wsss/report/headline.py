"""What the page of a run says first: its figures, how they were measured, and what was published."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from wsss.report.published import PUBLISHED, Published, is_comparable
from wsss.report.tables import format_value, stamp, twin_share

TITLES = {
    "seeds/miou": "Seeds, mIoU",
    "masks/miou": "Pseudo-masks, mIoU",
    "segmenter/val_miou": "Segmenter, val mIoU",
    "classifier/val_map": "Classifier, val mAP",
}
STEPS = {"seeds/miou": "seeds", "masks/miou": "pseudo-masks", "segmenter/val_miou": "segmenter"}


class Card(NamedTuple):
    """A headline figure, what stands beside it, its protocol, and published figures it may be compared with."""

    title: str
    value: str
    remark: str
    stamp: str
    references: Sequence[str] = ()


class References(NamedTuple):
    """Published figures as rows of a table.

    Attributes:
        is_comparable: whether any of them stands beside a figure of the run.
        rows: step, method, split, mIoU in percent, source.
    """

    is_comparable: bool
    rows: list[tuple[str, str, str, str, str]]


def cards(
    results: Mapping[str, float], protocols: Mapping[str, Mapping[str, object]], classes: Sequence[str]
) -> list[Card]:
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
    return [
        Card(
            title,
            format_value(key, results[key]),
            " · ".join(filter(None, remarks[key])),
            stamp(protocols.get(key, {})),
            [f"{p.what} {p.miou} ({p.source})" for p in _comparable(key, classes, protocols.get(key, {}))],
        )
        for key, title in TITLES.items()
        if key in results
    ]


def references(
    results: Mapping[str, float], protocols: Mapping[str, Mapping[str, object]], classes: Sequence[str]
) -> References:
    """Published figures of VOC 2012; all of them, whatever the run's data set is."""
    return References(
        any(p.key in results and is_comparable(p, classes, protocols.get(p.key, {})) for p in PUBLISHED),
        [(_step(p), p.what, p.split, p.miou, p.source) for p in PUBLISHED],
    )


def environment_facts(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines of `environment.json` that a reader asks for; none where there is no such file."""
    if not record:
        return []
    git, machine, torch, data = (record.get(name) or {} for name in ("git", "machine", "torch", "data"))
    packages: Mapping[str, str] = record.get("packages", {})
    gpus: Sequence[str] = record.get("gpus", ())
    commit = f"{str(git['commit'])[:12]}{', changed since' if git.get('dirty') else ''}" if git.get("commit") else ""
    memory = f", {machine['memory_gb']} GiB" if machine.get("memory_gb") else ""
    facts = {
        "code": f"wsss {packages.get('wsss', '')}" + (f", commit {commit}" if commit else ""),
        "random seed": str(record.get("seed", "")),
        "data": f"{data.get('name', '')}, {data.get('images', '')} images, SHA-256 {str(data.get('sha256', ''))[:16]}…",
        "processor": f"{machine.get('cpu', '')}, {machine.get('cores', '')} cores{memory}",
        "GPU": "; ".join(gpus) or "none",
        "computed with": f"threads {torch.get('threads', '')}, precision {torch.get('precision', '')}",
        "system": f"{machine.get('system', '')}, Python {record.get('python', '')}",
        "packages": ", ".join(f"{name} {number}" for name, number in packages.items() if name != "wsss"),
    }
    return [(name, value) for name, value in facts.items() if value.strip(" ,")]


def _comparable(key: str, classes: Sequence[str], protocol: Mapping[str, object]) -> list[Published]:
    return [p for p in PUBLISHED if p.key == key and is_comparable(p, classes, protocol)]


def _step(published: Published) -> str:
    return STEPS.get(published.key, "trained on truth")


def _beside(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {value:.1f}"
