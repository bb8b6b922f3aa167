import numpy as np
import pytest
from PIL import Image

from tests.report.conftest import FakeRun
from wsss.data import read_mask, save_mask
from wsss.metrics import confusion_matrix, iou
from wsss.report.run_files import RunFiles
from wsss.report.scored import score_images


def test_images_are_scored_alone_and_pooled(full_run: FakeRun) -> None:
    found = score_images(RunFiles(full_run.folder), full_run.description, "masks", full_run.train_ids)
    counts = {
        image_id: confusion_matrix(
            read_mask(full_run.description.mask_path(image_id)), read_mask(full_run.folder / f"masks/{image_id}.png"), 4
        )
        for image_id in full_run.train_ids
    }
    np.testing.assert_array_equal(found.confusion, sum(counts.values()))
    assert found.miou == {image_id: pytest.approx(100 * float(iou(c).mean)) for image_id, c in counts.items()}


def test_what_cannot_be_scored_is_passed_over(run: FakeRun) -> None:
    run.description.mask_path("im_0").unlink()
    (run.folder / "masks" / "im_1.png").unlink()
    Image.new("L", (3, 3)).save(run.folder / "masks" / "im_2.png")
    save_mask(run.folder / "masks" / "im_3.png", np.full((24, 32), 9, np.uint8))
    save_mask(run.description.mask_path("im_4"), np.full((24, 32), 255, np.uint8))
    files = RunFiles(run.folder)
    found = score_images(files, run.description, "masks", run.train_ids)
    assert [*found.miou] == ["im_5"]
    assert [note.split(" (")[0] for note in sorted(files.notes)] == [
        "score of masks/im_2.png",
        "score of masks/im_3.png",
    ]
    assert not score_images(files, run.description, "masks", []).confusion.any()


def test_images_in_folders_are_found_by_their_ids(run: FakeRun) -> None:
    for name in ("seeds/day/one.npz", "masks/day/two.png", "masks/day/notes.txt"):
        (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (run.folder / name).touch()
    assert {name for name in RunFiles(run.folder).ids("seeds", "masks") if "day" in name} == {"day/one", "day/two"}
