"""Folders as the public sets of surface defects have them, with small pictures."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 32)  # width, height
WHITE = (slice(4, 12), slice(6, 20))  # where masks of defects are white


def write_mask(path: Path) -> None:
    """White and a grey just above the middle; a grey just below it is no defect."""
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[WHITE] = 255
    mask[WHITE[0].start, WHITE[1]] = 128
    mask[20] = 127
    Image.fromarray(mask).save(path)


def write_picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, SIZE[::-1], np.uint8)
    Image.fromarray(pixels).save(path)


def write_tiles(source: Path, numbers: Iterable[int]) -> Path:
    """MT_* with two exposures of each tile: numbers n and n + 20."""
    kinds = ("Blowhole", "Break", "Crack", "Fray", "Uneven", "Free")
    for place, number in enumerate(numbers):
        kind = kinds[place % len(kinds)]
        for exposure, shot in ((1, number), (4, number + 20)):
            path = source / f"MT_{kind}" / "Imgs" / f"exp{exposure}_num_{shot}.jpg"
            write_picture(path, shot)
            write_mask(path.with_suffix(".png"))
    return source


def write_dagm(source: Path) -> Path:
    """Class1, Class2 and Class10, in each part three pictures of which the second has a defect."""
    for kind in ("Class1", "Class2", "Class10"):
        for part, first in (("Train", 4), ("Test", 1)):
            folder, rows = source / kind / part, ["\ufeff1"]
            (folder / "Label").mkdir(parents=True)
            for number in range(first, first + 3):
                name, has_defect = f"{number:04}", number == first + 1
                write_picture(folder / f"{name}.PNG", number)
                mask = f"{name}_label.PNG" if has_defect else "0"
                if has_defect:
                    write_mask(folder / "Label" / mask)
                rows.append(f"{number}\t{int(has_defect)}\t{name}.PNG\t0\t{mask}")
            (folder / "Label" / "Labels.txt").write_text("\r\n".join(rows), encoding="utf-8")
    return source
