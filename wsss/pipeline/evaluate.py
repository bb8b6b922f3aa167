"""Score segmenters on any split, model files on any data set, and label maps of any origin."""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from wsss.data import VOID, check_masks, read_image, save_mask
from wsss.data.files import read_lines
from wsss.data.table import image_id_of
from wsss.errors import InputError
from wsss.masks import require_backend
from wsss.models import Segmenter, load_segmenter
from wsss.pipeline.config import Config, EvaluationConfig, InferenceConfig
from wsss.pipeline.config.scripts import FoldersConfig
from wsss.pipeline.manifest import read_manifest
from wsss.pipeline.options import check_evaluation
from wsss.pipeline.predictions import predict, with_inference
from wsss.pipeline.run import Run
from wsss.pipeline.scoring import Pair, inference_protocol, score_predictions
from wsss.pipeline.tables import Evaluation, write_evaluation, write_iou
from wsss.pipeline.training import autocast, device_of, prepare
from wsss.progress import follow

log = logging.getLogger(__name__)


def evaluate(run: Run) -> list[Evaluation]:
    """Predict the images of `data.val` as `inference` says, and score them.

    The network is that of `checkpoint`, or the run's segmenter and, where there are such, those of its rounds of
    self-training and its supervised twin. Label maps and scores go to a folder of `evaluation`, beside the run's model
    or, for a `checkpoint`, in the run's folder; the run's own figures stay as they are.

    Raises:
        InputError: if there is no trained segmenter, it does not fit the data, or there are no true masks.
    """
    if not run.has_val_truth:
        raise InputError(f"{run.data.root}: the {run.config.data.val} images have no masks to score against")
    prepare(run.config)
    models = list(_models(run))
    segmenters = [_load(run, model.path) for model in models]
    check_masks(run.data, run.val_ids, run.data.root / run.data.mask_folder)
    return [_evaluate_one(run, *pair) for pair in zip(models, segmenters, strict=True)]


def evaluate_folders(config: FoldersConfig) -> Evaluation:
    """Score a folder of label maps against a folder of true ones, see `FoldersConfig`.

    Raises:
        InputError: for faulty options or files.
    """
    check_evaluation(config)
    labels = _label_names(config)
    protocol = {
        "scored": "predictions",
        "data": config.masks,
        "split": "all" if config.split is None else Path(config.split).stem,
        "predictions": config.predictions,
        # The files do not tell.
        **dict.fromkeys(("checkpoint", "resize_long", "scales", "flip", "window", "overlap", "crf")),
    }
    pairs, folder = _pairs(config), Path(config.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"out={folder}: cannot be made ({error.strerror}); choose another folder") from error
    evaluation = score_predictions(pairs, labels, config, protocol, progress=True)
    write_evaluation(folder, evaluation)
    log.info("wrote %s", folder)
    return evaluation


class Model(NamedTuple):
    """A model file to score, where its scores go, and what their protocol says of it."""

    path: Path
    folder: Path
    protocol: Mapping[str, object]


def _models(run: Run) -> Iterator[Model]:
    name = "_".join([run.data.name, run.config.data.val, *_differences(run.config)])
    if run.config.checkpoint is not None:
        path = Path(run.config.checkpoint)
        parts = path.resolve().with_suffix("").parts[-3:]  # as demo_segmenter_model
        yield Model(path, run.folder / "evaluation" / "_".join(parts) / name, {"scored": "model file"})
        return
    others = sorted(path.parent.name for path in run.folder.glob("segmenter_*/model.pt"))
    for step in ("segmenter", *others):
        folder = run.folder / step
        protocol = {"scored": step.replace("_", " "), "trained_on": _trained_on(folder)}
        yield Model(folder / "model.pt", folder / "evaluation" / name, protocol)


def _trained_on(folder: Path) -> str | None:
    """What the protocol of a step's own figure says, if it was scored."""
    path = folder / "manifest.json"
    protocols = read_manifest(path)["protocols"].values() if path.exists() else ()
    return next((protocol["trained_on"] for protocol in protocols if "trained_on" in protocol), None)


def _differences(config: Config) -> list[str]:
    """What is not as by default: how photographs are looked at, how many are, how they are scored."""
    inference, scoring = config.inference, config.evaluation
    plain_inference, plain_scoring = InferenceConfig(), EvaluationConfig()
    scales = "-".join(f"{scale:g}" for scale in inference.scales)
    crf = hashlib.sha256(repr(inference.crf).encode()).hexdigest()[:4]
    parts = {
        f"scale{scales}": scales != "1",
        "flip": inference.flip,
        f"window{inference.window}": inference.window is not None,
        f"overlap{inference.overlap:.2g}": inference.overlap != plain_inference.overlap,
        f"crf-{crf}": inference.crf is not None,
        f"first{config.limit_images}": config.limit_images is not None,
        f"void-{scoring.void}": scoring.void != plain_scoring.void,
        f"absent-{scoring.absent}": scoring.absent != plain_scoring.absent,
        f"boundary{scoring.boundary:g}": scoring.boundary != plain_scoring.boundary,
    }
    return [part for part, differs in parts.items() if differs]


def _load(run: Run, path: Path) -> Segmenter:
    if run.config.inference.crf is not None:
        require_backend(run.config.inference.crf)
    segmenter = load_segmenter(path, device=str(device_of(run.config)))
    if segmenter.classes != list(run.data.classes):
        raise InputError(
            f"{path}: its classes are {_some(segmenter.classes)}, those of {run.data.name} {_some(run.data.classes)}; "
            "choose a data set with its classes by data=… or data.root=…"
        )
    return with_inference(segmenter, run.config.inference)


def _evaluate_one(run: Run, model: Model, segmenter: Segmenter) -> Evaluation:
    shutil.rmtree(model.folder, ignore_errors=True)  # of the same name, perhaps of another network
    shown = run.config.trainer.progress
    pairs = [Pair(model.folder / "predictions" / f"{i}.png", run.data.mask_path(i)) for i in run.val_ids]
    images = zip(run.val_ids, pairs, strict=True)
    for image_id, pair in follow(images, "predicting", total=len(pairs), shown=shown):
        image = read_image(run.data.image_path(image_id))
        with autocast(run.config):
            save_mask(pair.prediction, predict(segmenter, image, run.config.inference))
    how = inference_protocol(segmenter.inference, run.config.inference.crf)
    protocol = run.stamp(split=run.config.data.val, checkpoint=str(model.path), **how, **model.protocol)
    evaluation = score_predictions(pairs, run.labels, run.config.evaluation, protocol, progress=shown)
    write_evaluation(model.folder, evaluation)
    write_iou(model.folder / "iou.csv", run, evaluation.scores.iou, evaluation.protocol)
    log.info("wrote %s", model.folder)
    return evaluation


def _label_names(config: FoldersConfig) -> list[str] | None:
    given = config.classes
    if given is None and config.absent == "zero":
        raise InputError("absent=zero: which labels are absent takes their list; pass classes=…, or absent=skip")
    if given is None:
        return None
    if isinstance(given, list):
        names = [str(name) for name in given]
    elif Path(str(given)).is_file():
        names = read_lines(Path(str(given)))
    else:
        raise InputError(f'classes={given}: no such file; name a file with one class a line, or pass "classes=[a,b,c]"')
    if names[:1] == [config.background]:  # as some lists have it
        names = names[1:]
    if any("\t" in name for name in names):
        raise InputError(f"classes={given}: expected one class name a line, found tabs; keep the names alone")
    if config.background in names:
        raise InputError(f"classes={given}: {config.background} is label 0; put it first, or leave it out")
    if not 0 < len(names) < VOID or len(set(names)) < len(names):
        raise InputError(f"classes={given}: expected 1 to {VOID - 1} different names, got {len(names)}")
    return [config.background, *names]


def _pairs(config: FoldersConfig) -> list[Pair]:
    predictions, masks = Path(config.predictions), Path(config.masks)
    for option, folder in (("predictions", predictions), ("masks", masks)):
        if not folder.is_dir():
            raise InputError(f"{option}={folder}: no such folder; name one with label maps <id>.png")
    source = config.masks if config.split is None else config.split
    if config.split is None:
        ids = _label_maps(masks)
    else:
        ids = [image_id_of(line, source) for line in read_lines(Path(source))]
    if not ids or len(set(ids)) < len(ids):
        twice = next((i for i, times in Counter(ids).items() if times > 1), None)
        fault = f"{twice} is listed twice; take one out" if twice else "no label map in it; expected <id>.png"
        raise InputError(f"{source}: {fault}")
    pairs = [Pair(predictions / f"{i}.png", masks / f"{i}.png") for i in ids]
    for kind, paths in (("mask", [p.mask for p in pairs]), ("prediction", [p.prediction for p in pairs])):
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise InputError(
                f"{missing[0]}: no such {kind}, and {len(missing)} of {len(pairs)} are missing; "
                "add them, or list the ids to score, one a line, in a file and pass split=<file>"
            )
    more = len({*_label_maps(predictions)} - {*ids})
    if more:
        log.warning("%s: %d label maps more than %s has; they are not scored", predictions, more, source)
    return pairs


def _label_maps(folder: Path) -> list[str]:
    """Ids of a folder's label maps and of those below it."""
    paths = (path.relative_to(folder) for path in sorted(folder.rglob("*.png")))
    return [path.with_suffix("").as_posix() for path in paths if not path.name.startswith(".")]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
