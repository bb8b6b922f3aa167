"""A run: one folder, its data, and steps that know whether they are finished.

A step's manifest records its own options, the fingerprint of those options and of the steps it builds on, and its
figures. A finished step with the same fingerprint is skipped; one with another is refused, so that the outputs of two
configurations never mix, or redone with `overwrite=true`.
"""

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from joblib import cpu_count
from omegaconf import OmegaConf

from wsss.data import DataDescription, Finding, ImageCache, Survey, describe, label_table, read_split, survey
from wsss.errors import FaultyDataError, InputError, without_remedy
from wsss.models.recam import PUBLISHED
from wsss.pipeline.config import AdvConfig, Config, DataConfig
from wsss.pipeline.data_state import data_hash, files_fingerprint
from wsss.pipeline.environment import read_environment
from wsss.pipeline.manifest import PICTURES, fingerprint, is_of_others, read_manifest
from wsss.pipeline.options import check_options, check_schedules
from wsss.pipeline.processes import on_first
from wsss.pipeline.step import Protocol, Step
from wsss.pipeline.yaml_files import NOT_OPTIONS, load_plain_yaml, sealed
from wsss.prepare import packaged_list
from wsss.progress import watching
from wsss.reading import read_json
from wsss.writing import write_json, write_text

log = logging.getLogger(__name__)

# Faults of a data set that are told one by one.
MAX_LINES = 30


def describe_data(data: DataConfig) -> DataDescription:
    """The data set that options name; see `wsss.data.describe`."""
    return describe(
        data.root,
        name=data.name,
        classes=data.classes,
        labels=data.labels,
        image_folder=data.image_folder,
        mask_folder=data.mask_folder,
        val_share=data.val_share,
        split_seed=data.split_seed,
    )


class Run:
    """Folder, options and data of one run.

    Args:
        config: all options.

    Raises:
        InputError: if the data or an option is at fault.
    """

    def __init__(self, config: Config) -> None:
        check_options(config)
        self.config = config
        self.folder = Path(config.outputs) / config.run
        data = config.data
        self.data = describe_data(data)
        self.train_ids = self._ids(data.train)
        self.val_ids = self._ids(data.val)
        self.truth_ids = self._truth_ids()
        tuned = {*self._tuned_ids()}
        self.score_ids = [image_id for image_id in self.truth_ids if image_id not in tuned]
        self.left_out: list[str] = []
        self.unscored: list[str] = []
        self._data_state: dict[str, Any] = {}
        if data.skip_bad:
            self._leave_out()
        if self.truth_ids and not self.score_ids:
            log.warning("data.tuned_on=%s: it holds every image that could be scored; none is", data.tuned_on)
        check_schedules(config, len(self.train_ids))

    def _ids(self, split: str) -> list[str]:
        return read_split(self.data, split)[: self.config.limit_images]

    def _truth_ids(self) -> list[str]:
        """Images of `data.score` among those trained on (`limit_images` cuts the train list)."""
        data = self.config.data
        if data.score is None:
            return list(self.train_ids)
        wanted = read_split(self.data, data.score)
        outside = set(wanted) - set(read_split(self.data, data.train))
        if outside:
            raise InputError(f"data.score={data.score}: image {min(outside)} is not in data.train={data.train}")
        kept = set(self.train_ids)
        return [image_id for image_id in wanted if image_id in kept]

    def _tuned_ids(self) -> list[str]:
        """Images whose truth has chosen options; none of them is scored."""
        name = self.config.data.tuned_on
        if name is None:
            return []
        ids = packaged_list(name) or read_split(self.data, name)
        missing = {*ids} - {*read_split(self.data, self.config.data.train)}
        if missing:
            raise InputError(
                f"data.tuned_on={name}: image {min(missing)} is not in data.train={self.config.data.train}"
            )
        return ids

    @property
    def scored_split(self) -> str:
        """What protocols call the images that seeds and masks are scored on."""
        data = self.config.data
        return (data.score or data.train) + (f" without {data.tuned_on}" if data.tuned_on else "")

    @property
    def labels(self) -> list[str]:
        """Names of the labels, background first."""
        return ["background", *self.data.classes]

    @cached_property
    def train_labels(self) -> torch.Tensor:
        """Image-level labels of the train split, multi-hot."""
        return self._labels(self.train_ids)

    @cached_property
    def val_labels(self) -> torch.Tensor:
        """Image-level labels of the val split, multi-hot."""
        return self._labels(self.val_ids)

    def _labels(self, ids: Sequence[str]) -> torch.Tensor:
        try:
            return label_table(self.data, ids)
        except InputError:
            self.check_data()  # tells of all faults, where this one is the first
            raise

    @cached_property
    def has_train_truth(self) -> bool:
        """Whether seeds and masks can be scored."""
        return bool(self.score_ids) and self.data.has_masks(self.truth_ids)

    @cached_property
    def has_val_truth(self) -> bool:
        """Whether the segmenter can be scored."""
        return self.data.has_masks(self.val_ids)

    def stamp(self, **protocol: object) -> dict[str, object]:
        """How something was measured, with what holds for the whole run."""
        counts = {"left_out": len(self.left_out), "without_truth": len(self.unscored)}
        return {"data": self.data.name, **protocol, **{key: count for key, count in counts.items() if count}}

    @property
    def image_cache(self) -> ImageCache | None:
        """Copies of large photographs to train on, if asked for; runs of one data set share them."""
        longest = self.config.data.cache_long
        if longest is None:
            return None
        source = hashlib.sha256(str(self.data.root.resolve()).encode()).hexdigest()[:8]
        return ImageCache(Path(self.config.outputs) / "cache" / f"{self.data.name}-{source}-{longest}", longest)

    def survey(self) -> Survey:
        """Look at every image, label and mask of the run's splits."""
        data = self.config.data
        truth: list[str] = []
        of_splits: list[Finding] = []
        for ids in (self.truth_ids, self.val_ids):
            try:
                truth += ids if self.data.has_masks(ids) else []
            except InputError as error:
                of_splits.append(Finding(str(error), True))
        splits = {data.train: self.train_ids, data.val: self.val_ids}
        number = len({*self.train_ids, *self.val_ids})
        with watching("looking at the data", number, shown=self.config.trainer.progress) as advance:
            found = survey(self.data, splits, truth=truth, threads=max(cpu_count(), 4), progress=advance)
        return replace(found, findings=[*of_splits, *found.findings])

    def check_data(self) -> None:
        """Look at the data before the first long step; remembered until a file changes.

        Raises:
            FaultyDataError: a line for each fault.
        """
        on_first(self._tell_faults)

    def _tell_faults(self) -> None:
        left_out = {*self.left_out, *self.unscored}
        lines = [fault.text for fault in self._faults if fault.image_id not in left_out]
        if lines:
            more = len(lines) - MAX_LINES
            rest = [f"and {more} more; `python scripts/validate_data.py` lists all"] if more > 0 else []
            raise FaultyDataError([*lines[:MAX_LINES], *rest])

    def _leave_out(self) -> None:
        """Take images with a fault out of all splits, those whose truth is at fault or missing out of the scores."""
        for ids in (self.truth_ids, self.val_ids):
            masked = [image_id for image_id in ids if self.data.mask_path(image_id).exists()]
            if masked and len(masked) < len(ids):
                self.unscored += sorted({*ids} - {*masked})
                log.warning("left out of the scores: %d images without a mask", len(ids) - len(masked))
                ids[:] = masked
        if any(fault.image_id is None for fault in self._faults):
            self.check_data()
        bad = {str(fault.image_id) for fault in self._faults if not fault.of_truth}
        untrue = {str(fault.image_id) for fault in self._faults} - bad
        for ids in (self.train_ids, self.val_ids, self.truth_ids):
            ids[:] = [image_id for image_id in ids if image_id not in bad]
        for ids in (self.val_ids, self.truth_ids):
            ids[:] = [image_id for image_id in ids if image_id not in untrue]
        self.score_ids = [image_id for image_id in self.score_ids if image_id in {*self.truth_ids}]
        data = self.config.data
        for split, ids in ((data.train, self.train_ids), (data.val, self.val_ids)):
            if not ids:
                raise InputError(
                    f"data.skip_bad: no image of {split} is left; `python scripts/validate_data.py` says why"
                )
        for fault in self._faults[:MAX_LINES]:
            log.warning("left out%s: %s", " of the scores" if fault.of_truth else "", fault.text)
        self.left_out = sorted(bad)
        self.unscored = sorted({*self.unscored, *untrue} - bad)

    @cached_property
    def _faults(self) -> list[Finding]:
        """The faults of the data."""
        stamp = self.folder / "data_check.json"
        ids = sorted({*self.train_ids, *self.val_ids})
        parts = [self.train_ids, self.val_ids, self.truth_ids]
        state = {
            "files": files_fingerprint(self.data, ids),
            "splits": fingerprint(parts),
            "data": asdict(self.config.data),
        }
        with suppress(InputError, LookupError, TypeError):  # none yet, or damaged: it is written anew
            known = read_json(stamp)
            if known["state"] == state:
                return [Finding(**fault) for fault in known["faults"]]
        start = time.monotonic()
        found = self.survey()
        for note in found.notes[:MAX_LINES]:
            log.info("note: %s", note.text)
        write_json(stamp, {"state": state, "faults": [fault._asdict() for fault in found.errors]})
        log.info("data: %d images of %s looked at in %.0f s", len(ids), self.data.name, time.monotonic() - start)
        return found.errors

    def data_state(self) -> dict[str, Any]:
        """What the files hold now: `data_hash`, taken anew only when one of them, or a split, has changed."""
        splits = {"train": self.train_ids, "val": self.val_ids, "score": self.score_ids}
        files = fingerprint([files_fingerprint(self.data, sorted({*self.train_ids, *self.val_ids})), splits])
        if self._data_state.get("files") != files:
            self._data_state = read_environment(self.folder).get("data", {})
        if self._data_state.get("files") != files or not {*PICTURES} <= {*self._data_state}:
            start = time.monotonic()
            labels = {"train": self.train_labels, "val": self.val_labels}
            self._data_state = {"name": self.data.name, **data_hash(self.data, splits, labels), "files": files}
            if (seconds := time.monotonic() - start) > 1:
                images = self._data_state["images"]
                log.info("data: %d images of %s hashed in %.0f s", images, self.data.name, seconds)
        return self._data_state

    def step(
        self,
        name: str,
        settings: Mapping[str, object],
        inputs: Sequence[str] = (),
        outputs: Sequence[str] = ("model.pt",),
        *,
        of_truth: bool = False,
    ) -> Step:
        """A step of this run; see `Step`."""
        data = {"root": str(self.data.root.resolve()), "classes": list(self.data.classes), "labels": self.data.labels}
        settings = {
            **_without_new_defaults(settings),
            "data": asdict(self.config.data) | data,
            "images": fingerprint(self.train_ids + self.score_ids + self.val_ids),
            "image_labels": fingerprint(self.train_labels.int().tolist()),
            "seed": self.config.seed,
        }
        return Step(self, name, settings, inputs, outputs, of_truth=of_truth)

    def write_results(self) -> dict[str, float]:
        """Collect the figures of the finished steps into results.json and protocols.json.

        A step that builds on outputs made anew since is left out: its figures belong to other options or photographs.
        """
        results: dict[str, float] = {}
        protocols: dict[str, Protocol] = {}
        manifests = [read_manifest(path) for path in self.folder.glob("*/manifest.json")]
        done = {manifest["step"]: manifest for manifest in manifests if manifest["state"] == "done"}

        def is_current(step: str, above: tuple[str, ...] = ()) -> bool:
            if step in above:  # nothing is built on itself
                return False
            inputs = done[step]["inputs"].items()
            return all(
                s in done
                and done[s]["fingerprint"] == before
                and not is_of_others(done[s], done[step]["settings"], done[step].get("pictures", {}))
                and is_current(s, (*above, step))
                for s, before in inputs
            )

        for step in filter(is_current, done):
            results |= done[step]["figures"]
            protocols |= done[step]["protocols"]
            results[f"time/{step}_s"] = done[step]["seconds"]
        write_json(self.folder / "results.json", results)
        write_json(self.folder / "protocols.json", protocols)
        return results

    def save_config(self) -> None:
        """Keep the resolved options of the newest step beside the outputs; each step's own are in its manifest."""
        if (self.folder / "config.yaml").exists():
            self._tell_broken_config()
        self._write_config()

    def mend_config(self) -> None:
        """Write options anew that are gone or damaged, where a step is kept and they are still its own."""
        if self._tell_broken_config():
            self._write_config()

    def _write_config(self) -> None:
        write_text(self.folder / "config.yaml", sealed(OmegaConf.to_yaml(OmegaConf.structured(self.config))))

    def _tell_broken_config(self) -> bool:
        try:
            kept_config(self.folder)
        except InputError as error:
            log.warning("%s; written anew with the options of this start", without_remedy(error))
            return True
        return False


# Options that came after the first runs, and their defaults: left out of a step's settings, so that what was finished
# without them stays current.
_NEW = {
    "classifier.pooling": "gap",
    "classifier.loss": "bce",
    "classifier.freeze_backbone": False,
    **{f"recam.{name}": default for name, default in asdict(PUBLISHED).items()},
    "cam.adv": asdict(AdvConfig()),
}


def _without_new_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(settings)
    for path, default in _NEW.items():
        group, option = path.split(".")
        if kept.get(group, {}).get(option) == default:
            kept[group] = {name: value for name, value in kept[group].items() if name != option}
    return kept


def open_run(folder: Path) -> Run:
    """A run as its folder keeps it, with the options of its newest step.

    Raises:
        InputError: if the folder holds no run, or its options or data cannot be read any more.
    """
    return Run(kept_config(folder))


def kept_config(folder: Path) -> Config:
    """The options of a run's newest step, wherever its folder lies now.

    Raises:
        InputError: if the folder holds no run, or its options cannot be read any more.
    """
    folder = folder.resolve()
    path = folder / "config.yaml"
    if not path.is_file():
        raise InputError(f"{path}: no such file; name the folder of a run, as outputs/demo")
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Config), load_plain_yaml(path)))
        assert isinstance(config, Config)
    except NOT_OPTIONS as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: not the options of a run ({reason}); repair them, or run a step again") from None
    config.outputs, config.run = str(folder.parent), folder.name
    return config
