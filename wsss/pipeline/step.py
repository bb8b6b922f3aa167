"""A step of a run: a folder of outputs, a manifest, figures; it knows whether it is finished."""

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytorch_lightning.loggers import Logger

from wsss.errors import InputError
from wsss.pipeline.data_state import newest
from wsss.pipeline.environment import code_state, is_made_alike, record_environment
from wsss.pipeline.loggers import end_loggers
from wsss.pipeline.manifest import (
    PICTURES,
    changed_files,
    damaged,
    fingerprint,
    first_difference,
    is_of_others,
    other_pictures,
    read_manifest,
    record_files,
    recorded_files,
    versions,
)
from wsss.pipeline.processes import is_first, on_first
from wsss.pipeline.step_lock import StepLock
from wsss.writing import write_json

if TYPE_CHECKING:
    from wsss.pipeline.run import Run

log = logging.getLogger(__name__)

Protocol = Mapping[str, object]
SCRIPT_OF = {
    "classifier": "train_cls.py",
    "recam": "train_cls.py",
    "control": "train_cls.py",
    "maps": "make_seeds.py",
    "seeds": "make_seeds.py",
    "relations": "make_masks.py",
    "refined": "make_masks.py",
    "masks": "make_masks.py",
    "segmenter": "train_seg.py",
    "segmenter_supervised": "train_seg.py",
}


class Step:
    """One step of a run: a folder, a manifest, figures.

    Args:
        settings: what the outputs depend on.
        inputs: steps it builds on.
        outputs: files in its folder without which it is not finished.
        of_truth: whether they depend on true masks, not only their scores.

    Attributes:
        folder: where its outputs go.
        figures: numbers for results.json.
        protocols: how each number came about.
        loggers: of its training, told the figures when it ends.
    """

    def __init__(
        self,
        run: "Run",
        name: str,
        settings: Mapping[str, object],
        inputs: Sequence[str],
        outputs: Sequence[str],
        *,
        of_truth: bool,
    ) -> None:
        self.run, self.name, self.of_truth = run, name, of_truth
        self.folder = run.folder / name
        self.outputs = outputs
        self.manifest_path = self.folder / "manifest.json"
        self.settings = json.loads(json.dumps(settings))  # as it will be read back
        self.inputs = on_first(lambda: {step: self._fingerprint_of(step) for step in inputs})
        self.fingerprint = fingerprint([self.settings, self.inputs])
        self.figures: dict[str, float] = {}
        self.protocols: dict[str, Protocol] = {}
        self._lock = StepLock(Path(run.config.outputs), name, self.fingerprint)
        self.loggers: list[Logger] = []

    @cached_property
    def pictures(self) -> dict[str, str]:
        """Hashes of the photographs and true masks that it sees, as they were when it was first asked for."""
        state = self.run.data_state()
        return {name: state[name] for name in PICTURES}

    @property
    def is_finished(self) -> bool:
        """Whether the outputs are whole and made with these very options."""
        return self._is_done(self.folder)

    def skip(self, *, scored: bool = False) -> bool:
        """Whether there is nothing to do, here or by taking over what another run has done; says so in the log.

        Where there is, no other process will make the same step before this one's `working` has ended.

        Args:
            scored: whether there is truth now, which there may not have been when the step ended.
        """
        return on_first(lambda: self._skip(scored=scored))

    def _skip(self, *, scored: bool) -> bool:
        if self._is_kept(scored=scored):
            return True
        if not self.run.config.reuse:
            return False
        self._lock.acquire(self.run.folder)
        if self._is_kept(scored=scored) or self._take_twin(scored=scored):
            self._lock.release()
            return True
        return False

    def _is_kept(self, *, scored: bool) -> bool:
        if is_done := self._is_done(self.folder, scored=scored):
            for path in changed_files(self.folder):
                raise damaged(path)
            log.info("%s: finished before, kept", self.name)
            self.run.mend_config()
        return is_done

    def _take_twin(self, *, scored: bool) -> bool:
        """Whether another run had the step, which now stands here in place of nothing or of its own beginning."""
        manifest = self._manifest()
        if self._has_outputs() and (manifest is None or manifest["fingerprint"] != self.fingerprint):
            return False
        for folder in self._twins():
            is_whole = self._is_done(folder, scored=scored) and not any(changed_files(folder))
            if is_whole and is_made_alike(folder.parent, self.run.config.trainer):
                self._take(folder)
                return True
        return False

    def _is_done(self, folder: Path, *, scored: bool = False) -> bool:
        """Whether a folder holds this step's whole outputs."""
        path = folder / "manifest.json"
        manifest = read_manifest(path) if path.exists() else None
        if manifest is None or manifest["state"] != "done" or manifest["fingerprint"] != self.fingerprint:
            return False
        is_whole = all((folder / name).exists() for name in {*self.outputs, *recorded_files(folder)})
        return is_whole and (_is_scored(manifest) or not scored) and not self._other_pictures(manifest)

    def _other_pictures(self, manifest: Mapping[str, Any]) -> list[str]:
        """What it was made with, or scored by, and has changed since under the same names."""
        other = other_pictures(manifest, self.pictures)
        return [name for name in other if name == "photographs" or self.of_truth or _is_scored(manifest)]

    def _twins(self) -> list[Path]:
        """This step's folder in other runs of the same versions, those of sweeps (`outputs/<sweep>/<run>`) included.

        Their code may be of another commit, which their manifests name: a sweep goes on after one.
        """
        outputs = Path(self.run.config.outputs)
        places = [(outputs, "*"), (outputs, "*/*"), (self.run.folder.parent, "*")]
        found = []
        for path in dict.fromkeys(
            path for base, depth in places for path in sorted(base.glob(f"{depth}/{self.name}/manifest.json"))
        ):
            with suppress(InputError):  # another run's damage is not this one's
                if read_manifest(path).get("versions") == versions():
                    found.append(path.parent)
        return found

    def _take(self, folder: Path) -> None:
        """Make the files of a finished step this run's too; files are only ever replaced whole, so links are safe."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=_made(self.run.folder), prefix=f".{self.name}-") as temporary:
            copied = Path(temporary) / self.name
            shutil.copytree(folder, copied, copy_function=_link)
            manifest = read_manifest(copied / "manifest.json")
            write_json(copied / "manifest.json", {"taken_from": folder.parent.as_posix(), **manifest})
            copied.replace(self.folder)
        self.run.save_config()
        if not (self.run.folder / "environment.json").exists():
            record_environment(self.run)
        self.run.write_results()
        log.info("%s: taken from %s, which has the same options", self.name, folder.parent)

    @contextmanager
    def working(self) -> Iterator["Step"]:
        """Make the folder ready, and record the figures when the work inside ends without an error."""
        try:
            spent = on_first(self._begin)
            start = time.monotonic()
            try:
                yield self
            except BaseException:
                if is_first():
                    self._write("running", seconds=round(spent + time.monotonic() - start, 1))
                    end_loggers(self.loggers, {}, is_done=False)
                raise
            on_first(lambda: self._end(round(spent + time.monotonic() - start, 1)))
        finally:
            self._lock.release()

    def _begin(self) -> float:
        """Make the folder ready; the seconds that an interrupted start has spent."""
        manifest = self._manifest()
        spent = 0.0
        if manifest is not None:
            change = self._change(manifest)
            if change is None:
                spent = manifest["seconds"]
            elif self._has_outputs() and not self.run.config.overwrite:
                raise InputError(
                    f"{self.folder}: made with {change}; choose another run=<name>, "
                    "or redo the step with overwrite=true"
                )
            else:
                log.info("%s: was made with %s; made anew", self.name, change)
                shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.run.save_config()
        record_environment(self.run)
        self._write("running", seconds=spent)
        return spent

    def _change(self, manifest: Mapping[str, Any]) -> str | None:
        """What its folder was made with and is otherwise now; None where the work goes on, or is scored anew."""
        if manifest["fingerprint"] != self.fingerprint:
            change = first_difference(manifest, {"settings": self.settings, "inputs": self.inputs})
            return f"other options ({change})"
        other, data = self._other_pictures(manifest), self.run.data
        if "photographs" in other:
            return f"other photographs than there are now (the newest is {self._newest(data.image_path)})"
        if "truth" in other and self.of_truth:
            return f"other true masks (the newest now is {self._newest(data.mask_path)})"
        if "truth" in other:
            log.info("%s: true masks have changed; scored anew", self.name)
        return None

    def _newest(self, path_of: Callable[[str], Path]) -> str:
        return newest(map(path_of, {*self.run.train_ids, *self.run.val_ids}))

    def _end(self, seconds: float) -> None:
        """Record files and figures."""
        record_files(self.folder, [*self.outputs, *(path.name for path in self.folder.glob("*.csv"))])
        self._write("done", seconds=seconds)
        self.run.write_results()
        end_loggers(self.loggers, self.figures, is_done=True)
        figures = ", ".join(f"{key} {value:.2f}" for key, value in self.figures.items())
        log.info("%s: done in %.0f s, %s (%s)", self.name, seconds, self.folder, figures or "no truth to score against")

    def read_figures(self) -> Mapping[str, float]:
        """Figures of the finished step, whether it was finished now or before."""
        return on_first(lambda: read_manifest(self.manifest_path)["figures"])

    def add_figure(self, key: str, value: float, **protocol: object) -> None:
        """Record a figure for results.json with the protocol it was measured by."""
        self.figures[key] = round(float(value), 4)
        self.protocols[key] = self.run.stamp(**protocol)

    def _fingerprint_of(self, step: str) -> str:
        path = self.run.folder / step / "manifest.json"
        manifest = read_manifest(path) if path.exists() else None
        if manifest is None or manifest["state"] != "done":
            script = SCRIPT_OF.get(step, "train_seg.py")  # a round of self-training
            raise InputError(
                f"{path.parent}: not finished; run `python scripts/{script} run={self.run.config.run}` first"
            )
        if is_of_others(manifest, self.settings, self.pictures):
            newest_now = self._newest(self.run.data.image_path)
            raise InputError(
                f"{path.parent}: made with other photographs than there are now (the newest is {newest_now}); "
                "choose another run=<name>, or redo the step with overwrite=true"
            )
        return str(manifest["fingerprint"])

    def _manifest(self) -> dict[str, Any] | None:
        return read_manifest(self.manifest_path) if self.manifest_path.exists() else None

    def _has_outputs(self) -> bool:
        """Whether the folder holds more than an attempt that failed at once."""
        return any(path.suffix in (".pt", ".ckpt", ".npz", ".png") for path in self.folder.rglob("*"))

    def _write(self, state: str, *, seconds: float) -> None:
        manifest = {
            "step": self.name,
            "state": state,
            "fingerprint": self.fingerprint,
            "settings": self.settings,
            "inputs": self.inputs,
            "figures": self.figures,
            "protocols": self.protocols,
            "seconds": seconds,
            "pictures": self.pictures,
            "versions": versions(),
            "code": code_state(),
        }
        write_json(self.manifest_path, manifest)


def _is_scored(manifest: Mapping[str, Any]) -> bool:
    return any(key.endswith("miou") for key in manifest["figures"])


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _link(source: str, target: str) -> None:
    """A second name for a file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
