"""Seeds drawn under Lightning's predict loop, which brings devices, precision and processes; writing is a thread's."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities import move_data_to_device
from torch import Tensor, nn

from wsss.cudnn import FamiliarSizes
from wsss.data import Sample
from wsss.memory import by_halves

# Of each image, a tensor or a mapping to tensors.
Draw = Callable[[Tensor, Sequence[Sequence[int]]], Mapping[str, Sequence[Any]]]
Write = Callable[[str, str, Any, Sequence[int]], None]


class SeedTask(pl.LightningModule):
    """Draw the maps of a batch's present classes; the last batch's are written while the network is at the next.

    Args:
        network: what `draw` runs; here so that Lightning brings it to the device.
        draw: images (B, 3, H, W) and the present classes of each -> kind -> list over images of maps (K_b, h, w),
            or of mappings to maps.
        write: kind, image id, maps on the CPU, their classes.
    """

    def __init__(self, network: nn.Module, draw: Draw, write: Write) -> None:
        super().__init__()
        self.network, self.draw, self.write = network, draw, write
        self.sizes = FamiliarSizes(network)
        self.pending: list[Future[None]] = []
        self.allow_zero_length_dataloader_with_multiple_devices = True  # there may be fewer batches than processes

    def on_predict_start(self) -> None:
        """One thread writes, in order."""
        self.writer = ThreadPoolExecutor(max_workers=1)

    def predict_step(self, batch: Sample, batch_idx: int) -> None:
        """Draw, and hand over to the writer."""
        present = [labels.nonzero()[:, 0].tolist() for labels in batch.labels]

        def draw(places: Sequence[int]) -> list[dict[str, Any]]:
            part = slice(places[0], places[-1] + 1)
            drawn = self.draw(batch.images[part], present[part])
            drawn = move_data_to_device(drawn, torch.device("cpu"))
            return [{kind: maps[place] for kind, maps in drawn.items()} for place in range(len(places))]

        with self.sizes.of(batch.images):
            drawn = by_halves(draw, range(len(batch.images)))
        self._wait()
        self.pending = [self.writer.submit(self._write, batch.ids, present, drawn)]

    def on_predict_end(self) -> None:
        """The last batch."""
        self._wait()
        self.writer.shutdown()

    def _wait(self) -> None:
        for future in self.pending:
            future.result()  # raises what writing raised

    def _write(self, ids: Sequence[str], present: Sequence[Sequence[int]], drawn: Sequence[dict[str, Any]]) -> None:
        for image_id, classes, of_image in zip(ids, present, drawn, strict=True):
            for kind, maps in of_image.items():
                self.write(kind, image_id, maps, classes)
