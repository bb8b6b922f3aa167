"""Options of hardware, loops and what is logged of them."""

from dataclasses import dataclass, field


@dataclass
class TrainerConfig:
    """Hardware and loops; none of it changes what is computed, so none of it makes a finished step stale.

    With several processes `batch` and `lr_rule` change batch sizes and learning rates, which do; see `for_processes`.

    Attributes:
        accelerator: as Lightning: auto, cpu, gpu.
        devices: processes on this machine, each with a GPU where there are some; auto: as many as there are GPUs. Those
            that torchrun or srun has started are taken as they are.
        strategy: how several processes train: ddp (each has the whole network), or fsdp (each keeps a share of its
            weights, gradients and optimiser, for networks that are too large for one GPU).
        batch: what a batch_size counts: global (images of all processes together, so that steps and learning rates
            are those of one) or per_device.
        lr_rule: per_device: what multiplies learning rates by the number of processes: none, linear or sqrt.
        sync_batchnorm: batch norm over the images of all processes, on GPUs; else each sees its own.
        precision: as Lightning, or `auto`: bf16-mixed where the hardware is fast at it, else 32-true.
        num_workers: loader processes; default: half of the cores, at most 8, and none on two cores.
        threads: torch's CPU threads; default: torch's own choice.
        val_every: epochs between two looks at the val split while training; the last epoch's figures do not need one.
        progress: bars on terminals, elsewhere a line a minute on how far a long loop is.
        deterministic: only operations that give the same bits every time; torch warns of those that have no such form.
        profiler: write where a training's time goes to `<step>/fit-profile.txt`: simple (by hook), advanced (by Python
            function) or pytorch (by operation); default: none.
    """

    accelerator: str = "auto"
    devices: str = "auto"
    strategy: str = "ddp"
    batch: str = "global"
    lr_rule: str = "none"
    sync_batchnorm: bool = False
    precision: str = "auto"
    num_workers: int | None = None
    threads: int | None = None
    val_every: int = 1
    progress: bool = True
    deterministic: bool = False
    profiler: str | None = None


@dataclass
class LoggerConfig:
    """Where curves go, and, but for the CSV files, the options and the step's figures too; docs/reproducibility.md.

    Attributes:
        csv: `metrics/version_<n>/metrics.csv` in the step's folder, one for each start.
        tensorboard: TensorBoard files in the step's folder; needs the extra `tracking`.
        wandb: a run of Weights & Biases for each training; needs the extra `wandb`.
        mlflow: a run of MLflow for each training; needs the extra `mlflow`.
        project: W&B's project, MLflow's experiment.
        name: of their runs, before the step's; default: the run's.
        tags: W&B's and MLflow's.
        offline: W&B: leave everything in the step's folder; `wandb sync` sends it later.
        tracking_uri: MLflow's server or store; default: MLFLOW_TRACKING_URI, or else a file `mlflow.db` in the run's
            folder.
    """

    csv: bool = True
    tensorboard: bool = True
    wandb: bool = False
    mlflow: bool = False
    project: str = "wsss"
    name: str | None = None
    tags: list[str] = field(default_factory=list)
    offline: bool = False
    tracking_uri: str | None = None


@dataclass
class EarlyStoppingConfig:
    """End a training before its epochs are over; only classifiers and segmenters have a val figure to judge by.

    Attributes:
        patience: looks at the val split (see trainer.val_every) without a rise after which it ends; default: it does
            not.
        min_delta: a rise counts from here on, in the figure's units: mAP up to 1, mIoU in percent.
    """

    patience: int | None = None
    min_delta: float = 0.0


@dataclass
class CallbacksConfig:
    """Lightning's callbacks in all trainings.

    Attributes:
        early_stopping: see `EarlyStoppingConfig`; the one that changes results.
        lr_monitor: learning rates to the loggers, step by step.
        model_summary: print the network's modules to this depth; 0: do not.
        bar_every: progress bar: batches between two drawings.
        bar_stays: progress bar: leave each epoch's on the terminal.
    """

    early_stopping: EarlyStoppingConfig = field(default_factory=EarlyStoppingConfig)
    lr_monitor: bool = False
    model_summary: int = 0
    bar_every: int = 1
    bar_stays: bool = False
