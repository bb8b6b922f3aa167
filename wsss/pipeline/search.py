"""A search by Optuna for the best of some options; trials whose seeds are poor end there.

A trial is two jobs of one run: down to the seeds, and, unless their mIoU is below the median, on from there.
"""

import hashlib
import json
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from omegaconf import OmegaConf, open_dict

from wsss.defaults import STEPS
from wsss.errors import InputError
from wsss.pipeline.config import Config, SearchConfig
from wsss.pipeline.sweep_record import Job, announce, gather, job_name, read_job
from wsss.reading import read_figures

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

    from wsss.pipeline.sweep import Sweep

log = logging.getLogger(__name__)
STUDY = "study.log"  # Optuna's journal, in the folder of the search
INTERMEDIATE = "seeds/miou"
RESUMED = "resumed"  # attribute of a trial: the number of the interrupted one that it takes up


@dataclass(frozen=True)
class Tried:
    """A trial of the study and its job."""

    trial: "Trial"
    job: Job


class Search:
    """One search, which goes on where an earlier start of the same command stopped.

    Args:
        sweep: what names, composes and launches jobs.
        config: see `SearchConfig`.
        overrides: options and, for some of them, where to search.
        arguments: the command line's, for the record.

    Raises:
        InputError: if Optuna is missing, there is nothing to search, no truth to judge by, or no figure of that name.
    """

    def __init__(
        self, sweep: "Sweep", config: SearchConfig, overrides: Sequence[Override], arguments: Sequence[str]
    ) -> None:
        self.sweep, self.config, self.arguments = sweep, config, arguments
        self.fixed = [str(override.input_line) for override in overrides if not override.is_sweep_override()]
        self.space = {o.get_key_element(): distribution(o) for o in overrides if o.is_sweep_override()}
        if not self.space:
            raise InputError("hparams_search: nothing to search; give an option as recam.sce_weight='interval(0.1,2)'")
        composed = sweep.options_of(self.fixed)
        with open_dict(composed):
            del composed["hydra"]
        options = OmegaConf.to_object(composed)
        assert isinstance(options, Config)
        from wsss.pipeline.run import Run  # loads torch

        if not Run(options).has_train_truth:
            raise InputError("hparams_search: no true masks of the train split, which judge the trials")
        self.folder = Path(options.outputs) / options.run
        self.until = options.until
        if config.trials < 1:
            raise InputError(f"hydra.sweeper.search.trials={config.trials}: expected 1 or more")
        _check_objective(config.objective, self.until)
        self.at_once = max(sweep.jobs_at_once, 1)
        self.tried: list[Job] = []

    def run(self) -> tuple[Path, list[str]]:
        """Try settings until there are enough; the search's folder, and a line for each trial that failed.

        Raises:
            InputError: if another process is at it.
        """
        lock = FileLock(self.folder / "search.lock")  # Optuna's own is study.log.lock
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.folder}: another process searches here; wait for it, or name another run"
            ) from None
        with lock:
            study = self._study()
            self._resume(study)
            while (left := self.config.trials - len(_ended(study))) > 0:
                batch = [self._ask(study) for _ in range(min(left, self.at_once))]
                self._try(study, batch)
            self._tell_best(study)
            return self.folder, gather(self.folder, self.arguments, self.tried)

    def _study(self) -> "Study":
        try:
            import optuna
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend
        except ModuleNotFoundError:
            raise InputError('hparams_search needs Optuna: pip install "wsss[sweep]"') from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(
            storage=JournalStorage(JournalFileBackend(str(self.folder / STUDY))),
            study_name=self._name(),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=self.config.unpruned),
            direction="maximize",
            load_if_exists=True,
        )
        # Not drawn anew after an interruption: the first settings would come twice.
        study.sampler = optuna.samplers.TPESampler(seed=self.config.seed + len(study.get_trials(deepcopy=False)))
        return study

    def _name(self) -> str:
        """Of the study: a search with other options, or elsewhere, is another."""
        asked = [sorted(self.fixed), self.until, {name: str(where) for name, where in self.space.items()}]
        return f"{self.config.objective} {hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]}"

    def _resume(self, study: "Study") -> None:
        """Take up trials that an earlier start has left, whose finished steps are there; list those that ended."""
        from optuna.trial import TrialState

        for frozen in study.get_trials(deepcopy=False):
            if frozen.state == TrialState.RUNNING:
                study.tell(frozen.number, state=TrialState.FAIL)
                study.enqueue_trial(frozen.params, user_attrs={RESUMED: frozen.number})
        for frozen in _ended(study):
            note = "pruned" if frozen.state == TrialState.PRUNED else None
            self.tried.append(replace(self._job(frozen.params), note=note))

    def _ask(self, study: "Study") -> Tried:
        trial = study.ask(self.space)
        return Tried(trial, self._job(trial.params))

    def _job(self, params: dict[str, Any]) -> Job:
        chosen = _overrides(params)
        share = self.sweep.share_of_machine(self.at_once)
        return self.sweep.job([*self.fixed, *chosen], job_name(chosen), share)

    def _try(self, study: "Study", batch: Sequence[Tried]) -> None:
        from optuna.trial import TrialState

        to_seeds = self.config.objective.startswith("seeds/")
        self._launch([_until_seeds(one.job) for one in batch])
        going_on = []
        for one in batch:
            figures = _figures(one.job)
            if INTERMEDIATE not in figures:
                self._end(study, one, TrialState.FAIL)
            elif to_seeds:
                value = self._objective(figures)
                self._end(study, one, TrialState.FAIL if value is None else TrialState.COMPLETE, value)
            else:
                one.trial.report(figures[INTERMEDIATE], step=0)
                going_on.append(one)
        pruned = [one for one in going_on if self.config.prune and one.trial.should_prune()]
        for one in pruned:
            log.info("%s: pruned, seeds %.2f", one.job.folder.name, _figures(one.job)[INTERMEDIATE])
            self._end(study, one, TrialState.PRUNED)
        going_on = [one for one in going_on if one not in pruned]
        self._launch([one.job for one in going_on])
        for one in going_on:
            value = self._objective(_figures(one.job))
            self._end(study, one, TrialState.FAIL if value is None else TrialState.COMPLETE, value)

    def _objective(self, figures: dict[str, float]) -> float | None:
        """The figure that is searched for; None of a job that failed.

        Raises:
            InputError: if jobs that are done have no such figure.
        """
        wanted = self.config.objective
        if figures and wanted not in figures:
            known = ", ".join(name for name in figures if name.endswith("miou"))
            raise InputError(f"hydra.sweeper.search.objective={wanted}: trials have no such figure; they have {known}")
        return figures.get(wanted)

    def _launch(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            announce(job)
        if jobs:
            self.sweep.launch(jobs)

    def _end(self, study: "Study", one: Tried, state: Any, value: float | None = None) -> None:
        study.tell(one.trial, value, state=state)
        self.tried.append(replace(one.job, note="pruned" if state.name == "PRUNED" else None))
        gather(self.folder, self.arguments, self.tried)

    def _tell_best(self, study: "Study") -> None:
        if not any(trial.value is not None for trial in study.get_trials(deepcopy=False)):
            return
        best = shlex.join([*self.fixed, *_overrides(study.best_params)])
        log.info("best %s of %d trials %.2f: %s", self.config.objective, len(study.trials), study.best_value, best)


def _check_objective(objective: str, until: str) -> None:
    """Refuse a figure that the trials' last step does not bring.

    Raises:
        InputError: naming both.
    """
    step = {"seeds": "seeds", "masks": "masks", "segmenter": "segmenter"}.get(objective.partition("/")[0])
    if step is None:
        raise InputError(f"hydra.sweeper.search.objective={objective}: expected a figure of seeds, masks or segmenter")
    if STEPS.index(until) < STEPS.index(step):
        raise InputError(f"hydra.sweeper.search.objective={objective}: until={until} ends before it; pass until={step}")


def distribution(override: Override) -> "BaseDistribution":
    """Where Optuna looks for an option's value: `interval(a,b)`, `range(a,b,step)`, choices; `tag(log,…)`: log scale.

    Raises:
        InputError: if the bounds are not in order.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    try:
        if isinstance(value, IntervalSweep):
            assert value.start is not None
            assert value.end is not None
            is_whole = isinstance(value.start, int) and isinstance(value.end, int)
            kind = IntDistribution if is_whole else FloatDistribution
            return kind(value.start, value.end, log="log" in value.tags)  # type: ignore[arg-type]
        if isinstance(value, RangeSweep) and isinstance(value.step, int) and isinstance(value.start, int):
            assert value.stop is not None
            return IntDistribution(value.start, int(value.stop) - 1, step=value.step)
    except ValueError as error:
        raise InputError(f"{override.input_line}: {error}") from None
    return CategoricalDistribution([*override.sweep_string_iterator()])


def _overrides(params: dict[str, Any]) -> list[str]:
    return [f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in params.items()]


def _until_seeds(job: Job) -> Job:
    return replace(job, extra=(*job.extra, "until=seeds"))


def _ended(study: "Study") -> list[Any]:
    """Trials that have ended and count: not those that were interrupted, which another takes up."""
    trials = study.get_trials(deepcopy=False)
    resumed = {trial.user_attrs.get(RESUMED) for trial in trials}
    return [trial for trial in trials if trial.state.is_finished() and trial.number not in resumed]


def _figures(job: Job) -> dict[str, float]:
    """A job's figures; none if it failed."""
    path = job.folder / "results.json"
    if read_job(job.folder).get("state") != "done" or not path.exists():
        return {}
    return read_figures(path)
