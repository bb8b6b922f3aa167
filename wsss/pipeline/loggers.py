"""Where a training's curves, options and figures go: files of its step, TensorBoard, Weights & Biases, MLflow."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from pytorch_lightning.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from wsss.errors import InputError, first_line
from wsss.pipeline.config import Config, LoggerConfig

# What a tracker that cannot be reached leaves the user to do.
REMEDIES = {
    "wandb": "run `wandb login`, or pass logger.offline=true",
    "mlflow": "look at logger.tracking_uri, or leave it out to keep a file in the run's folder",
}


def require_trackers(config: LoggerConfig) -> None:
    """Refuse a tracker whose package is missing, before any work.

    Raises:
        InputError: with the command that installs it.
    """
    for name in REMEDIES:
        if getattr(config, name) and find_spec(name) is None:
            raise InputError(f"logger.{name}=true needs its package: pip install '.[{name}]'; or choose logger=default")


def start_loggers(config: Config, folder: Path) -> list[Logger]:
    """The loggers of a training, told the resolved options.

    Args:
        config: all options.
        folder: of the step.

    Raises:
        InputError: if one has no package, or cannot be reached.
    """
    makers: dict[str, Callable[[Config, Path], Logger]] = {
        "csv": lambda _, folder: CSVLogger(folder, name="metrics"),
        "tensorboard": _tensorboard,
        "wandb": _wandb,
        "mlflow": _mlflow,
    }
    loggers = []
    for name, make in makers.items():
        if not getattr(config.logger, name):
            continue
        try:
            logger = make(config, folder)
            if name != "csv":  # its folder's run has config.yaml
                logger.log_hyperparams(asdict(config))  # type: ignore[arg-type]  # Lightning's takes mappings
        except InputError:
            raise
        except Exception as error:  # a service's or a network's, each with classes of its own
            if name not in REMEDIES:
                raise
            raise InputError(f"logger.{name}=true: {first_line(error)}; {REMEDIES[name]}") from error
        loggers.append(logger)
    return loggers


def end_loggers(loggers: Sequence[Logger], figures: Mapping[str, float], *, is_done: bool) -> None:
    """Tell loggers the step's figures, and that it has ended."""
    for logger in loggers:
        if not isinstance(logger, CSVLogger):  # results.json has them
            logger.log_metrics({**figures})
        logger.save()
        if isinstance(logger, WandbLogger):  # or the next training would go on with this run
            logger.experiment.finish(exit_code=0 if is_done else 1)
        else:
            logger.finalize("success" if is_done else "failed")


def _tensorboard(config: Config, folder: Path) -> Logger:
    try:
        return TensorBoardLogger(folder, name="", version="tensorboard", default_hp_metric=False)
    except ModuleNotFoundError:
        raise InputError("logger.tensorboard=true needs `pip install tensorboard`; or choose logger=csv") from None


def _wandb(config: Config, folder: Path) -> Logger:
    options = config.logger
    return WandbLogger(
        name=_name(config, folder),
        group=options.name or config.run,
        save_dir=folder,
        project=options.project,
        tags=options.tags,
        offline=options.offline,
        log_model=False,
    )


def _mlflow(config: Config, folder: Path) -> Logger:
    options = config.logger
    own = f"sqlite:///{folder.parent.resolve()}/mlflow.db"
    return MLFlowLogger(
        experiment_name=options.project,
        run_name=_name(config, folder),
        tracking_uri=options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or own,
        tags={"run": config.run, "step": folder.name, **dict.fromkeys(options.tags, "true")},
    )


def _name(config: Config, folder: Path) -> str:
    return f"{config.logger.name or config.run}/{folder.name}"
