"""A run's masks and predictions go out in every format, and corrected ones come back."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from wsss.data import read_mask, save_mask
from wsss.defaults import EXPORT_FORMATS
from wsss.errors import InputError
from wsss.pipeline import train_segmenter
from wsss.pipeline.export_masks import export_masks
from wsss.pipeline.import_masks import import_masks
from wsss.pipeline.run import Run


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    """A run that has the truth for its masks and predictions."""
    run = make_run("limit_images=3", "data.score=train")
    for ids, folder in ((run.train_ids, "masks"), (run.val_ids, "segmenter/predictions")):
        for image_id in ids:
            labels = read_mask(run.data.mask_path(image_id))
            save_mask(run.folder / folder / f"{image_id}.png", np.where(labels == 255, 0, labels))
    return run


def corrected_file(run: Run, folder: Path, **image: Any) -> Path:
    """The exported annotations of the first train image, all of them made the first class."""
    pytest.importorskip("pycocotools")
    export_masks(run, folder, what="masks", formats=["coco"])
    path = folder / "coco" / "annotations.json"
    content = json.loads(path.read_text())
    content["images"] = [content["images"][0] | image]
    content["annotations"] = [a | {"category_id": 1} for a in content["annotations"] if a["image_id"] == 1]
    path.write_text(json.dumps(content))
    return path


def test_each_format_gets_a_folder_of_its_own(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    formats = [name for name in EXPORT_FORMATS if name != "voc"]  # which refuses a part of the split, see below
    for what, ids in (("masks", run.train_ids), ("predictions", run.val_ids)):
        out = tmp_path / what
        export_masks(run, out, what=what, formats=[*formats, formats[0]])  # once each
        assert sorted(path.name for path in out.iterdir()) == sorted(formats)
        images = json.loads((out / "coco" / "annotations.json").read_text())["images"]
        assert [image["file_name"] for image in images] == [f"{image_id}.jpg" for image_id in ids]
        assert sorted(path.stem for path in (out / "yolo" / "labels").iterdir()) == sorted(ids)
        assert sorted(path.stem for path in (out / "png").glob("*.png")) == sorted(ids)


def test_a_part_of_the_split_is_no_entry_for_the_server(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"these are 3,.*without limit_images"):
        export_masks(run, tmp_path / "out", what="predictions", formats=["voc"])
    assert not list((tmp_path / "out").iterdir())


def test_images_without_labels_and_masks_are_predicted_for_the_server(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "voc"
    shutil.copytree(run.data.root / "ImageSets", root / "ImageSets")
    (root / "ImageSets" / "Segmentation" / "test.txt").write_text("new/one\ntwo\n")
    for name in ("Annotations", "SegmentationClass", "classes.txt"):
        (root / name).symlink_to(run.data.root / name)
    for name in ("new/one", "two"):
        (root / "JPEGImages" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (7, 5)).save(root / "JPEGImages" / f"{name}.jpg")
    run.config.data.root = str(root)
    run = Run(run.config)
    seen = []

    def segment(image: Image.Image) -> np.ndarray:
        seen.append(image.size)
        return np.ones((image.height, image.width), np.uint8)

    monkeypatch.setattr(train_segmenter, "load_segmenter", lambda *_, **__: segment)
    export_masks(run, tmp_path / "out", what="predictions", split="test", formats=["voc", "png"])
    with tarfile.open(tmp_path / "out" / "voc" / "results.tar.gz") as archive:
        names = [name.partition("comp6_test_cls/")[2] for name in archive.getnames()]
    assert names == ["new/one.png", "two.png"]
    assert read_mask(tmp_path / "out" / "png" / "two.png").tolist() == [[1] * 7] * 5
    export_masks(run, tmp_path / "again", what="predictions", split="test", formats=["png"])
    assert seen == [(7, 5)] * 2
    with pytest.raises(InputError, match="--split test: a run has masks of train alone"):
        export_masks(run, tmp_path / "masks", what="masks", split="test", formats=["png"])


def test_what_is_missing_names_its_script_or_file(run: Run, tmp_path: Path) -> None:
    (run.folder / "masks" / f"{run.train_ids[1]}.png").unlink()
    with pytest.raises(InputError, match=rf"{run.train_ids[1]}\.png: .*make_masks\.py"):
        export_masks(run, tmp_path / "out", what="masks", formats=["png"])
    (run.folder / "segmenter" / "predictions" / f"{run.val_ids[1]}.png").unlink()
    with pytest.raises(InputError, match=r"segmenter/model\.pt: no such model"):
        export_masks(run, tmp_path / "out", what="predictions", formats=["png"])


def test_an_export_is_not_mixed_with_another(run: Run, tmp_path: Path) -> None:
    export_masks(run, tmp_path / "out", what="masks", formats=["png"])
    with pytest.raises(InputError, match="out/png: there is something already"):
        export_masks(run, tmp_path / "out", what="predictions", formats=["png"])


def test_corrected_masks_come_alone_or_with_the_runs_own(run: Run, tmp_path: Path) -> None:
    path = corrected_file(run, tmp_path / "out")
    import_masks(run, path, tmp_path / "alone")
    assert [file.stem for file in (tmp_path / "alone").iterdir()] == run.train_ids[:1]
    import_masks(run, path, tmp_path / "all", complete=True)
    for image_id in run.train_ids:
        own = read_mask(run.folder / "masks" / f"{image_id}.png")
        expected = (own > 0).astype(np.uint8) if image_id == run.train_ids[0] else own
        np.testing.assert_array_equal(read_mask(tmp_path / "all" / f"{image_id}.png"), expected)


def test_a_faulty_import_leaves_nothing(run: Run, tmp_path: Path) -> None:
    path = corrected_file(run, tmp_path / "out", file_name=f"{run.val_ids[0]}.jpg")
    with pytest.raises(InputError, match=f"{run.val_ids[0]}.jpg is none of the run's train images"):
        import_masks(run, path, tmp_path / "new")
    with pytest.raises(InputError, match="nowhere: no such file or folder"):
        import_masks(run, tmp_path / "nowhere", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_runs_own_masks_are_not_written_over(run: Run) -> None:
    with pytest.raises(InputError, match="masks: there is something already"):
        import_masks(run, run.folder / "masks", run.folder / "masks")


def test_ids_in_folders_go_out_and_come_back(make_run: Callable[..., Run], tmp_path: Path) -> None:
    source, root = make_run().data, tmp_path / "own"
    ids = [f"trip/{name}" for name in make_run().train_ids[:2]]
    for image_id in ids:
        for path in (source.image_path, source.annotation_path):
            target = root / path(image_id).relative_to(source.root)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path(Path(image_id).name), target)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(source.classes))
    for split in ("train", "val"):
        (lists / f"{split}.txt").write_text("\n".join(ids))
    run = make_run(f"data.root={root}")
    for image_id in ids:
        labels = read_mask(source.mask_path(Path(image_id).name))
        save_mask(run.folder / "masks" / f"{image_id}.png", np.where(labels == 255, 0, labels))
    export_masks(run, tmp_path / "out", what="masks", formats=["voc", "png"])
    import_masks(run, tmp_path / "out" / "png", tmp_path / "new")
    for image_id in ids:
        name = f"{image_id}.png"
        assert (tmp_path / "new" / name).read_bytes() == (run.folder / "masks" / name).read_bytes()
