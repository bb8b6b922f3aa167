"""The steps, really run on a slice of mini_voc."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

import wsss
from wsss.errors import InputError
from wsss.models.files import read_model
from wsss.pipeline.make_masks import make_masks
from wsss.pipeline.make_seeds import make_seeds
from wsss.pipeline.run import Run
from wsss.pipeline.run_all import run_pipeline
from wsss.pipeline.self_training import train_segmenters
from wsss.pipeline.train_classifier import train_classifier, train_classifiers
from wsss.seeds import load_seeds


@pytest.mark.slow
def test_no_file_of_a_run_holds_pickled_objects(smoke_run: Run) -> None:
    """Every file is of a kind that cannot, or opens as one that does not."""
    readers: dict[str, Callable[[Path], object]] = {
        ".pt": read_torch,
        ".ckpt": read_torch,
        ".npz": read_arrays,
        ".json": lambda path: json.loads(path.read_text()),
        ".yaml": lambda path: yaml.safe_load(path.read_text()),
        ".csv": Path.read_text,
        ".html": Path.read_text,
    }
    paths = [path for path in smoke_run.folder.parent.rglob("*") if path.is_file()]
    plain = {".png", ".jpg", ".txt", ".log", ".lock", ""}
    for path in paths:
        assert path.read_bytes()[:2] not in {bytes([0x80, protocol]) for protocol in range(2, 6)}, path
        if path.suffix in readers:
            readers[path.suffix](path)
        else:
            assert path.suffix in plain or path.name.startswith("events.out.tfevents"), path
    assert {".pt", ".ckpt", ".npz", ".json", ".yaml", ".csv", ".html"} <= {path.suffix for path in paths}


def read_torch(path: Path) -> None:
    torch.load(path, weights_only=True)
    with zipfile.ZipFile(path) as archive:
        names = [name.partition("/")[2] for name in archive.namelist()]
    known = {"data.pkl", "byteorder", "version", ".format_version", ".storage_alignment", ".data/serialization_id"}
    assert all(name in known or name.startswith("data/") for name in names), names


def read_arrays(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())
    with np.load(path, allow_pickle=False) as file:
        assert all(file[name].dtype != object for name in file)


def test_the_pipeline_leaves_every_figure_with_its_protocol(smoke_run: Run) -> None:
    results = json.loads((smoke_run.folder / "results.json").read_text())
    protocols = json.loads((smoke_run.folder / "protocols.json").read_text())
    expected = {"seeds/miou", "seeds/oracle_miou", "seeds/cam/miou", "seeds/recam/miou", "seeds/recam_w1w2/miou"}
    expected |= {"seeds/layer_cam/miou", "masks/miou", "masks/oracle_miou", "masks/coverage", "segmenter/val_miou"}
    expected |= {f"time/{step}_s" for step in ("classifier", "recam", "seeds", "masks", "segmenter")}
    assert expected <= set(results)
    for key in expected:
        if not key.startswith("time/"):
            assert protocols[key]["data"] == "mini_voc"
            assert protocols[key]["images"] == 24
    assert protocols["seeds/oracle_miou"]["threshold_from"] == "oracle"
    assert "no truth" in protocols["masks/miou"]["threshold_from"]
    assert results["seeds/oracle_miou"] >= results["seeds/miou"]
    assert results["masks/oracle_miou"] >= results["masks/miou"]


def test_every_score_of_label_maps_says_what_was_scored_and_how(smoke_run: Run) -> None:
    protocols = json.loads((smoke_run.folder / "protocols.json").read_text())
    stamps = [stamp for key, stamp in protocols.items() if key.endswith("miou")]
    tables = [path for name in ("iou.csv", "curve.csv") for path in smoke_run.folder.rglob(name)]
    assert len(tables) == 5  # seeds and masks have both, the segmenter one
    stamps += [json.loads(path.with_suffix(".protocol.json").read_text()) for path in tables]
    for stamp in stamps:
        assert stamp["scored"] in ("seeds", "masks", "segmenter")
        assert {"data", "split", "images", "void", "crf", "scales", "flip"} <= set(stamp)
        assert stamp["scored"] == "segmenter" or "threshold" in stamp or "layer_scales" in stamp  # a curve has many


def test_every_train_image_has_a_seed_and_a_mask_of_its_present_classes(smoke_run: Run) -> None:
    for image_id, labels in zip(smoke_run.train_ids, smoke_run.train_labels, strict=True):
        present = labels.nonzero()[:, 0].tolist()
        seeds = load_seeds(smoke_run.folder / "seeds" / f"{image_id}.npz")
        assert seeds.classes.tolist() == present
        assert seeds.maps.shape == (len(present), 40, 40)
        assert 0 <= seeds.maps.min() <= seeds.maps.max() <= 1
        with Image.open(smoke_run.folder / "masks" / f"{image_id}.png") as mask:
            assert mask.size == seeds.size[::-1]
            assert set(np.unique(np.array(mask))) <= {0, *(c + 1 for c in present)}


def test_a_trained_segmenter_labels_a_photograph(smoke_run: Run) -> None:
    segmenter = wsss.load_segmenter(smoke_run.folder / "segmenter" / "model.pt")
    path = smoke_run.data.image_path(smoke_run.val_ids[0])
    labels = segmenter(path)
    assert labels.shape == (160, 160)
    assert labels.dtype == np.uint8
    saved = np.array(Image.open(smoke_run.folder / "segmenter" / "predictions" / f"{smoke_run.val_ids[0]}.png"))
    np.testing.assert_array_equal(labels, saved)
    with pytest.raises(InputError, match="holds a recam"):
        wsss.load_segmenter(smoke_run.folder / "recam" / "model.pt")


def test_checkpoints_load_without_executing_anything(smoke_run: Run) -> None:
    assert read_model(smoke_run.folder / "recam" / "model.pt", kinds=("recam",)).classes == list(smoke_run.data.classes)
    torch.load(smoke_run.folder / "classifier" / "checkpoints" / "last.ckpt", weights_only=True)


def test_a_second_run_skips_every_finished_step(smoke_run: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in smoke_run.folder.glob("*/model.pt")}
    seeds = {path: path.stat().st_mtime_ns for path in smoke_run.folder.glob("seeds/*.npz")}
    run_pipeline(Run(smoke_run.config))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert seeds == {path: path.stat().st_mtime_ns for path in seeds}


def test_the_report_is_written(smoke_run: Run) -> None:
    assert "<html" in (smoke_run.folder / "report" / "index.html").read_text()


def test_a_changed_option_is_refused_until_overwrite_is_said(make_run: Callable[..., Run]) -> None:
    common = ["recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=8", "classifier.batch_size=4"]
    train_classifier(make_run(*common))
    with pytest.raises(InputError, match=r"classifier\.epochs 1 → 2.*overwrite=true") as caught:
        train_classifier(make_run(*common, "classifier.epochs=2"))
    assert "\n" not in str(caught.value)
    step = train_classifier(make_run(*common, "classifier.epochs=2", "overwrite=true"))
    assert json.loads(step.manifest_path.read_text())["settings"]["classifier"]["epochs"] == 2


def test_an_interrupted_step_makes_only_what_is_missing(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=6", "masks=threshold"]
    run = make_run(*options, "classifier.batch_size=3", "cam.seed=[cam]", "cam.extra=[]")
    train_classifiers(run)
    from wsss.pipeline import make_seeds as module

    written: list[str] = []
    original = module.save_seeds

    def failing(path: Path, *args: object) -> None:
        if len(written) == 3:
            raise KeyboardInterrupt
        written.append(path.stem)
        original(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "save_seeds", failing)
    with pytest.raises(KeyboardInterrupt):
        make_seeds(run)
    kept = {p: p.stat().st_mtime_ns for p in (run.folder / "seeds" / "maps" / "cam").glob("*.npz")}
    assert len(kept) == 3
    monkeypatch.setattr(module, "save_seeds", original)
    make_seeds(run)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    make_masks(run)
    assert len(list((run.folder / "masks").glob("*.png"))) == 6


def test_training_goes_on_from_the_last_epoch(make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=8", "classifier.batch_size=4"]
    run = make_run(*options, "classifier.epochs=2")
    from wsss.pipeline.training import EpochLines

    calls: list[int] = []

    def interrupt(self: EpochLines, trainer: object, module: object) -> None:
        calls.append(trainer.current_epoch)  # type: ignore[attr-defined]
        if len(calls) == 2:
            raise RuntimeError("power cut")

    monkeypatch.setattr(EpochLines, "on_train_epoch_end", interrupt)
    with pytest.raises(RuntimeError, match="power cut"):
        train_classifier(run)
    train_classifier(make_run(*options, "classifier.epochs=2"))
    assert calls == [0, 1, 1]


def test_two_runs_with_one_seed_are_equal(make_run: Callable[..., Run]) -> None:
    options = ["recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=6", "classifier.batch_size=3"]
    options.append("reuse=false")
    states = []
    for name in ("a", "b"):
        step = train_classifier(make_run(*options, f"run={name}"))
        states.append(read_model(step.folder / "model.pt", kinds=("classifier",)).state_dict)
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16"])
def test_classifier_then_recam_train_a_step(make_run: Callable[..., Run], backbone: str) -> None:
    options = [f"backbone={backbone}", "backbone.weights=none", "limit_images=4", "backbone.output_stride=16"]
    sizes = ["classifier.batch_size=4", "recam.batch_size=4", "classifier.augment.crop=64"]
    # An untrained network after one large step may have no positive map at all, and then SCE has no gradient.
    steps = ["classifier.optimizer.lr=1e-6"]
    run = make_run(*options, *sizes, *steps)
    train_classifiers(run)
    before = read_model(run.folder / "classifier" / "model.pt", kinds=("classifier",)).state_dict
    after = read_model(run.folder / "recam" / "model.pt", kinds=("recam",)).state_dict
    assert after["fc2.weight"].abs().sum() > 0
    assert not torch.equal(before["fc1.weight"], after["fc1.weight"])
    deep = next(key for key in before if key.startswith("backbone.stages.stage5") and key.endswith("weight"))
    assert not torch.equal(before[deep], after[deep])


def test_without_truth_the_pipeline_leaves_the_scores_out(make_run: Callable[..., Run], tmp_path: Path) -> None:
    source = make_run().data.root
    root = tmp_path / "no_truth"
    root.mkdir()
    for name in ("JPEGImages", "Annotations", "ImageSets", "classes.txt"):
        (root / name).symlink_to(source / name)
    options = ["recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=6", "masks=threshold"]
    run = make_run(*options, f"data.root={root}", "classifier.batch_size=3", "segmenter.batch_size=3")
    run_pipeline(run)
    results = json.loads((run.folder / "results.json").read_text())
    assert not [key for key in results if key.endswith("miou")]
    assert len(list((run.folder / "segmenter" / "predictions").glob("*.png"))) == 6


def test_the_supervised_twin_is_scored_beside_the_segmenter(make_run: Callable[..., Run]) -> None:
    run = make_run("recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=6", "masks=threshold",
                   "classifier.batch_size=3", "segmenter.batch_size=3", "segmenter.supervised_twin=true",
                   "segmenter.init=classifier")  # fmt: skip
    train_classifiers(run)
    make_seeds(run)
    make_masks(run)
    train_segmenters(run)
    assert {"segmenter/val_miou", "segmenter/supervised_val_miou"} <= set(run.write_results())


def test_a_run_ends_after_the_step_it_is_told(make_run: Callable[..., Run]) -> None:
    options = ["recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=6", "classifier.batch_size=3"]
    run = make_run("until=seeds", *options)
    results = run_pipeline(run)
    assert "seeds/miou" in results
    assert {path.name for path in run.folder.iterdir() if path.is_dir()} == {"classifier", "seeds"}


def test_a_slow_kind_is_tried_on_a_few_images(make_run: Callable[..., Run]) -> None:
    options = ["recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=6", "classifier.batch_size=3"]
    run = make_run(*options, "cam.limit_images=2", "cam=layer_cam")
    train_classifier(run)
    step = make_seeds(run)
    assert len(list(step.folder.glob("*.npz"))) == 2
    assert step.protocols["seeds/miou"]["images"] == 2
    with pytest.raises(InputError, match=r"cam\.limit_images.*all train images"):
        make_masks(run)
