"""What a run will take, step by step: time, memory and disk, from a short trial of its steps on this machine."""

import logging
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from joblib import cpu_count

from wsss.defaults import STEPS
from wsss.errors import InputError
from wsss.pipeline.config import Config, DataConfig
from wsss.pipeline.cost_model import (
    NONE,
    SAMPLE,
    Facts,
    Part,
    Row,
    TrainingCost,
    WorkCost,
    seconds_on,
    training_parts,
    work_parts,
)
from wsss.pipeline.drawing import original_sizes, seed_bytes, seed_ids
from wsss.pipeline.export_maps import export_maps, maps_step
from wsss.pipeline.make_masks import make_masks, masks_step
from wsss.pipeline.make_seeds import make_seeds, seeds_step
from wsss.pipeline.manifest import read_manifest
from wsss.pipeline.options import check_options
from wsss.pipeline.plan_facts import described, facts_of
from wsss.pipeline.refine_seeds import (
    LEARNT,
    refine_seeds,
    refined_step,
    relations_step,
    require_crf,
    train_relations,
)
from wsss.pipeline.report import make_report
from wsss.pipeline.run import Run
from wsss.pipeline.self_training import next_lesson, relabel, relabel_step
from wsss.pipeline.stand_in import write_stand_in
from wsss.pipeline.step import Step
from wsss.pipeline.train_classifier import classifier_step, recam_step, train_classifier, train_recam
from wsss.pipeline.train_segmenter import mask_lesson, segmenter_step, train_segmenter, true_lesson
from wsss.pipeline.training import device_of
from wsss.pipeline.trial import Trial, sample_ids, spread

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What a run takes.

    Attributes:
        config: its options, and the hardware.
        facts: of its data set.
        rows: its steps.
        cores: of this machine.
        device: of this machine, that networks were measured on.
        measured_s: how long the measurement took.
        notes: what was measured otherwise than it will be.
    """

    config: Config
    facts: Facts
    rows: list[Row]
    cores: int
    device: str
    measured_s: float
    notes: list[str]

    def seconds(self, row: Row) -> float:
        """Of a step, on the hardware planned for."""
        return 0.0 if row.finished else seconds_on(self.config.hardware, row.parts, cores=self.cores)

    def disk(self, row: Row) -> float:
        """Bytes that a step will still write."""
        return 0.0 if row.finished else row.disk


def make_plan(config: Config) -> Plan:
    """Measure the steps of a run on this machine, and say what all of it will take.

    Raises:
        InputError: if an option is at fault, or the data set is neither there nor described.
    """
    check_options(config)
    start = time.monotonic()
    if STEPS.index(config.until) >= STEPS.index("masks"):
        require_crf(config.masks)
    run = Run(config) if Path(config.data.root).exists() else None
    facts = described(config) if run is None else facts_of(run)
    options = config.plan
    others = (
        options.compare,
        options.images,
        options.val_images,
        options.scored,
    )  # another run than that which is there
    finished = set() if run is None or any(o is not None for o in others) else finished_steps(run)
    outputs = Path(config.outputs)
    outputs.mkdir(parents=True, exist_ok=True)
    # Below a folder of its own, or other runs would look into it for steps to share.
    with tempfile.TemporaryDirectory(dir=outputs, prefix=".plan-") as folder:
        trial = _start_trial(run, config, facts, Path(folder) / "outputs")
        rows = _Planner(config, facts, trial, finished, None if run is None else _seed_bytes(run)).rows()
    device = device_of(config)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the CPU"
    return Plan(config, facts, rows, cpu_count(), name, time.monotonic() - start, trial.notes)


def finished_steps(run: Run) -> set[str]:
    """Steps that the run has finished with these very options, and that build on such."""
    found: set[str] = set()

    def look(make_step: Callable[[], Step]) -> Step | None:
        with suppress(InputError):  # what it builds on is not there
            step = make_step()
            if step.is_finished and {*step.inputs} <= found:
                found.add(step.name)
            return step
        return None

    for make_step in (
        lambda: classifier_step(run),
        lambda: recam_step(run),
        lambda: recam_step(run, control=True),
        *([lambda: maps_step(run)] if run.config.cam.drawn_stages is not None else []),
        lambda: seeds_step(run),
        *([lambda: relations_step(run)] if run.config.masks.refine in LEARNT else []),
        *([lambda: refined_step(run)] if run.config.masks.refine != "none" else []),
        lambda: masks_step(run),
        lambda: segmenter_step(run, mask_lesson(run)),
        lambda: segmenter_step(run, true_lesson(run)),
    ):
        look(make_step)
    if "segmenter" in found:
        lesson = mask_lesson(run)
        for number in range(1, run.config.segmenter.self_training.rounds + 1):
            step = look(partial(relabel_step, run, lesson, number))
            if step is None:
                break
            lesson = next_lesson(step, lesson, number)
            look(partial(segmenter_step, run, lesson))
    return found


def _start_trial(run: Run | None, config: Config, facts: Facts, outputs: Path) -> Trial:
    """On images of the data set, or on made-up ones."""
    if run is not None:
        scored = run.score_ids if facts.scored else []
        train_ids, scored = sample_ids(run.train_ids, scored, SAMPLE)
        val_ids = spread(run.val_ids, SAMPLE)
        return Trial(config, config.data, outputs, train_ids=train_ids, scored=scored, val_ids=val_ids)
    train, val = min(SAMPLE, facts.images), min(SAMPLE, facts.val_images)
    data = write_stand_in(
        outputs.parent / "data",
        train=train,
        val=val,
        size=facts.size,
        num_classes=facts.num_classes,
        classes_per_image=facts.classes_per_image,
    )
    ids = [f"{index:04d}" for index in range(train + val)]
    scored = spread(ids[:train], min(max(round(train * facts.scored / facts.images), 1), facts.scored))
    options = DataConfig(root=str(data.root), name=config.data.name, labels="table")
    return Trial(config, options, outputs, train_ids=ids[:train], scored=scored, val_ids=ids[train:])


def _seed_bytes(run: Run) -> float:
    """What an image's seeds take on average, uncompressed."""
    sizes = original_sizes(run, seed_ids(run))
    return seed_bytes(run, sizes) / len(sizes)


class _Planner:
    """Measures the steps in order, and writes their rows.

    Args:
        config: of the run.
        facts: of its data.
        trial: what is measured.
        finished: steps that need not be.
        seed_bytes: what an image's seeds take in the whole data set, uncompressed; None: what they do in the trial.
    """

    def __init__(
        self, config: Config, facts: Facts, trial: Trial, finished: set[str], seed_bytes: float | None
    ) -> None:
        self.config, self.facts, self.trial, self.finished = config, facts, trial, finished
        self.seed_bytes = seed_bytes
        self.steps: list[Row] = []

    def rows(self) -> list[Row]:
        """All steps up to `until`."""
        wanted = STEPS[: STEPS.index(self.config.until) + 1]
        self._classifiers(with_recam="recam" in wanted and self.config.recam.enabled)
        for end, measure in (
            ("seeds", self._seeds),
            ("masks", self._masks),
            ("segmenter", self._segmenters),
            ("report", self._report),
        ):
            if end in wanted:
                measure()
        return self.steps

    def _classifiers(self, *, with_recam: bool) -> None:
        images, options = self.facts.images, self.config.classifier
        looked_at = images + self.facts.val_images
        check = [Part("images", looked_at, self.trial.check_data(), "cores")]
        done = "classifier" in self.finished
        self.steps.append(Row("data check", f"{looked_at}", check, NONE, 0.0, "images", done))
        cost = self.trial.training("classifier", train_classifier, "classifier", images=images, is_finished=done)
        self._add_training("classifier", cost, epochs=options.epochs, batch_size=options.batch_size)
        self.trial.make_networks_see("classifier")
        if with_recam:
            recam = self.config.recam
            done = {"recam", "control"} <= self.finished if recam.control else "recam" in self.finished
            cost = self.trial.training("recam", train_recam, "recam", images=images, is_finished=done)
            for name in ("recam", "control") if recam.control else ("recam",):
                self._add_training(name, cost, epochs=recam.epochs, batch_size=recam.batch_size)
            if recam.control:  # seeds are drawn of it, too
                self.trial.once("control", lambda run: train_recam(run, control=True))
                self.trial.make_networks_see("control")
            self.trial.make_networks_see("recam")

    def _seeds(self) -> None:
        figure = "seeds/seconds_per_image"
        if self.config.cam.drawn_stages is not None:
            self._add_work("maps", export_maps, "drawing", figure=figure)
            self._add_work("seeds", make_seeds, "core")
        else:
            self._add_work("seeds", make_seeds, "drawing", figure=figure)

    def _masks(self) -> None:
        options = self.config.masks
        if options.refine in LEARNT:
            relations = options.relations
            cost = self.trial.training(
                "relations",
                train_relations,
                "masks.relations",
                images=self.facts.images,
                is_finished="relations" in self.finished,
            )
            self._add_training(
                "relations", cost, epochs=relations.epochs, batch_size=relations.batch_size, val_images=0
            )
        if options.refine != "none":
            self._add_work("refined", refine_seeds, "inference")
        self._add_work("masks", make_masks, "cores")
        self.trial.make_masks_teach()

    def _segmenters(self) -> None:
        options, facts = self.config.segmenter, self.facts
        training = {"epochs": options.epochs, "batch_size": options.batch_size}
        cost = self.trial.training(
            "segmenter",
            lambda run: train_segmenter(run, mask_lesson(run)),
            "segmenter",
            images=facts.images,
            is_finished="segmenter" in self.finished,
        )
        self._add_training("segmenter", cost, **training)
        rounds = options.self_training.rounds
        if rounds:
            again = self.trial.work("relabel_round1", lambda run: relabel(run, mask_lesson(run), 1), "inference")
            for number in range(1, rounds + 1):
                self._add_row(f"relabel_round{number}", again)
                self._add_training(f"segmenter_round{number}", cost, **training)
        if options.supervised_twin:
            self._add_training("segmenter_supervised", cost, **training, images=facts.truth)

    def _report(self) -> None:
        self._add_row("report", self.trial.once("report", make_report))

    def _add_training(
        self,
        name: str,
        cost: TrainingCost,
        *,
        epochs: int,
        batch_size: int,
        images: int | None = None,
        val_images: int | None = None,
    ) -> None:
        images = self.facts.images if images is None else images
        val_images = self.facts.val_images if val_images is None else val_images
        parts = training_parts(
            cost,
            images=images,
            val_images=val_images,
            epochs=epochs,
            batch_size=batch_size,
            val_every=self.config.trainer.val_every,
            validates_at_end=name in ("classifier", "recam", "control"),
        )
        scales = "images × epochs × pixels of the crop ÷ devices"
        what, disk = f"{images} × {epochs}", cost.files.total(images, val_images, epochs)
        self.steps.append(Row(name, what, parts, cost.memory, disk, scales, name in self.finished))

    def _add_work(
        self, name: str, work: Callable[[Run], Step | None], resource: str, *, figure: str | None = None
    ) -> None:
        cost = self.trial.work(name, work, resource, figure=figure, is_finished=name in self.finished)
        if self.seed_bytes is not None and name in ("maps", "seeds", "refined"):
            more = self.seed_bytes / self.trial.seed_bytes()  # other numbers of classes and cells
            cost = replace(cost, files=replace(cost.files, image=cost.files.image * more))
        self._add_row(name, cost)

    def _add_row(self, name: str, cost: WorkCost) -> None:
        facts = self.facts
        is_once = not cost.image
        parts = work_parts(cost, images=facts.images)
        scales = {
            "drawing": "images × pixels × scales ÷ devices",
            "inference": "images × pixels, on one device",
            "cores": "images × pixels × labels ÷ cores",
            "core": "fixed" if is_once else "images × pixels",
        }[cost.resource]
        what, disk = "once" if is_once else f"{facts.images}", cost.files.total(facts.images, facts.val_images)
        self.steps.append(Row(name, what, parts, cost.memory, disk, scales, name in self.finished))


def measured_run(folder: Path) -> Mapping[str, tuple[float | None, int]]:
    """Seconds (None where none were kept) and bytes of each step that a run has finished.

    Raises:
        InputError: if there is none.
    """
    found: dict[str, tuple[float | None, int]] = {}
    for path in sorted(folder.glob("*")):
        manifest = read_manifest(path / "manifest.json") if (path / "manifest.json").exists() else None
        is_report = path.name == "report" and (path / "index.html").exists()
        if is_report or (manifest is not None and manifest["state"] == "done"):
            size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
            found[path.name] = (None if manifest is None else float(manifest["seconds"]), size)
    if not found:
        raise InputError(f"plan.compare={folder}: no step of a run is finished there; name a folder as outputs/demo")
    return found
