"""How large the data set is that a plan is made for: as it lies there, or as it is known or described beforehand."""

from dataclasses import replace

from wsss.data import image_size
from wsss.errors import InputError
from wsss.pipeline.config import Config
from wsss.pipeline.cost_model import Facts
from wsss.pipeline.run import Run
from wsss.pipeline.trial import spread

LOOKED_AT = 1000  # images whose size is read
# Data sets that are known by their name before they are there.
KNOWN = {
    # SBD's trainaug, scored on VOC's train; 1.5 classes an image.
    "VOC 2012": Facts(10_582, 1_464, 1_464, 1_449, True, (375, 500), 20, 1.5, "known"),
    # 2.9 classes an image (Chen et al., CVPR 2019, ML-GCN).
    "COCO 2014": Facts(82_783, 82_783, 82_783, 40_504, True, (480, 640), 80, 2.9, "known"),
}


def facts_of(run: Run) -> Facts:
    """How large a run's data set is, but for what the options say instead."""
    options = run.config.plan
    for name in ("image_size", "classes", "classes_per_image"):
        if getattr(options, name) is not None:
            raise InputError(f"plan.{name}: the data set is there ({run.data.root}) and shows it; leave it out")
    sizes = [image_size(run.data.image_path(i)) for i in spread(run.train_ids, LOOKED_AT)]
    width, height = (round(sum(sides) / len(sizes)) for sides in zip(*sizes, strict=True))
    has_truth = run.has_train_truth
    facts = Facts(
        images=len(run.train_ids),
        truth=len(run.truth_ids) if has_truth else 0,
        scored=len(run.score_ids) if has_truth else 0,
        val_images=len(run.val_ids),
        has_val_truth=run.has_val_truth,
        size=(height, width),
        num_classes=run.data.num_classes,
        classes_per_image=float(run.train_labels.sum()) / len(run.train_ids),
        source=f"as in {run.data.root}",
    )
    return _with_options(facts, run.config)


def described(config: Config) -> Facts:
    """How large a data set is that is not there: one of `KNOWN`, or as the options say.

    Raises:
        InputError: if they do not say enough.
    """
    options, known = config.plan, KNOWN.get(config.data.name or "")
    if known is None:
        needed = ("images", "val_images", "image_size", "classes")
        missing = [name for name in needed if getattr(options, name) is None]
        if missing:
            raise InputError(
                f"data.root={config.data.root}: no data set there; describe it by "
                + " ".join(f"plan.{name}=…" for name in missing)
            )
        known = Facts(0, 0, 0, 0, True, (0, 0), 1, 1.5, "described")
    size = known.size if options.image_size is None else (options.image_size[0], options.image_size[1])
    facts = replace(
        known,
        size=size,
        num_classes=options.classes or known.num_classes,
        classes_per_image=options.classes_per_image or known.classes_per_image,
        source=f"{known.source}, not in {config.data.root} yet: made-up images were measured",
    )
    facts = _with_options(facts, config)
    limit = config.limit_images
    if limit is None:
        return facts
    limited = {name: min(getattr(facts, name), limit) for name in ("images", "truth", "scored", "val_images")}
    return replace(facts, **limited)


def _with_options(facts: Facts, config: Config) -> Facts:
    """Counts that the options give in place of what was found."""
    options = config.plan
    images = options.images or facts.images
    in_all = facts.scored == facts.images  # the data set has true masks throughout
    scored = options.scored if options.scored is not None else images if in_all else min(facts.scored, images)
    truth = scored if options.scored is not None or in_all else min(facts.truth, images)
    return replace(facts, images=images, truth=truth, scored=scored, val_images=options.val_images or facts.val_images)
