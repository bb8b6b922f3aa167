"""Classification of what lies within boxes: does the classifier know an object from its box alone?"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchmetrics.functional.classification import binary_average_precision
from torchvision import tv_tensors
from torchvision.transforms import v2

from wsss.data import center_transform, loader_processes, read_image
from wsss.metrics.wsol import Box
from wsss.models import Classifier
from wsss.pipeline.drawn_maps import probabilities
from wsss.pipeline.run import Run
from wsss.pipeline.training import autocast, device_of, num_workers

Crop = tuple[str, Box | None]  # image id, and the part of it; None: all of it
BATCH = 32


class CropDataset(Dataset[Tensor]):
    """Parts of photographs, each fitted into the square that the classifier was validated on."""

    def __init__(self, run: Run, crops: Sequence[Crop]) -> None:
        self.run, self.crops = run, crops
        self.transform = center_transform(run.config.classifier.augment.crop)

    def __len__(self) -> int:
        return len(self.crops)

    def __getitem__(self, index: int) -> Tensor:
        image_id, box = self.crops[index]
        photo = read_image(self.run.data.image_path(image_id))
        part = photo if box is None else photo.crop(box)
        seen: Tensor = self.transform(tv_tensors.Image(v2.functional.pil_to_tensor(part)))
        return seen.as_subclass(Tensor)


def classify_crops(run: Run, network: Classifier, crops: Sequence[Crop]) -> dict[Crop, Tensor]:
    """Probabilities (N,) of each crop; one that is named twice is looked at once."""
    wanted = list(dict.fromkeys(crops))
    workers = loader_processes(num_workers(run.config))
    loader = DataLoader(CropDataset(run, wanted), batch_size=BATCH, **workers)
    with torch.no_grad(), autocast(run.config):
        rows = torch.cat([network(batch.to(device_of(run.config))).float().cpu() for batch in loader])
    return dict(zip(wanted, probabilities(run, rows), strict=True))


def enclosing(boxes: Sequence[Box | None]) -> Box | None:
    """The smallest box around boxes; the whole image if one of them is."""
    known = [box for box in boxes if box is not None]
    if not known or len(known) < len(boxes):
        return None
    x0, y0, x1, y1 = zip(*known, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


class CropScores(NamedTuple):
    """Figures in [0, 1] of whole images, and of what lies within boxes.

    Attributes:
        top1: share of the pairs of image and present class for which that class scores highest.
        map: mean average precision over images, each seen within the box around all of its classes' boxes.
    """

    top1: tuple[float, float]
    map: tuple[float, float]


def crop_scores(
    run: Run,
    network: Classifier,
    boxes: Mapping[tuple[str, int], Box | None],
    labels: Mapping[str, Tensor],
    whole: Mapping[str, Tensor],
) -> CropScores:
    """Classify whole images and their crops.

    Args:
        run: for the photographs.
        network: what classifies.
        boxes: (image id, class) -> its box, None where a map has none.
        labels: image id -> multi-hot (N,).
        whole: image id -> probabilities (N,) of the whole image.
    """
    of_images: dict[str, list[Box | None]] = {}
    for (image_id, _), box in boxes.items():
        of_images.setdefault(image_id, []).append(box)
    around = {image_id: enclosing(of_image) for image_id, of_image in of_images.items()}
    found = classify_crops(run, network, [*((image_id, box) for (image_id, _), box in boxes.items()), *around.items()])
    before = [rank_of(whole[image_id], c) == 0 for image_id, c in boxes]
    after = [rank_of(found[image_id, box], c) == 0 for (image_id, c), box in boxes.items()]
    true = torch.stack([labels[image_id] for image_id in around])
    scores = (
        torch.stack([whole[image_id] for image_id in around]),
        torch.stack([found[crop] for crop in around.items()]),
    )
    return CropScores(
        (sum(before) / len(before), sum(after) / len(after)),
        (mean_average_precision(scores[0], true), mean_average_precision(scores[1], true)),
    )


def rank_of(scores: Tensor, index: int) -> int:
    """Place of a class among scores (N,), 0 the highest."""
    return int((scores > scores[index]).sum())


def mean_average_precision(scores: Tensor, labels: Tensor) -> float:
    """Mean over the classes that occur of their average precision; probabilities and labels (B, N)."""
    occurs = labels.any(dim=0).nonzero()[:, 0].tolist()
    columns = [binary_average_precision(scores[:, c], labels[:, c].int()) for c in occurs]
    return float(torch.stack(columns).mean())
