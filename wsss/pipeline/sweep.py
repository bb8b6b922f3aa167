"""Hydra's `-m`: jobs named after what differs between them, that fail alone, and leave one record.

`conf/config.yaml` puts this sweeper in the place of Hydra's own; launchers (joblib, submitit) are Hydra's.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, RunMode, TaskFunction
from joblib import cpu_count
from omegaconf import DictConfig, OmegaConf, open_dict

from wsss.pipeline.config import SearchConfig, SweepConfig
from wsss.pipeline.processes import default_workers
from wsss.pipeline.search import Search
from wsss.pipeline.sweep_record import Job, announce, gather, job_name, read_job

log = logging.getLogger(__name__)


class Sweep(Sweeper):
    """All combinations of the values given, or a search among them.

    Args:
        params: options and their values; the command line's come first.
        max_batch_size: jobs that are handed to the launcher at a time; default: all, in a search as many as it runs.
        search: see `SearchConfig`; default: all combinations.
    """

    def __init__(self, params: DictConfig, max_batch_size: int | None, search: DictConfig | None) -> None:
        self.params, self.max_batch_size = dict(params), max_batch_size
        found = OmegaConf.to_object(search) if search is not None else None
        assert found is None or isinstance(found, SearchConfig)
        self.search = found

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """As Hydra asks."""
        self.options, self.context = config, hydra_context
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        self.num_launched = 0

    def sweep(self, arguments: list[str]) -> None:
        """Run all jobs; ends the process with status 1 if one failed.

        Args:
            arguments: the command line's overrides.
        """
        parser = OverridesParser.create(config_loader=self.context.config_loader)
        given = parser.parse_overrides(arguments)
        names = {override.get_key_element() for override in given}
        preset = parser.parse_overrides([f"{key!s}={value}" for key, value in self.params.items() if key not in names])
        overrides = [*preset, *given]
        if self.search is not None:
            folder, ill = Search(self, self.search, overrides, arguments).run()
        else:
            folder, ill = self._run_all(combinations(overrides), arguments)
        from wsss.pipeline.sweep_summary import summarize_sweep  # loads what reports need

        summarize_sweep(folder)
        if ill:
            log.error("%d jobs of the sweep failed or are unfinished; the same command goes on with them:", len(ill))
            for line in ill:
                log.error("  %s", line)
            raise SystemExit(1)

    def _run_all(self, combined: Sequence[tuple[list[str], str]], arguments: Sequence[str]) -> tuple[Path, list[str]]:
        """Run jobs given as overrides and a name; the sweep's folder, and a line for each that failed."""
        size = self.max_batch_size or len(combined)
        share = self.share_of_machine(min(size, len(combined)))
        jobs = [self.job(overrides, name, share, num=num) for num, (overrides, name) in enumerate(combined)]
        folder = Path(os.path.commonpath([job.folder.parent for job in jobs]))
        for job in jobs:
            announce(job)
        gather(folder, arguments, jobs)  # for those who look while it runs, and if it is killed
        reasons = []
        try:
            for start in range(0, len(jobs), size):
                reasons.append(self.launch(jobs[start : start + size]))
        finally:
            ill = gather(folder, arguments, jobs, reason=next(filter(None, reasons), None))
        return folder, ill

    def job(self, overrides: Sequence[str], name: str, extra: Sequence[str] = (), *, num: int = 0) -> Job:
        """A job of these options, whose run is `<run>/<name>` unless `run` differs between the jobs.

        Raises:
            HydraException: if the options cannot be composed.
        """
        if not self._names_runs(overrides):
            extra = [f"run='{self.options.run}/{name}'", *extra]
        options = self.options_of([*overrides, *extra])
        with open_dict(options):
            options.hydra.job.id = options.hydra.job.num = num
        before = HydraConfig.instance().cfg
        HydraConfig.instance().set_config(options)  # `${hydra:job.num}` asks there
        try:
            folder = Path(options.outputs) / options.run
        finally:
            HydraConfig.instance().cfg = before
        return Job(folder, tuple(overrides), tuple(extra))

    def options_of(self, overrides: Sequence[str]) -> DictConfig:
        """The options that a job with these overrides has, Hydra's own among them.

        Raises:
            HydraException: if they cannot be composed.
        """
        return self.context.config_loader.load_sweep_config(self.options, [*overrides])

    def _names_runs(self, overrides: Sequence[str]) -> bool:
        """Whether `run` itself tells the jobs apart."""
        if OmegaConf.is_interpolation(self.options, "run"):
            return True
        return any(override.startswith("run=") and override != f"run={self.options.run}" for override in overrides)

    def launch(self, jobs: Sequence[Job]) -> str | None:
        """Run jobs; each keeps how it ended in its folder.

        Returns:
            Why the launcher gave up, if it did: a worker was killed, or a queue refused.
        """
        try:
            self.launcher.launch([[*job.overrides, *job.extra] for job in jobs], initial_job_idx=self.num_launched)
        except Exception as error:
            left = sum(read_job(job.folder).get("state") == "unfinished" for job in jobs)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            log.exception("the launcher stopped with %d of %d jobs unfinished", left, len(jobs))
            return reason
        finally:
            self.num_launched += len(jobs)
        return None

    @property
    def jobs_at_once(self) -> int:
        """How many jobs the launcher runs on this machine at a time, where it says so."""
        wanted = OmegaConf.select(self.options, "hydra.launcher.n_jobs") or 1
        return int(wanted) if wanted > 0 else max(cpu_count() + 1 + int(wanted), 1)

    def share_of_machine(self, num_jobs: int) -> list[str]:
        """Options that divide the cores among jobs that run at the same time, as far as they are not given.

        Args:
            num_jobs: how many the launcher is given at a time.
        """
        launcher = self.options.hydra.launcher
        all_at_once = str(launcher._target_).endswith(".LocalLauncher")  # submitit's
        at_once = num_jobs if all_at_once else min(self.jobs_at_once, num_jobs)
        cores = OmegaConf.select(launcher, "cpus_per_task") or max(cpu_count() // at_once, 1)
        if at_once == 1 and "cpus_per_task" not in launcher:
            return []
        return [*machine_options(self.options, int(cores)), "trainer.progress=false"]


def machine_options(config: DictConfig, cores: int) -> list[str]:
    """Options that keep a job to so many cores; those the user has set are left."""
    options: dict[str, tuple[int | None, int]] = {
        "trainer.threads": (None, cores),
        "trainer.num_workers": (None, default_workers(cores)),
        "masks.jobs": (-1, cores),
    }
    return [f"{key}={value}" for key, (unset, value) in options.items() if OmegaConf.select(config, key) == unset]


def combinations(overrides: Sequence[Override]) -> list[tuple[list[str], str]]:
    """Overrides of every job, and its name after those that differ.

    Raises:
        HydraException: for values without number, such as `interval(0, 1)`.
    """
    combined: list[tuple[list[str], list[str]]] = [([], [])]
    for override in overrides:
        if not override.is_sweep_override():
            for of_job, _ in combined:
                of_job.append(str(override.input_line))
            continue
        key = override.get_key_element()
        if not override.is_discrete_sweep():
            raise HydraException(f"{override.input_line}: not a list of values; hparams_search=<name> searches in it")
        values = [f"{key}={value}" for value in override.sweep_string_iterator()]
        combined = [([*of_job, value], [*swept, value]) for of_job, swept in combined for value in values]
    return [(of_job, job_name(swept) or "single") for of_job, swept in combined]


def is_job_of_sweep() -> bool:
    """Whether Hydra runs this process's job for `Sweep`."""
    hydra = HydraConfig.get()
    return hydra.mode == RunMode.MULTIRUN and hydra.sweeper._target_ == SweepConfig._target_


def register() -> None:
    """Tell Hydra of the sweeper, under a name of the only name space that it takes plugins from."""
    plugins = Plugins.instance()
    plugins.register(Sweep)
    plugins.class_name_to_class[SweepConfig._target_] = Sweep
    ConfigStore.instance().store(group="hydra/sweeper", name="wsss", node=SweepConfig)
