"""A run's figures as a table, each with the protocol it was measured under."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from wsss.progress import format_time

Protocol = Mapping[str, object]

STEPS = (  # in the order in which they run; of two that a name begins with the longer is meant
    *("classifier", "recam", "control", "seeds", "val_maps", "maps", "relations", "refined", "masks", "segmenter"),
    *("relabel", "segmenter_round", "segmenter_supervised", "report"),
)
KIND_NAMES = {
    "seed": "default seed",
    "mask": "pseudo-mask",
    "cam": "CAM",
    "control": "control, BCE alone",
    "recam": "ReCAM W1∘ReLU(W2)",
    "recam_w1w2": "ReCAM W1∘W2",
    "recam_fc1": "ReCAM W1",
    "recam_fc2": "ReCAM W2",
    "layer_cam": "LayerCAM",
    "grad_cam": "Grad-CAM",
    "grad_cam_pp": "Grad-CAM++",
    "x_grad_cam": "XGrad-CAM",
    "hires_cam": "HiResCAM",
    "element_wise_cam": "element-wise CAM",
    "norm_grad": "NormGrad",
    "score_cam": "Score-CAM",
    "c_mwp": "c-MWP",
}
FIXED_NAMES = {
    "classifier/val_map": ("classifier", "val mAP"),
    "recam/val_map": ("classifier", "ReCAM head, val mAP"),
    "control/val_map": ("classifier", "control, val mAP"),
    "seeds/miou": ("seeds", "default seed"),
    "seeds/oracle_miou": ("seeds", "default seed, oracle"),
    "seeds/seconds_per_image": ("seeds", "seconds an image, all maps"),
    "refined/miou": ("seeds", "refined seed"),
    "refined/oracle_miou": ("seeds", "refined seed, oracle"),
    "masks/miou": ("pseudo-masks", "pseudo-masks"),
    "masks/oracle_miou": ("pseudo-masks", "pseudo-masks, oracle"),
    "masks/oracle_gap": ("pseudo-masks", "lost to the oracle"),
    "masks/coverage": ("pseudo-masks", "coverage"),
    "masks/threshold": ("pseudo-masks", "background threshold"),
    "segmenter/val_miou": ("segmenter", "segmenter, val"),
    "segmenter/supervised_val_miou": ("segmenter", "twin trained on truth, val"),
}
ROUND_NAMES = {
    ("relabel", "miou"): ("pseudo-masks", "of self-training"),
    ("relabel", "change"): ("pseudo-masks", "changed by self-training"),
    ("segmenter", "val_miou"): ("segmenter", "after self-training, val"),
}
GROUPS = ("classifier", "seeds", "pseudo-masks", "segmenter", "time", "other")
SEPARATOR = " · "
COLUMNS = 100  # width of the terminal the table is laid out for
MAIN_KEYS = ("seeds/miou", "masks/miou", "segmenter/val_miou")


class ResultRow(NamedTuple):
    """A figure, its value and protocol as text; `is_main` marks the figures a run is judged by."""

    figure: str
    value: str
    protocol: str
    is_main: bool = False


class ResultGroup(NamedTuple):
    """Rows of one step; `common` is what all their protocols share."""

    title: str
    common: str
    rows: list[ResultRow]


def stamp(protocol: Protocol) -> str:
    """One line that says how a figure was measured.

    For example `mini_voc train · 600 images · threshold 0.42 (mean Otsu, no truth) · scales 0.5,1,1.5 + flip · no CRF`.
    Keys it does not know follow as `key value`.
    """
    return SEPARATOR.join(_fragments(protocol))


def results_table(results: Mapping[str, float], protocols: Mapping[str, Protocol]) -> Table:
    """Table of a run's figures for the terminal, grouped by step.

    Args:
        results: the run's `results.json`: mIoU and mAP in percent, coverage in [0, 1], times in seconds.
        protocols: key of `results` to its protocol; may lack keys.
    """
    groups = result_groups(results, protocols)
    rows = [row for group in groups for row in group.rows]
    used = max([len(r.figure) for r in rows], default=0) + max([len(r.value) for r in rows], default=0) + 6
    room = max(COLUMNS - used, 20)
    table = plain_table()
    table.caption_justify = "left"
    table.caption = void_note(protocols) or None
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("protocol", overflow="fold")
    for group in groups:
        table.add_row()
        table.add_row(Text(group.title, style="bold cyan"), "", Text(_wrap(group.common, room), style="dim"))
        for row in group.rows:
            style = "bold" if row.is_main else ""
            table.add_row(
                Text(f"  {row.figure}", style=style),
                Text(row.value, style=style),
                Text(_wrap(row.protocol, room), style="dim"),
            )
    return table


def void_note(protocols: Mapping[str, Protocol]) -> str:
    """One line on how all mIoU figures deal with void; empty where there is none."""
    policies = sorted({str(protocol["void"]) for protocol in protocols.values() if "void" in protocol})
    return f"mIoU: void {', or '.join(policies)}" if policies else ""


def result_groups(results: Mapping[str, float], protocols: Mapping[str, Protocol]) -> list[ResultGroup]:
    """Figures in the order a reader wants them, protocols shortened by what a group shares."""
    rows: dict[str, list[tuple[str, str, Protocol, bool]]] = {title: [] for title in GROUPS}
    for key in sorted(results, key=_rank):
        if math.isfinite(results[key]):
            group, figure = name_figure(key)
            rows[group].append((figure, format_value(key, results[key]), protocols.get(key, {}), key in MAIN_KEYS))
    share = twin_share(results)
    if share is not None:
        rows["segmenter"].append(("share of the twin", f"{share:.1f} %", {}, False))
    if len(rows["time"]) > 1:
        total = sum(value for key, value in results.items() if key.startswith("time/") and math.isfinite(value))
        rows["time"].append(("total", format_time(total), {}, False))
    return [_shorten(title, found) for title, found in rows.items() if found]


def twin_share(results: Mapping[str, float]) -> float | None:
    """Percent that the segmenter reaches of its twin trained on the truth, if both were scored."""
    own, twin = results.get("segmenter/val_miou"), results.get("segmenter/supervised_val_miou")
    return 100 * own / twin if own is not None and twin else None


def name_figure(key: str) -> tuple[str, str]:
    """Group and readable name of a key of `results.json`."""
    if key in FIXED_NAMES:
        return FIXED_NAMES[key]
    parts = key.split("/")
    if len(parts) == 3 and parts[0] == "seeds" and parts[2] == "miou":
        return "seeds", f"{kind_name(parts[1])}, oracle"
    if round_ := re.fullmatch(r"(segmenter|relabel)/round(\d+)_(\w+)", key):
        group, what = ROUND_NAMES[round_[1], round_[3]]
        return group, f"{what}, round {round_[2]}"
    if parts[0].startswith("segmenter") and key.endswith("_miou"):
        who = "segmenter" if parts[0] == "segmenter" else "twin trained on truth"
        return "segmenter", f"{who}, {parts[1].removesuffix('_miou')}"
    if parts[0] == "time" and key.endswith("_s"):
        return "time", key.removeprefix("time/").removesuffix("_s").replace("_", " ")
    return "other", key


def title_of(key: str) -> str:
    """A figure's group and name in one."""
    return ", ".join(dict.fromkeys(name_figure(key)))


def kind_name(kind: str) -> str:
    """How a kind of map is written in its paper; `layer_cam_stage3` is LayerCAM, stage 3."""
    name, _, stage = kind.partition("_stage")
    return f"{KIND_NAMES.get(name, name)}, stage {stage}" if stage else KIND_NAMES.get(kind, kind)


def format_value(key: str, value: float) -> str:
    """Write mIoU and mAP as they stand, a share as percent, seconds as time, anything else short."""
    if key.startswith("time/"):
        return format_time(value)
    if key.endswith(("miou", "_map", "_gap")):
        return f"{value:.1f}"
    if key.endswith("seconds_per_image"):
        return f"{value:.3f}"
    if key.endswith(("coverage", "_change")):
        return f"{100 * value:.1f} %"
    return f"{value:.4g}"


def plain_table() -> Table:
    """Columns without lines, for the terminal."""
    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")


def with_sign(value: float, size: str) -> str:
    """A difference whose size is written already; what is rounded to nothing is not negative."""
    return ("−" if value < 0 and any(digit in size for digit in "123456789") else "+") + size


def _rank(key: str) -> tuple[int, str]:
    """Order within groups: the named figures first as listed, kinds and the rest by name; times as they were run."""
    named = list(FIXED_NAMES)
    if key in named:
        return named.index(key), ""
    step = key.removeprefix("time/").removesuffix("_s")
    begun = [name for name in STEPS if key.startswith("time/") and step.startswith(name)]
    position = STEPS.index(max(begun, key=len)) if begun else len(STEPS)
    return len(named) + position, key


def _shorten(title: str, rows: Sequence[tuple[str, str, Protocol, bool]]) -> ResultGroup:
    """Lift the fragments that every stamp of a group has into its heading."""
    fragments = [_fragments(protocol) for _, _, protocol, _ in rows]
    stamped = [parts for parts in fragments if parts]
    common = [part for part in stamped[0] if all(part in parts for parts in stamped)] if len(stamped) > 1 else []
    short = [SEPARATOR.join(part for part in parts if part not in common) for parts in fragments]
    found = [ResultRow(name, value, text, main) for (name, value, _, main), text in zip(rows, short, strict=True)]
    return ResultGroup(title, SEPARATOR.join(common), found)


def _fragments(protocol: Protocol) -> list[str]:
    rest = {key: value for key, value in protocol.items() if value is not None and value != ""}
    for said_once in ("scored", "void"):  # by the group's title, by `void_note`
        rest.pop(said_once, None)
    parts = []
    if data := " ".join(_text(rest.pop(key)) for key in ("data", "split") if key in rest):
        parts.append(data)
    if "images" in rest:
        parts.append(f"{_text(rest.pop('images'))} images")
    parts += [part for part in (_threshold(rest), _scales(rest), _crf(rest)) if part]
    return parts + [_other(key, value) for key, value in rest.items()]


def _wrap(text: str, width: int) -> str:
    """Break a stamp between its fragments, where a plain wrap would tear them."""
    lines: list[str] = []
    for part in text.split(SEPARATOR):
        if lines and len(lines[-1]) + len(SEPARATOR) + len(part) <= width:
            lines[-1] += SEPARATOR + part
        else:
            lines.append(part)
    return "\n".join(lines)


def _threshold(rest: dict[str, object]) -> str:
    source = _text(rest.pop("threshold_from", ""))
    if "threshold" not in rest:
        return f"threshold: {source}" if source else ""
    value = rest.pop("threshold")
    is_short = isinstance(value, float) and abs(value - round(value, 2)) < 1e-9
    text = f"threshold {value:.2f}" if is_short else f"threshold {_text(value)}"
    source = source.replace(" (", ", ").replace("(", "").replace(")", "")  # it stands in brackets itself
    return f"{text} ({source})" if source else text


def _scales(rest: dict[str, object]) -> str:
    scales, flip = rest.pop("scales", None), rest.pop("flip", None)
    if scales is None:
        return "flip" if flip else ""
    single = isinstance(scales, int | float) or (isinstance(scales, list | tuple) and len(scales) == 1)
    return f"scale{'' if single else 's'} {_text(scales)}{' + flip' if flip else ''}"


def _crf(rest: dict[str, object]) -> str:
    if "crf" not in rest:
        return ""
    crf = rest.pop("crf")
    if crf == "none":
        return "no CRF"
    return _text(crf) if _text(crf).startswith("CRF") else f"CRF {_text(crf)}"


def _other(key: str, value: object) -> str:
    name = key.replace("_", " ")
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name} {_text(value)}"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ",".join(_text(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    return str(value)
