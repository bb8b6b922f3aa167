"""Scores of a run's networks, of model files, and of label maps of any origin."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.scripts.test_scripts import REPOSITORY, call
from wsss.data import VOID, read_mask, save_mask
from wsss.errors import FaultyDataError, InputError
from wsss.masks import CRFParams
from wsss.metrics import boundary_counts, boundary_iou, confusion_matrix, scores
from wsss.pipeline.config import InferenceConfig
from wsss.pipeline.config.scripts import FoldersConfig
from wsss.pipeline.evaluate import evaluate, evaluate_folders
from wsss.pipeline.networks import new_segmenter, save_segmenter
from wsss.pipeline.predictions import predict
from wsss.pipeline.run import Run

UNTRAINED = (
    *("backbone=resnet18", "backbone.weights=none", "recam=none", "segmenter.init=imagenet"),
    *("segmenter.channels=8", "limit_images=2"),
)
FILES = {"scores.json", "per_class.csv", "confusion.csv", "confusion.png", "iou.csv", "predictions"}


@pytest.fixture
def run(make_run: Callable[..., Run]) -> Run:
    """A run with a network nobody has trained."""
    run = make_run(*UNTRAINED)
    save_segmenter(run, run.folder / "segmenter" / "model.pt", new_segmenter(run))
    return run


@pytest.fixture
def folders(tmp_path: Path) -> FoldersConfig:
    """Three random predictions of three labels and their masks, one of them in a subfolder."""
    rng = np.random.default_rng(0)
    for name in ("one", "two", "sub/three"):
        for folder, values in (("predictions", [0, 1, 2, VOID]), ("masks", [0, 1, 2, 2, VOID])):
            (tmp_path / folder / "sub").mkdir(parents=True, exist_ok=True)
            save_mask(tmp_path / folder / f"{name}.png", rng.choice(np.array(values, np.uint8), (20, 30)))
    paths = {name: str(tmp_path / name) for name in ("predictions", "masks", "out")}
    return FoldersConfig(**paths, classes=["bird", "cow"], jobs=1)


def of_files(pairs: list[tuple[Path, Path]], num_labels: int) -> tuple[NDArray[np.int64], float]:
    """Confusion and mean boundary IoU of files, read and counted here."""
    maps = [(read_mask(mask), read_mask(prediction)) for prediction, mask in pairs]
    boundary = np.sum([boundary_counts(*pair, num_labels) for pair in maps], axis=0)
    confusion = np.sum([confusion_matrix(*pair, num_labels) for pair in maps], axis=0)
    return confusion, float(boundary_iou(boundary).mean)


def test_a_run_is_scored_as_the_options_say_and_every_file_tells_how(run: Run) -> None:
    run.config.inference = InferenceConfig(scales=[0.5, 1.0], flip=True, window=96)
    (evaluation,) = evaluate(run)
    folder = run.folder / "segmenter" / "evaluation" / "mini_voc_val_scale0.5-1_flip_window96_first2"
    assert {path.name for path in folder.iterdir() if not path.name.endswith(".protocol.json")} == FILES
    predictions = [(folder / "predictions" / f"{i}.png", run.data.mask_path(i)) for i in run.val_ids]
    confusion, boundary = of_files(predictions, 6)
    content = json.loads((folder / "scores.json").read_text())
    assert content["confusion"]["pixels"] == evaluation.confusion.tolist() == confusion.tolist()
    assert content["scores"]["miou"] == pytest.approx(100 * scores(confusion).miou, abs=1e-3)
    assert content["scores"]["boundary_miou"] == pytest.approx(100 * boundary, abs=1e-3)
    protocol = content["protocol"]
    assert protocol == evaluation.protocol
    assert {path.name: json.loads(path.read_text()) for path in folder.glob("*.protocol.json")} == {
        f"{name}.protocol.json": protocol for name in ("per_class", "confusion", "iou")
    }
    assert protocol == {
        "scored": "segmenter",
        "data": "mini_voc",
        "split": "val",
        "images": 2,
        "checkpoint": str(run.folder / "segmenter" / "model.pt"),
        "trained_on": None,  # of a network that no step has trained
        "resize_long": None,
        "scales": [0.5, 1.0],
        "flip": True,
        "window": 96,
        "overlap": 0.3333,
        "crf": "none",
        "void": "left out of the truth, wrong in masks",
        "absent": "labels left out of means",
        "boundary": "2 % of the diagonal, pooled",
    }
    with (folder / "per_class.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["background", *run.data.classes]
    assert sum(int(row["true_pixels"]) for row in rows) == confusion.sum()
    with (folder / "confusion.csv").open() as file:
        assert [[int(v) for v in row[1:]] for row in list(csv.reader(file))[1:]] == confusion.tolist()


def test_twin_and_rounds_are_scored_too_and_another_network_leaves_no_old_predictions(run: Run) -> None:
    for step in ("segmenter_supervised", "segmenter_round1"):
        shutil.copytree(run.folder / "segmenter", run.folder / step)
    path = run.folder / "segmenter_supervised" / "manifest.json"
    protocols = {"segmenter/supervised_val_miou": {"trained_on": "truth"}}
    texts = dict.fromkeys(("step", "state", "fingerprint"), "")
    manifest = {**texts, "settings": {}, "inputs": {}, "figures": {}, "protocols": protocols, "seconds": 1}
    path.write_text(json.dumps(manifest))
    stale = run.folder / "segmenter" / "evaluation" / "mini_voc_val_first2" / "predictions" / "old.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    own, of_round, twin = evaluate(run)
    named = [evaluation.protocol["scored"] for evaluation in (own, of_round, twin)]
    assert named == ["segmenter", "segmenter round1", "segmenter supervised"]
    assert (own.protocol["trained_on"], twin.protocol["trained_on"]) == (None, "truth")
    assert own.scores.miou == twin.scores.miou
    assert not stale.exists()


def test_a_model_file_scores_as_the_run_it_comes_from(run: Run, make_run: Callable[..., Run]) -> None:
    model = run.folder / "segmenter" / "model.pt"
    other = make_run("run=other", f"checkpoint={model}", "limit_images=2", "evaluation.void=ignore")
    (evaluation,) = evaluate(other)
    assert evaluation.protocol["checkpoint"] == str(model)
    assert "trained_on" not in evaluation.protocol
    assert evaluation.protocol["void"] == "left out of the truth and of masks"
    assert evaluation.scores.miou == evaluate(run)[0].scores.miou  # no void in its predictions
    folder = other.folder / "evaluation" / "smoke_segmenter_model" / "mini_voc_val_first2_void-ignore"
    assert (folder / "scores.json").is_file()


def test_models_that_do_not_fit_are_refused_before_anything_is_predicted(
    run: Run, make_run: Callable[..., Run], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"its classes are bird, cow.*, those of mini_voc a, b, c, d, e; choose"):
        evaluate(make_run(*UNTRAINED, "data.classes=[a,b,c,d,e]", "data.labels=masks"))
    foreign = tmp_path / "model.pt"
    for content in (b"run: demo\n", b"", b"PK\x03\x04 and no more"):
        foreign.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.pt: not a whole model file"):
            evaluate(make_run(f"checkpoint={foreign}"))
    with pytest.raises(InputError, match="the val images have no masks to score against"):
        evaluate(make_run(*UNTRAINED, "data.mask_folder=nowhere"))
    assert not (run.folder / "segmenter" / "evaluation").exists()


def test_a_crf_afterwards_works_in_full_precision() -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8))
    logits = torch.from_numpy(rng.standard_normal((3, 24, 32), np.float32))

    class Fixed:
        def probabilities(self, image: Image.Image, *, size: object) -> NDArray[np.float32]:
            return logits.softmax(dim=0).numpy()

    config = InferenceConfig(crf=CRFParams())
    expected = predict(Fixed(), image, config)  # type: ignore[arg-type]
    with torch.autocast("cpu", torch.bfloat16):
        assert np.array_equal(predict(Fixed(), image, config), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize(("void", "absent"), [("wrong", "zero"), ("ignore", "skip")])
def test_label_maps_need_no_model(folders: FoldersConfig, void: str, absent: str) -> None:
    folders.void, folders.absent = void, absent
    evaluation = evaluate_folders(folders)
    names = ["one", "two", "sub/three"]
    pairs = [(Path(folders.predictions) / f"{n}.png", Path(folders.masks) / f"{n}.png") for n in names]
    confusion, _ = of_files(pairs, 3)
    assert np.array_equal(evaluation.confusion, confusion)
    assert evaluation.scores.miou == scores(confusion, void=void, absent=absent).miou
    assert evaluation.labels == ["background", "bird", "cow"]
    content = json.loads((Path(folders.out) / "scores.json").read_text())
    assert content["protocol"]["predictions"] == folders.predictions
    assert content["protocol"]["images"] == 3
    assert content["protocol"]["scales"] is None  # the files do not tell
    assert content["scores"]["coverage"] < 100


def test_without_names_the_labels_are_those_that_occur(folders: FoldersConfig) -> None:
    named = evaluate_folders(folders)
    folders.classes = None
    nameless = evaluate_folders(folders)
    assert nameless.labels == ["background", "label 1", "label 2"]
    assert np.array_equal(nameless.confusion, named.confusion)
    assert np.array_equal(nameless.boundary.per_label, named.boundary.per_label)


def test_jobs_change_no_figure(folders: FoldersConfig) -> None:
    one = evaluate_folders(folders)
    folders.jobs = 3
    assert np.array_equal(evaluate_folders(folders).confusion, one.confusion)


def test_names_come_from_a_file_or_a_list_and_label_0_may_be_called_otherwise(
    folders: FoldersConfig, tmp_path: Path
) -> None:
    folders.classes = ["background", "bird", "cow"]
    assert evaluate_folders(folders).labels == ["background", "bird", "cow"]
    (tmp_path / "classes.txt").write_text("bird\ncow\nfish\n")
    folders.classes, folders.background = str(tmp_path / "classes.txt"), "road"
    assert evaluate_folders(folders).labels == ["road", "bird", "cow", "fish"]


def test_a_list_says_what_is_scored(folders: FoldersConfig, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text("two\nsub/three\n")
    (Path(folders.predictions) / "one.png").unlink()
    folders.split = str(tmp_path / "val.txt")
    evaluation = evaluate_folders(folders)
    assert (evaluation.protocol["split"], evaluation.protocol["images"]) == ("val", 2)


def test_label_maps_without_a_mask_are_told_of(folders: FoldersConfig, caplog: pytest.LogCaptureFixture) -> None:
    shutil.copy(Path(folders.predictions) / "one.png", Path(folders.predictions) / "four.png")
    evaluate_folders(folders)
    assert "1 label maps more than" in caplog.text


def test_grey_and_palette_files_are_read_alike(folders: FoldersConfig) -> None:
    before = evaluate_folders(folders)
    path = Path(folders.predictions) / "one.png"
    Image.fromarray(read_mask(path)).save(path)  # grey
    assert np.array_equal(evaluate_folders(folders).confusion, before.confusion)


def test_missing_files_are_counted(folders: FoldersConfig, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (Path(folders.predictions) / f"{name}.png").unlink()
    with pytest.raises(InputError, match=r"one\.png: no such prediction, and 2 of 3 are missing; .*split="):
        evaluate_folders(folders)
    (tmp_path / "val.txt").write_text("four\nsub/three\n")
    folders.split = str(tmp_path / "val.txt")
    with pytest.raises(InputError, match=r"four\.png: no such mask, and 1 of 2 are missing"):
        evaluate_folders(folders)


def test_each_faulty_file_has_a_line(folders: FoldersConfig) -> None:
    predictions, masks = Path(folders.predictions), Path(folders.masks)
    save_mask(predictions / "one.png", np.zeros((8, 9), np.uint8))
    save_mask(masks / "sub" / "three.png", np.full((20, 30), 7, np.uint8))
    Image.new("RGB", (30, 20)).save(predictions / "two.png")
    with pytest.raises(FaultyDataError) as caught:
        evaluate_folders(folders)
    one, three, two = caught.value.messages
    assert f"{predictions}/one.png: 9 × 8 pixels, its mask {masks}/one.png 30 × 20; write" in one
    assert f"{masks}/sub/three.png: label value 7 is beyond the classes (0 to 2, or 255 for void); correct" in three
    assert f"{predictions}/two.png: a mask must hold label values" in two
    assert not list(Path(folders.out).iterdir())


def test_many_faulty_files_end_in_a_count(folders: FoldersConfig) -> None:
    for number in range(40):
        for folder in (folders.predictions, folders.masks):
            Path(folder, f"{number:02}.png").write_bytes(b"not a picture")
    with pytest.raises(FaultyDataError) as caught:
        evaluate_folders(folders)
    assert caught.value.messages[-1] == "and 10 files more"
    assert len(caught.value.messages) == 31


def test_nothing_but_void_is_refused(folders: FoldersConfig) -> None:
    folders.void = "ignore"
    for path in Path(folders.predictions).rglob("*.png"):
        save_mask(path, np.full((20, 30), VOID, np.uint8))
    with pytest.raises(InputError, match="predictions: every pixel that could be scored is void"):
        evaluate_folders(folders)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("predictions", "nowhere", "predictions=nowhere: no such folder"),
        ("masks", "nowhere", "masks=nowhere: no such folder"),
        ("void", "maybe", "void=maybe: expected one of wrong, ignore"),
        ("absent", "maybe", "absent=maybe: expected one of skip, zero"),
        ("jobs", 0, "jobs=0: expected"),
        ("boundary", 2.0, "boundary=2.0: expected"),
        ("classes", "nowhere.txt", "classes=nowhere.txt: no such file"),
        ("classes", ["a", "a"], "different names"),
        ("classes", ["a", "background"], "background is label 0; put it first"),
        ("classes", ["1\tbird"], "found tabs"),
        ("out", "/dev/null/scores", "out=/dev/null/scores: cannot be made"),
        ("split", "nowhere.txt", "nowhere.txt: not a readable text file"),
    ],
)
def test_options_at_fault_are_named(folders: FoldersConfig, option: str, value: object, message: str) -> None:
    setattr(folders, option, value)
    with pytest.raises(InputError, match=message):
        evaluate_folders(folders)


def test_absent_labels_take_a_list_of_labels(folders: FoldersConfig) -> None:
    folders.classes, folders.absent = None, "zero"
    with pytest.raises(InputError, match=r"absent=zero: .*pass classes="):
        evaluate_folders(folders)


def test_lists_and_folders_that_hold_nothing_or_the_same_twice_are_refused(
    folders: FoldersConfig, tmp_path: Path
) -> None:
    listed = tmp_path / "val.txt"
    listed.write_text("one\none\n")
    folders.split = str(listed)
    with pytest.raises(InputError, match=r"val\.txt: one is listed twice"):
        evaluate_folders(folders)
    (tmp_path / "empty").mkdir()
    folders.split, folders.masks = None, str(tmp_path / "empty")
    with pytest.raises(InputError, match="empty: no label map in it"):
        evaluate_folders(folders)


def test_the_script_takes_folders(tmp_path: Path) -> None:
    masks = REPOSITORY / "data" / "mini_voc" / "SegmentationClass"
    (tmp_path / "val.txt").write_text("mini_000001\n")
    common = [f"predictions={masks}", f"masks={masks}", f"split={tmp_path / 'val.txt'}", f"out={tmp_path / 'out'}"]
    result = call("evaluate", *common, f"classes={masks.parent / 'classes.txt'}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert ["mean", *4 * ["100.0"]] in [line.split() for line in result.stdout.splitlines()]
    assert "void left out of the truth, wrong in masks" in result.stdout
    assert (tmp_path / "out" / "confusion.png").stat().st_size > 5000
