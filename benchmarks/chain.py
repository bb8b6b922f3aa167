"""Where the time of a whole run goes: networks and CRF, or what lies around them.

python benchmarks/chain.py experiment=demo outputs=/tmp/chain          # any options of run_pipeline.py

The steps run in one process, without loaders or mask workers beside it, so that all of their work is seen. The time of
a kind of work is what passes while it is the innermost. Writes <outputs>/<run>/chain.json.
"""

import functools
import importlib
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

START = time.perf_counter()
ROOT = Path(__file__).resolve().parents[1]
MODEL = ("network", "CRF")  # what a chain is for; the rest is to be small
OTHER, LOADING = "all else", "start of the script"
# Where each kind of work is done.
PLACES = {
    "network": (
        "pytorch_lightning.core.module:LightningModule.optimizer_step",  # forward, backward, the optimiser's step
        "wsss.tasks.classification:ClassifierTask.validation_step",
        "wsss.tasks.segmentation:SegmenterTask.validation_step",
        "wsss.tasks.seeds:SeedTask.predict_step",
        "wsss.models.segmenter:Segmenter.__call__",
    ),
    "CRF": ("wsss.masks.mean_field:MeanField.__init__", "wsss.masks.mean_field:MeanField.marginals"),
    "photographs read and augmented": ("wsss.data.dataset:ImageDataset.__getitem__", "wsss.photographs:read_image"),
    "maps read and resized": ("wsss.seeds:load_seeds", "wsss.seeds:resize_maps"),
    "scores": ("wsss.metrics.sweep:ThresholdCounter.update", "wsss.metrics.confusion:confusion_matrix"),
    "checkpoints and models": (
        "wsss.pipeline.training:WholeCheckpoints.save_checkpoint",
        "wsss.models.files:save_model",
        "wsss.models.files:read_model",
    ),
    "data looked at": ("wsss.pipeline.run:Run.check_data", "wsss.pipeline.run:Run.data_state"),
    "report": ("wsss.pipeline.report:make_report",),
}


class Clock:
    """Seconds spent in each kind of work by the main thread, the innermost alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.within = [LOADING]
        self.last = START

    def turn(self, kind: str | None) -> None:
        """Begin a kind of work, or end the innermost."""
        now = time.perf_counter()
        self.seconds[self.within[-1]] += now - self.last
        self.last = now
        if kind is None:
            self.within.pop()
        else:
            self.within.append(kind)

    def wrap(self, place: str, kind: str) -> None:
        """Have a function or method turn the clock; names imported from its module follow."""
        module, _, name = place.partition(":")
        owner: Any = importlib.import_module(module)
        *classes, name = name.split(".")
        for part in classes:
            owner = getattr(owner, part)
        plain = getattr(owner, name)

        @functools.wraps(plain)
        def timed(*args: Any, **options: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return plain(*args, **options)
            self.turn(kind)
            try:
                return plain(*args, **options)
            finally:
                self.turn(None)

        _replace(owner, name, plain, timed)


def _replace(owner: Any, name: str, plain: Callable[..., Any], timed: Callable[..., Any]) -> None:
    setattr(owner, name, timed)
    for module in [module for key, module in sys.modules.items() if key.startswith("wsss")]:
        if vars(module).get(name) is plain:
            setattr(module, name, timed)


def main() -> None:
    """Run, and tell."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from rich.console import Console
    from rich.table import Table

    from wsss.pipeline import cli, schema  # noqa: F401 - the latter makes the option classes known
    from wsss.pipeline.run import Run
    from wsss.pipeline.run_all import run_pipeline
    from wsss.writing import write_json

    clock = Clock()
    for kind, places in PLACES.items():
        for place in places:
            clock.wrap(place, kind)
    options = ["trainer.num_workers=0", "masks.jobs=1", *sys.argv[1:]]
    with cli.one_line_errors():
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            run = Run(OmegaConf.to_object(compose("config", overrides=options)))  # type: ignore[arg-type]
        clock.turn(OTHER)
        run_pipeline(run)
        clock.turn(None)
    seconds = dict(sorted(clock.seconds.items(), key=lambda item: -item[1]))
    total = sum(seconds.values())
    shares = {kind: part / total for kind, part in seconds.items()}
    table = Table("work", "seconds", "share")
    for kind, part in seconds.items():
        table.add_row(kind, f"{part:.1f}", f"{100 * shares[kind]:.1f} %")
    model = sum(shares.get(kind, 0.0) for kind in MODEL)
    table.add_row(" + ".join(MODEL), f"{model * total:.1f}", f"{100 * model:.1f} %")
    Console().print(table)
    write_json(run.folder / "chain.json", {"seconds": seconds, "model_share": model})


if __name__ == "__main__":
    main()
