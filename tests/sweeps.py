"""Made-up runs of sweeps, for what reads them."""

import json
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from wsss.report.comparison import SweptRun

STAGES = (["stage5"], ["stage4", "stage5"], ["stage3", "stage4", "stage5"])


def swept_runs(
    options: Mapping[str, Sequence[Any]], seeds: Sequence[int], figure: str = "seeds/miou"
) -> list[SweptRun]:
    """A run for each combination; its figure is ten times its place among the settings, plus noise by seed."""
    runs = []
    for place, values in enumerate(product(*options.values())):
        for seed in seeds:
            value = 10.0 * place + seed + 0.1 * (seed * (place + 1) % 3)
            of_run = dict(zip(options, values, strict=True))
            runs.append(SweptRun(Path(f"{place}_{seed}"), seed=seed, options=of_run, figures={figure: value}))
    return runs


def write_run(folder: Path, config: str, results: Mapping[str, float], protocols: Mapping[str, object]) -> Path:
    """What a run leaves for a summary."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config)
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "protocols.json").write_text(json.dumps(protocols))
    return folder


def write_sweep_folder(folder: Path, *, seeds: Sequence[int] = (0, 1, 2), first: str = "first") -> dict[str, float]:
    """A sweep of λ × stages whose last jobs failed and were cut short; returns mean seeds/miou by `λ stages`."""
    jobs: list[dict[str, Any]] = []
    figures: dict[str, list[float]] = {}
    for place, (weight, stages) in enumerate(product((0.1, 1, 2), STAGES[:2])):
        for seed in seeds:
            name = first if not jobs else f"{place}_{seed}"
            text = f"[{','.join(stages)}]"
            miou = 50 + 4 * place - place**2 / 2 + seed + 0.3 * ((place + 2 * seed) % 3)
            figures.setdefault(f"{weight} {text}", []).append(miou)
            config = f"run: x\nseed: {seed}\nrecam: {{sce_weight: {float(weight)}}}\ncam: {{stages: {text}}}\n"
            results = {"seeds/miou": miou, "seeds/oracle_miou": miou + 1, "time/seeds_s": float("nan")}
            write_run(folder / name, config, results, {"seeds/miou": {"threshold": 0.4}})
            overrides = ["experiment=demo", f"recam.sce_weight={weight}", f"cam.stages={text}", f"seed={seed}"]
            overrides += ["until=seeds", f"run='{name}'"]
            jobs.append({"run": name, "overrides": overrides, "state": "done", "reason": None, "seconds": 60.0})
    ill = {"failed": "recam.sce_weight=-1: expected ≥ 0", "unfinished": "interrupted"}
    for state, reason in ill.items():
        overrides = ["experiment=demo", "recam.sce_weight=-1", "cam.stages=[stage5]", "seed=0", f"run={state}"]
        jobs.append({"run": state, "overrides": overrides, "state": state, "reason": reason, "seconds": 1.0})
    record = {"command": "python scripts/run_pipeline.py -m 'a<b'", "overrides": ["experiment=demo"], "jobs": jobs}
    (folder / "sweep.json").write_text(json.dumps(record))
    return {name: sum(values) / len(values) for name, values in figures.items()}
