"""Copies of large photographs at the size training needs, so that each is decoded at full size once."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from wsss.photographs import image_size, read_image
from wsss.writing import whole_file

JPEG_QUALITY = 95


@dataclass(frozen=True)
class ImageCache:
    """Photographs with the longer side at `resize_long` pixels at most.

    Attributes:
        folder: where the copies are kept, as JPEG, each with its photograph's time in its name.
        resize_long: longer side of a copy in pixels. Photographs that are no longer are read as they are.
    """

    folder: Path
    resize_long: int

    def read(self, path: Path, image_id: str) -> Image.Image:
        """The photograph `path`, RGB, from its copy if it is large; the first time gives what every time will."""
        width, height = image_size(path)
        if max(width, height) <= self.resize_long:
            return read_image(path)
        state = path.stat()  # a photograph put in the place of another may be older than that one's copy
        copy = self.folder / f"{image_id}-{state.st_mtime_ns:x}-{state.st_size:x}.jpg"
        if not copy.exists():
            factor = self.resize_long / max(width, height)
            size = max(round(width * factor), 1), max(round(height * factor), 1)
            with whole_file(copy) as file:
                read_image(path).resize(size, Image.Resampling.BICUBIC).save(
                    file, format="JPEG", quality=JPEG_QUALITY, subsampling=0
                )
        return read_image(copy)
