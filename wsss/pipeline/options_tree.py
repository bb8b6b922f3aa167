"""What a run begins with, as a tree: of the options of each step those that people ask for first."""

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf
from rich.markup import escape
from rich.tree import Tree

SHOWN = {
    "data": ("root", "train", "val", "labels"),
    "backbone": ("name", "weights", "output_stride"),
    "classifier": ("epochs", "batch_size", "optimizer.name", "optimizer.lr"),
    "recam": ("enabled", "epochs", "sce_weight", "optimizer.lr"),
    "cam": ("seed", "stages", "fusion", "scales", "layer_scales"),
    "masks": ("kind", "refine", "threshold"),
    "segmenter": ("name", "epochs", "batch_size", "optimizer.lr", "init"),
    "trainer": ("accelerator", "devices", "precision"),
}


def options_tree(options: DictConfig, given: Sequence[str]) -> Tree:
    """The tree.

    Args:
        options: as Hydra composed them.
        given: what the command line has of them.
    """
    tree = Tree(f"[bold]{escape(str(options.run))}[/bold], random seed {options.seed}")
    for group, names in SHOWN.items():
        values = {name: OmegaConf.select(options[group], name) for name in names}
        told = (f"{name} [cyan]{escape(str(value))}[/cyan]" for name, value in values.items() if value is not None)
        tree.add(f"{group}: {', '.join(told)}")
    if given:
        tree.add(f"given: {escape(' '.join(given))}")
    return tree
