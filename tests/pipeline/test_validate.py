"""A look at a whole data set: lines, tables, a page, and the exit status of the script."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.test_own_data import own_data, small_run
from wsss.data import read_mask, save_mask
from wsss.pipeline.run import Run
from wsss.pipeline.validate import validate


def rows(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text(encoding="utf-8").splitlines()))


@pytest.fixture
def faulty(tmp_path: Path) -> Path:
    """A broken file, a missing one, one lying on its side, one twice, a slip of the pen, a mask of unknown values."""
    root = own_data(tmp_path / "photos", ["rote Äpfel", "pear"], listed=["rote Äpfel", "pear"])
    images = root / "images"
    broken = images / "day 0" / "Möwe 0.jpg"
    broken.write_bytes(broken.read_bytes()[:900])
    (images / "day 1" / "Möwe 1.jpg").unlink()
    exif = Image.Exif()
    exif[0x0112] = 8
    turned = images / "day 0" / "Möwe 2.jpg"
    Image.open(turned).save(turned, exif=exif)
    shutil.copy(images / "day 1" / "Möwe 3.jpg", images / "again.jpg")
    table = (root / "labels.csv").read_text(encoding="utf-8")
    table = table.replace("Möwe 5.jpg,pear", "Möwe 5.jpg,paer") + "\nagain.jpg,pear"
    (root / "labels.csv").write_text(table, encoding="utf-8")
    return root


def test_each_fault_is_one_line_and_the_rest_is_counted(
    faulty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run(faulty, tmp_path / "out")
    found = validate(run)
    printed = capsys.readouterr().out.splitlines()
    for kind, parts in (
        ("error:", ("Möwe 0.jpg: not a readable image",)),
        ("error:", ("Möwe 1: no such image",)),
        ("error:", ("class 'paer' is not in the list; did you mean 'pear'?",)),
        ("note:", ("Möwe 2.jpg: stored lying on its side",)),
        ("note:", ("the same file as", "again.jpg", "Möwe 3.jpg")),
    ):
        (line,) = [line for line in printed if all(part in line for part in parts)]
        assert line.startswith(kind)
    assert len(found.errors) == 3
    assert printed[-1] == "images: 17, errors: 3 (images with one: 3), notes: 2"
    folder = run.folder / "data"
    assert [row[0] for row in rows(folder / "findings.csv")] == ["kind", *["error"] * 3, *["note"] * 2]
    sizes = {row[0]: row[2:4] for row in rows(folder / "images.csv")}
    assert sizes["day 0/Möwe 2"] == ["160", "160"]
    assert sizes["day 0/Möwe 0"] == ["", ""]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "rote Äpfel" in page
    assert "<strong>error:</strong>" in page


def test_counts_of_classes_splits_and_pairs(smoke_run: Run, tmp_path: Path) -> None:
    smoke_run.folder, kept = tmp_path, smoke_run.folder
    try:
        found = validate(smoke_run)
    finally:
        smoke_run.folder = kept
    assert not found.errors
    labels = smoke_run.train_labels.int().numpy()
    counted = rows(tmp_path / "data" / "classes.csv")
    assert counted[0] == ["class", "train", "val"]
    assert [int(row[1]) for row in counted[1:]] == labels.sum(axis=0).tolist()
    every = np.concatenate([labels, smoke_run.val_labels.int().numpy()])
    together = [[int(cell) for cell in row[1:]] for row in rows(tmp_path / "data" / "cooccurrence.csv")[1:]]
    assert together == (every.T @ every).tolist()


def test_masks_with_unknown_values_are_named(tmp_path: Path) -> None:
    root = own_data(tmp_path / "photos", ["cat", "dog"])
    run = small_run(root, tmp_path / "out")
    for image_id in run.val_ids:
        save_mask(root / "masks" / f"{image_id}.png", np.full((160, 160), 1, np.uint8))
    mask = root / "masks" / f"{run.val_ids[0]}.png"
    values = read_mask(mask)
    values[0, 0] = 9
    save_mask(mask, values)
    (fault,) = validate(small_run(root, tmp_path / "out")).errors
    assert f"{mask}: label value 9 is out of range (0 to 2, or 255 for void)" in fault.text


def test_half_a_truth_is_a_fault_beside_the_others(tmp_path: Path) -> None:
    root = own_data(tmp_path / "photos", ["cat", "dog"])
    run = small_run(root, tmp_path / "out")
    save_mask(root / "masks" / f"{run.train_ids[0]}.png", np.zeros((160, 160), np.uint8))
    run.data.image_path(run.val_ids[0]).unlink()
    texts = [fault.text for fault in validate(small_run(root, tmp_path / "out")).errors]
    assert len(texts) == 2
    assert "no such mask, while other images of the split have theirs" in texts[0]
    assert "no such image" in texts[1]


def test_names_are_printed_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = own_data(tmp_path / "photos", ["ring [old]", "[/x]"], listed=["ring [old]", "[/x]"])
    validate(small_run(root, tmp_path / "out"))
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("ring [old]", "[/x]"))
