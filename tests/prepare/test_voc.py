"""VOC 2012 from its archives: layout, trainaug, labels, counts, and a second call that does nothing."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.prepare.conftest import (
    COUNTS,
    SBD_IDS,
    SIZE,
    TRAIN,
    VAL,
    Server,
    as_archive,
    mask_of,
    mat,
    png,
    write_tar,
)
from wsss.data import read_mask
from wsss.errors import InputError
from wsss.prepare import prepare_voc

REPOSITORY = Path(__file__).parents[2]
LABELS = "image,labels\na_train,aeroplane;person\nb_train,dog\nc_val,cat\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "VOC2012"


def prepare(root: Path, archives: Path, **options: object) -> int:
    voc, sbd = as_archive(archives / "voc.tar"), as_archive(archives / "sbd.tgz")
    settings = {"sbd": True, "counts": COUNTS, "trainval": voc, "sbd_archive": sbd} | options
    return prepare_voc(root, archives=archives, **settings)  # type: ignore[arg-type]


def files_of(root: Path) -> dict[str, int]:
    return {p.relative_to(root).as_posix(): p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}


def write_sbd(archives: Path, name: str, content: bytes) -> None:
    write_tar(archives / "sbd.tgz", {f"benchmark_RELEASE/dataset/cls/{name}.mat": content})


def test_the_layout_holds_what_segmentation_needs(root: Path, archives: Path) -> None:
    prepare(root, archives)
    folders = {Path(name).parent.as_posix() for name in files_of(root)}
    needed = {"JPEGImages", "SegmentationClass", "SegmentationClassAug", "Annotations", "ImageSets/Segmentation"}
    assert folders == {".", *needed}
    assert len(list((root / "JPEGImages").iterdir())) == 5


def test_trainaug_is_train_and_what_sbd_has_beyond_val(root: Path, archives: Path) -> None:
    prepare(root, archives)
    listed = (root / "ImageSets/Segmentation/trainaug.txt").read_text()
    assert listed == "a_train\nb_train\nd_sbd\ne_sbd\n"


@pytest.mark.parametrize("converted", [False, True])
def test_masks_are_vocs_where_voc_has_one_and_else_sbds_pixel_for_pixel(
    root: Path, archives: Path, tmp_path: Path, converted: bool
) -> None:
    if converted:  # the archive that people pass around, in place of SBD's own
        (archives / "sbd.tgz").unlink()
        with zipfile.ZipFile(archives / "SegmentationClassAug.zip", "w") as archive:
            for image_id in SBD_IDS:
                archive.writestr(f"SegmentationClassAug/{image_id}.png", png(mask_of(image_id, sbd=True), tmp_path))
            archive.writestr("__MACOSX/SegmentationClassAug/._d_sbd.png", b"of no use")
    folder = root / "SegmentationClassAug"
    folder.mkdir(parents=True)
    (folder / "a_train.png").write_bytes(png(mask_of("a_train", sbd=True), tmp_path))  # of an earlier merging, say
    prepare(root, archives)
    assert {p.stem for p in folder.iterdir()} == {*TRAIN, *VAL, *SBD_IDS}
    for image_id in ("d_sbd", "e_sbd"):
        np.testing.assert_array_equal(read_mask(folder / f"{image_id}.png"), mask_of(image_id, sbd=True))
    for image_id in TRAIN + VAL:
        assert (folder / f"{image_id}.png").read_bytes() == (root / f"SegmentationClass/{image_id}.png").read_bytes()


def test_labels_are_a_table_of_all_listed_images(root: Path, archives: Path) -> None:
    prepare(root, archives, sbd=False)
    assert (root / "labels.csv").read_bytes() == LABELS.encode()
    prepare(root, archives)
    assert (root / "labels.csv").read_bytes() == f"{LABELS}d_sbd,sofa\ne_sbd,\n".encode()


def test_labels_from_masks_are_those_of_trainaugs_masks(root: Path, archives: Path) -> None:
    prepare(root, archives, labels="masks")
    rows = dict(line.split(",") for line in (root / "labels.csv").read_text().splitlines()[1:])
    names = {3: "bird", 20: "tvmonitor"}
    for image_id in ("a_train", "c_val", "d_sbd"):
        values = np.unique(mask_of(image_id, sbd=image_id == "d_sbd"))
        assert rows[image_id] == ";".join(names[v] for v in values if v in names)


def test_a_second_call_does_nothing_and_says_so(root: Path, archives: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert prepare(root, archives) > 0
    before = files_of(root)
    for archive in archives.iterdir():
        archive.rename(archive.with_suffix(".used"))
    caplog.clear()
    assert prepare(root, archives) == 0
    assert files_of(root) == before
    assert "train 2, val 1, trainaug 4; all there already, nothing done" in caplog.text
    assert f"next: python scripts/run_pipeline.py experiment=voc_recam data.root={root}" in caplog.text


def test_without_trainaug_the_next_command_trains_on_train(
    root: Path, archives: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    prepare(root, archives, sbd=False)
    assert caplog.text.rstrip().endswith(f"data.root={root} data.train=train")


def test_an_interrupted_merging_goes_on(root: Path, archives: Path) -> None:
    whole = (archives / "sbd.tgz").read_bytes()
    files = {f"dataset/cls/{i}.mat": mat(mask_of(i, sbd=True)) for i in ("d_sbd", "c_val", "b_train")}
    write_tar(archives / "sbd.tgz", {**files, "dataset/cls/e_sbd.mat": b"damaged"})
    with pytest.raises(InputError, match=r"sbd\.tgz/dataset/cls/e_sbd\.mat: not a readable mask"):
        prepare(root, archives)
    kept = files_of(root)
    assert "SegmentationClassAug/d_sbd.png" in kept
    assert "ImageSets/Segmentation/trainaug.txt" not in kept
    (archives / "sbd.tgz").write_bytes(whole)
    prepare(root, archives)
    after = files_of(root)
    assert {name: after[name] for name in kept} == kept
    assert "ImageSets/Segmentation/trainaug.txt" in after


def test_missing_files_come_back_once_the_lists_are_deleted(root: Path, archives: Path) -> None:
    prepare(root, archives)
    (root / "JPEGImages/d_sbd.jpg").unlink()
    with pytest.raises(InputError, match=r"d_sbd\.jpg: no such file \(1 missing in trainaug\); delete .*Segmentation"):
        prepare(root, archives)
    for path in (root / "ImageSets/Segmentation").iterdir():
        path.unlink()
    prepare(root, archives)
    assert (root / "JPEGImages/d_sbd.jpg").exists()


@pytest.mark.parametrize(
    ("split", "found"), [("train", r"2 \(ImageSets"), ("trainaug", r"4 \(train 2, sbd\.tgz 4, .*1")]
)
def test_counts_unlike_the_published_ones_are_refused(root: Path, archives: Path, split: str, found: str) -> None:
    with pytest.raises(InputError, match=rf"{split}: expected 9 images, found {found}.*--any-count"):
        prepare(root, archives, counts=COUNTS | {split: 9})
    assert not (root / "SegmentationClassAug").exists()
    assert prepare(root, archives, counts={}) > 0


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (mat(np.zeros((2, 2), np.uint8)), "expected uint8 6 × 4, found uint8 2 × 2"),
        (mat(np.zeros(SIZE[::-1], np.float64)), "expected uint8 6 × 4, found float64 6 × 4"),
        (mat(np.full(SIZE[::-1], 21, np.uint8)), "label value 21 is out of range"),
    ],
)
def test_masks_that_do_not_fit_are_named(root: Path, archives: Path, content: bytes, fault: str) -> None:
    write_sbd(archives, "d_sbd", content)
    with pytest.raises(InputError, match=rf"cls/d_sbd\.mat: .*{fault}"):
        prepare(root, archives, counts={})


def test_sbd_without_masks_and_images_without_a_photograph_are_refused(root: Path, archives: Path) -> None:
    write_sbd(archives, "unknown", mat(mask_of("d_sbd", sbd=True)))
    with pytest.raises(InputError, match=r"unknown\.jpg: no such file"):
        prepare(root, archives, counts={})
    write_tar(archives / "sbd.tgz", {"readme": b""})
    with pytest.raises(InputError, match=r"sbd\.tgz: holds no masks"):
        prepare(root, archives, counts={})


def test_the_test_archive_is_taken_where_it_lies(root: Path, archives: Path) -> None:
    lists, photo = "VOCdevkit/VOC2012/ImageSets/Segmentation/test.txt", "VOCdevkit/VOC2012/JPEGImages/t_test.jpg"
    write_tar(archives / "VOC2012test.tar", {lists: b"t_test\n", photo: b"jpeg"})
    prepare(root, archives)
    assert (root / "JPEGImages/t_test.jpg").read_bytes() == b"jpeg"
    assert "t_test" not in (root / "labels.csv").read_text()


def test_what_is_missing_is_downloaded(root: Path, archives: Path, server: Server) -> None:
    server.content = (archives / "voc.tar").read_bytes()
    voc = as_archive(archives / "voc.tar", server.url)
    (archives / "voc.tar").unlink()
    prepare(root, archives, trainval=voc, sbd=False)
    assert (root / "labels.csv").exists()
    assert server.served == [len(server.content)]


def test_a_disk_that_refuses_is_one_line(root: Path, archives: Path) -> None:
    root.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=re.escape(str(root))):
        prepare(root, archives)


def test_the_script_ends_in_one_line(root: Path, tmp_path: Path, server: Server) -> None:
    server.status = 404
    command = [sys.executable, "scripts/prepare_voc.py", "--root", str(root), "--voc-url", server.url]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"error: {server.url}: the server refused it")
    assert "VOCtrainval_11-May-2012.tar" in result.stderr
    assert not (tmp_path / "archives" / "VOCtrainval_11-May-2012.tar").exists()
