"""What a run leaves in its folder, edited by hand or by someone else."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from tests.faults.hostile.base import HOSTILE_VALUES, Kind, damaged, mutated
from tests.faults.hostile.models import right as right_model
from tests.pipeline.conftest import compose_config
from wsss.data import DataDescription, describe
from wsss.data.palette import encode_mask
from wsss.pipeline.config.scripts import FoldersConfig, PredictConfig
from wsss.pipeline.environment import is_made_alike
from wsss.pipeline.evaluate import evaluate_folders
from wsss.pipeline.predict import predict_images
from wsss.pipeline.run import Run, kept_config, read_manifest
from wsss.pipeline.sweep_summary import read_sweep
from wsss.report import write_report
from wsss.seeds import save_seeds

CLASSES = ("cat", "dog", "traffic light")
STEP = {"state": "done", "seconds": 1.5, "versions": {"wsss": "0", "torch": "0", "python": "0"}, "code": None}
SEEDS_PROTOCOL = {"data": "x", "threshold": 0.4}
MANIFESTS: dict[str, dict[str, Any]] = {
    "seeds": {
        **{**STEP, "step": "seeds", "fingerprint": "aa", "settings": {"seed": 0}, "inputs": {}},
        **{"figures": {"seeds/miou": 41.5}, "protocols": {"seeds/miou": SEEDS_PROTOCOL}},
    },
    "masks": {
        **{**STEP, "step": "masks", "fingerprint": "bb", "settings": {"seed": 0}, "inputs": {"seeds": "aa"}},
        **{"figures": {"masks/miou": 51.5}, "protocols": {"masks/miou": {"data": "x"}}},
    },
}
RESULTS = {
    "seeds/miou": 41.5,
    "seeds/oracle_miou": 43.0,
    "masks/miou": 51.5,
    "masks/coverage": 0.9,
    "time/seeds_s": 12.0,
}
PROTOCOLS = {"seeds/miou": {"data": "x", "split": "train", "threshold": 0.4, "scales": [1.0], "crf": "none"}}
ENVIRONMENT = {
    "torch": {"precision": "32-true"},
    "variables": {"WORLD_SIZE": "1"},
    "data": {"sha256": "a", "images": 3},
}
CURVE = "kind,threshold,miou\nseed,0.1,20\nseed,0.2,30\ncam,0.1,10\n"
IOU = "label,iou\nbackground,80.1\ncat,20.5\ndog,\n"
LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
VALUES = [
    "!!python/object/apply:os.system [touch /tmp/wsss-hostile-code-ran]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!binary aGk=",
    "!!set {a, b}",
    "!!timestamp 2020-01-01",
    "${oc.env:HOME}",
    "${run}",
    "${data.root}",
    "${outputs}/x",
    "${script_doc:}",
    "${oc.decode:'[1]'}",
    "&a [*a]",
    "[" * 5000,
    "{a: " * 500,
    "~",
    ".nan",
    "-.inf",
    "1e999",
    "0x10",
    "yes",
    "'\\0'",
    '"\\x00"',
    '"\\ud800"',
    "2020-01-01",
    "1" * 5000,
    "|",
    ">",
    "? x",
    "- x",
    "@",
    "%",
    "`",
]


def right(folder: Path) -> Path:
    """A run with two finished steps, and its data set."""
    root, run = folder / "data", folder / "outputs" / "r"
    for image_id in ("one", "two", "three"):
        _save(root / "images" / f"{image_id}.png", Image.new("RGB", (8, 6), "red"))
        (root / "masks").mkdir(exist_ok=True)
        (root / "masks" / f"{image_id}.png").write_bytes(encode_mask(np.ones((6, 8), np.uint8)))
    (root / "labels.csv").write_text("image,labels\none,cat\ntwo,dog\nthree,cat\n")
    for step, manifest in MANIFESTS.items():
        _text(run / step / "manifest.json", json.dumps(manifest))
    _text(run / "config.yaml", _options().replace("ROOT", str(root)).replace("OUTPUTS", str(folder / "outputs")))
    for name, content in (("results", RESULTS), ("protocols", PROTOCOLS), ("environment", ENVIRONMENT)):
        _text(run / f"{name}.json", json.dumps(content))
    _text(run / "seeds" / "curve.csv", CURVE)
    _text(run / "seeds" / "iou.csv", IOU)
    save_seeds(run / "seeds" / "one.npz", np.full((1, 3, 4), 0.5, np.float32), [0], (6, 8))
    return run


@cache
def _options() -> str:
    """As a run keeps them."""
    config = compose_config("experiment=smoke", "run=r", "outputs=OUTPUTS", "data.root=ROOT", "trainer.accelerator=cpu")
    return OmegaConf.to_yaml(OmegaConf.structured(config))


def _text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def _save(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _json(rng: Random, tree: Any) -> bytes:
    """A tree with odd values, a damaged one, or one that is nested deep."""
    form = rng.random()
    if form < 0.75:
        return json.dumps(mutated(rng, tree)).encode()
    if form < 0.9:
        return damaged(rng, json.dumps(tree).encode())
    return rng.choice(
        [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b"null", b"[]", b"3", b'"x"', b"", b"\xff\xfe{", b"NaN"]
    )


def _manifest(rng: Random, folder: Path) -> Path:
    path = right(folder) / rng.choice([*MANIFESTS]) / "manifest.json"
    path.write_bytes(_json(rng, MANIFESTS[path.parent.name]))
    return path


def read_run(path: Path) -> None:
    """As each step and the summary of a sweep do with what is there; only figures that are numbers are told."""
    folder = next(p for p in path.parents if p.parent.name == "outputs")
    run = Run(kept_config(folder))
    for manifest in sorted(folder.glob("*/manifest.json")):
        found = read_manifest(manifest)
        assert isinstance(found["fingerprint"], str) and isinstance(found["figures"], dict)
    step = run.step("segmenter", {"segmenter": {}}, inputs=["seeds", "masks"])
    assert not step.is_finished
    results = run.write_results()
    assert all(isinstance(value, int | float) for value in results.values()), results


def _kept(rng: Random, folder: Path) -> Path:
    """Results, protocols, environment and tables."""
    run = right(folder)
    trees: dict[str, Any] = {"results.json": RESULTS, "protocols.json": PROTOCOLS, "environment.json": ENVIRONMENT}
    name = rng.choice([*trees, "seeds/curve.csv", "seeds/iou.csv"])
    path = run / name
    if name in trees:
        path.write_bytes(_json(rng, trees[name]))
    else:
        rows = [line.split(",") for line in path.read_text().splitlines()]
        words = [v for v in HOSTILE_VALUES if isinstance(v, str) and "\ud800" not in v] + [
            "nan",
            "inf",
            "1e999",
            "-5",
            "x",
        ]
        for _ in range(rng.randint(1, 3)):
            row = rng.choice(rows)
            row[rng.randrange(len(row))] = rng.choice(words)
        text = "\n".join(",".join(row) for row in rows).encode()
        path.write_bytes(damaged(rng, text) if rng.random() < 0.3 else text)
    return path


def report_of(folder: Path, data: DataDescription, train_ids: list[str], val_ids: list[str]) -> Path:
    """The page of a run."""
    return write_report(folder, description=data, train_ids=train_ids, val_ids=val_ids)


def report_run(path: Path) -> None:
    """The page of the run is written whatever these files hold, and nothing of theirs is markup."""
    folder = next(p for p in path.parents if p.parent.name == "outputs")
    data = describe(folder.parents[1] / "data")
    page = report_of(folder, data, ["one", "two"], ["three"])
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text and text.count("<script>") == 1
    assert is_made_alike(folder, kept_config(folder).trainer) in (True, False)
    runs = [run for setting in read_sweep([folder]).comparison.settings for run in setting.runs]
    assert all(math.isfinite(value) for run in runs for value in run.figures.values())


def _config(rng: Random, folder: Path) -> Path:
    path = right(folder) / "config.yaml"
    text = path.read_text()
    form = rng.choice(["value", "value", "value", "laughs", "group", "damaged", "unknown", "huge"])
    if form == "value":
        lines = text.splitlines()
        at = rng.randrange(len(lines))
        key, _, _ = lines[at].removesuffix(":").partition(": ")
        lines[at] = f"{key}: {rng.choice(VALUES)}"
        text = "\n".join(lines)
    elif form == "laughs":
        text = rng.choice([text + LAUGHS, LAUGHS + text.replace("classes: null", "classes: *a11")])
    elif form == "group":
        text = rng.choice(
            [
                "",
                "[]",
                "3",
                "null",
                "---\n---\n",
                text + text,
                "data: 7\n",
                "data: [1]\n",
                text + "masks: null\n",
                text + "segmenter: x\n",
            ]
        )
    elif form == "unknown":
        text += rng.choice(["nope: 1\n", "_target_: os.system\n", "hydra: {run: {dir: /}}\n", "defaults: [evil]\n"])
    elif form == "huge":
        text += "x: [" + "1, " * 300_000 + "1]\n"
    content = text.encode("utf-8", "surrogatepass")
    path.write_bytes(damaged(rng, content) if form == "damaged" else content)
    return path


def read_config(path: Path) -> None:
    """The options of a run, which are plain values."""
    config = kept_config(path.parent)
    assert isinstance(config.seed, int) and config.run == "r" and isinstance(config.data.root, str)
    assert config.data.classes is None or all(isinstance(name, str) for name in config.data.classes)


def right_label_maps(folder: Path) -> Path:
    """Predictions and masks of two images."""
    for name in ("predictions", "masks"):
        for image_id in ("one", "sea/two"):
            path = folder / name / f"{image_id}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_mask(np.random.default_rng(0).integers(0, 3, (6, 8)).astype(np.uint8)))
    return folder / "masks" / "one.png"


def _predictions(rng: Random, folder: Path) -> Path:
    """Label maps to score, one of which is at fault, or a list that leads elsewhere."""
    right_label_maps(folder)
    (folder / "outside.png").write_bytes(encode_mask(np.ones((6, 8), np.uint8)))
    if rng.random() < 0.4:
        words = ["one", "sea/two", *_outside(folder), "", "one.png", "a\0b", "sea", ".", "x" * 300, "one\x1b"]
        return _text(folder / "split.txt", "\n".join(rng.choices(words, k=rng.randint(1, 3))))
    path = folder / rng.choice(["predictions", "masks"]) / "one.png"
    if rng.random() < 0.5:
        path.write_bytes(damaged(rng, path.read_bytes()))
    elif rng.random() < 0.5:
        path.unlink()
        path.mkdir() if rng.random() < 0.5 else path.symlink_to(
            rng.choice(["/dev/zero", "one.png", "/nowhere", "/etc/passwd"])
        )
    else:
        Image.new(rng.choice(["L", "RGB", "I;16", "1"]), rng.choice([(8, 6), (1, 1), (6, 8)]), rng.choice([0, 1])).save(
            path
        )
    return path


def score_predictions(path: Path) -> None:
    """As evaluate.py does."""
    folder = next(p for p in path.parents if (p / "masks").is_dir())
    split = folder / "split.txt"
    config = FoldersConfig(
        predictions=str(folder / "predictions"),
        masks=str(folder / "masks"),
        classes=["cat", "dog"],
        out=str(folder / "out"),
        jobs=1,
        split=str(split) if split.exists() else None,
    )
    found = evaluate_folders(config)
    assert found.confusion.sum() in (48, 96)
    assert not split.exists() or not {*_outside(folder)} & {*split.read_text().split("\n")}


def _outside(folder: Path) -> list[str]:
    return ["../outside", "../masks/one", str(folder / "outside")]


def right_listing(folder: Path) -> Path:
    """predictions.json of an earlier call."""
    _save(folder / "photos" / "one.png", Image.new("RGB", (8, 6)))
    _save(folder / "photos" / "two.png", Image.new("RGB", (8, 6)))
    predict_images(_predicting(folder, "photos"))
    return folder / "out" / "predictions.json"


def _predicting(folder: Path, images: str) -> PredictConfig:
    model = folder / "segmenter.pt"
    model = model if model.exists() else right_model(folder, "segmenter")
    return PredictConfig(str(folder / images), str(model), str(folder / "out"), overlays=False)


def _listing(rng: Random, folder: Path) -> Path:
    """Names of labels and photographs outside of both folders."""
    path = right_listing(folder)
    (folder / "secret.png").write_bytes(encode_mask(np.full((6, 8), 200, np.uint8)))
    listing = json.loads(path.read_text())
    if rng.random() < 0.5:
        for entry in listing["photographs"]:
            elsewhere = ["labels/../../secret.png", "../secret.png", str(folder / "secret.png")]
            others = ["labels/a\0b.png", "labels/\ud800.png", None, 3, []]
            entry[rng.choice(["image", "labels"])] = rng.choice([*elsewhere, *others])
        path.write_text(json.dumps(listing))
    else:
        path.write_bytes(_json(rng, listing))
    return path


def predict_again(path: Path) -> None:
    """As predict.py does in a folder that it has written before."""
    found = predict_images(_predicting(path.parents[1], "photos/two.png"))
    assert [photo.name for photo in found.photographs] == ["two"]
    areas = (path.parent / "areas.csv").read_text()
    assert "secret" not in areas and ",200," not in areas, areas
    assert "secret" not in path.read_text()


KINDS = [
    Kind("manifest, edited", _manifest, read_run, 3, True),
    Kind("results and tables of a run, edited", _kept, report_run, 1, True),
    Kind("config.yaml of a run", _config, read_config, 3),
    Kind("label maps to score", _predictions, score_predictions, 2, True),
    Kind("predictions.json, edited", _listing, predict_again, 1, True),
]
