"""A run's folder: what is kept, redone, left out and refused."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import REPOSITORY
from wsss.errors import InputError
from wsss.pipeline.evaluate import evaluate
from wsss.pipeline.make_masks import make_masks
from wsss.pipeline.make_seeds import make_seeds
from wsss.pipeline.processes import Place
from wsss.pipeline.run import Run, open_run
from wsss.pipeline.self_training import train_segmenters
from wsss.pipeline.step import Step
from wsss.pipeline.train_classifier import train_classifier

SMALL = ("recam=none", "backbone=resnet18", "backbone.weights=none", "limit_images=6", "classifier.batch_size=3")


def finish(run: Run, name: str, settings: dict[str, object], inputs: list[str]) -> Step:
    """A step that does nothing but leave a file and a figure."""
    step = run.step(name, settings, inputs)
    with step.working():
        (step.folder / "model.pt").touch()
        step.add_figure(f"{name}/miou", 50.0)
    return step


def test_figures_that_belong_to_redone_inputs_are_left_out(make_run: Callable[..., Run]) -> None:
    run = make_run()
    finish(run, "classifier", {"lr": 1}, [])
    finish(run, "seeds", {}, ["classifier"])
    finish(run, "masks", {}, ["seeds"])
    assert {"classifier/miou", "seeds/miou", "masks/miou"} <= set(run.write_results())
    finish(make_run("overwrite=true"), "classifier", {"lr": 2}, [])
    figures = {key for key in run.write_results() if key.endswith("/miou")}
    assert figures == {"classifier/miou"}


def test_one_folder_spelt_two_ways_is_one_data_set(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    finish(make_run("data.root=data/mini_voc"), "classifier", {}, [])
    assert make_run("data.root=data/../data/mini_voc").step("classifier", {}, []).is_finished


def test_a_start_that_failed_at_once_does_not_hold_the_folder(make_run: Callable[..., Run]) -> None:
    run = make_run()
    step = run.step("classifier", {"lr": 1}, [])
    with pytest.raises(RuntimeError), step.working():
        raise RuntimeError("out of memory")
    assert not step.is_finished
    finish(run, "classifier", {"lr": 2}, [])
    with pytest.raises(InputError, match=r"lr 2 → 3.*overwrite=true"):
        finish(run, "classifier", {"lr": 3}, [])


def test_the_time_of_an_interrupted_step_adds_up(make_run: Callable[..., Run]) -> None:
    run = make_run()
    step = run.step("classifier", {}, [])
    with pytest.raises(KeyboardInterrupt), step.working():
        raise KeyboardInterrupt
    manifest = json.loads(step.manifest_path.read_text())
    step.manifest_path.write_text(json.dumps(manifest | {"seconds": 1000.0}))
    finish(run, "classifier", {}, [])
    assert run.write_results()["time/classifier_s"] >= 1000


def test_a_damaged_manifest_is_named(make_run: Callable[..., Run]) -> None:
    step = finish(make_run(), "classifier", {}, [])
    step.manifest_path.write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json: not readable JSON .* delete"):
        make_run().step("seeds", {}, ["classifier"])


def test_a_damaged_checkpoint_is_named(make_run: Callable[..., Run]) -> None:
    run = make_run(*SMALL)
    last = run.folder / "classifier" / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"last\.ckpt: damaged; delete it"):
        train_classifier(run)


def test_an_interruption_after_the_last_epoch_is_mended(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsss.pipeline import train_classifier as module

    original = module.save_classifier

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "save_classifier", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(make_run(*SMALL))
    monkeypatch.setattr(module, "save_classifier", original)
    step = train_classifier(make_run(*SMALL))
    assert step.is_finished
    assert "classifier/val_map" in step.figures


def test_evaluation_on_another_split_leaves_the_runs_figures_alone(make_run: Callable[..., Run]) -> None:
    options = (*SMALL, "masks=threshold", "segmenter.batch_size=3")
    run = make_run(*options)
    with pytest.raises(InputError, match=r"model\.pt"):
        evaluate(run)
    train_classifier(run)
    make_seeds(run)
    make_masks(run)
    train_segmenters(run)
    before = run.write_results()
    (again,) = evaluate(run)
    assert again.means["miou"] == pytest.approx(before["segmenter/val_miou"], abs=1e-4)
    (of_train,) = evaluate(make_run(*options, "data.val=train"))
    assert of_train.protocol["split"] == "train"
    folder = run.folder / "segmenter" / "evaluation" / "mini_voc_train_first6"
    assert len(list((folder / "predictions").glob("*.png"))) == 6
    assert run.write_results() == before


def test_ctrl_c_while_training_is_an_interruption(
    make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    from wsss.tasks.classification import ClassifierTask

    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ClassifierTask, "training_step", pressed)
    with pytest.raises(KeyboardInterrupt):  # Lightning itself would end the process with exit(1)
        train_classifier(make_run(*SMALL))


def test_changed_labels_make_a_step_stale(make_run: Callable[..., Run], tmp_path: Path) -> None:
    source, root = make_run().data.root, tmp_path / "data"
    shutil.copytree(source / "Annotations", root / "Annotations")
    for name in ("JPEGImages", "SegmentationClass", "ImageSets"):
        (root / name).symlink_to(source / name)
    (root / "classes.txt").write_text((source / "classes.txt").read_text())

    def step() -> Step:
        return make_run(f"data.root={root}").step("classifier", {}, [])

    finish(make_run(f"data.root={root}"), "classifier", {}, [])
    assert step().is_finished
    annotation = root / "Annotations" / f"{make_run().train_ids[0]}.xml"
    before = annotation.read_text()
    names = re.findall("<name>([a-z]+)</name>", before)
    other = next(name for name in make_run().data.classes if name not in names)
    annotation.write_text(before.replace(f"<name>{names[0]}<", f"<name>{other}<"))
    assert not step().is_finished
    annotation.write_text(before)
    assert step().is_finished
    (root / "classes.txt").write_text("\n".join(reversed(make_run().data.classes)))
    assert not step().is_finished


def test_what_is_deleted_is_made_again(make_run: Callable[..., Run]) -> None:
    options = (*SMALL, "masks=threshold", "segmenter.batch_size=3")
    run = make_run(*options)
    train_classifier(run)
    make_seeds(run)
    make_masks(run)
    seeds, mask = run.folder / "seeds" / f"{run.train_ids[0]}.npz", run.folder / "masks" / f"{run.train_ids[0]}.png"
    contents = seeds.read_bytes(), mask.read_bytes()
    mask.unlink()
    with pytest.raises(InputError, match=r"make_masks\.py` makes what is missing"):
        train_segmenters(make_run(*options))
    seeds.unlink()
    make_seeds(make_run(*options))
    make_masks(make_run(*options))
    assert contents == (seeds.read_bytes(), mask.read_bytes())


def test_truth_that_comes_later_is_scored(make_run: Callable[..., Run], tmp_path: Path) -> None:
    source, root = make_run().data.root, tmp_path / "data"
    root.mkdir()
    for name in ("JPEGImages", "Annotations", "ImageSets", "classes.txt"):
        (root / name).symlink_to(source / name)
    options = (*SMALL, "masks=threshold", f"data.root={root}")
    run = make_run(*options)
    train_classifier(run)
    make_seeds(run)
    make_masks(run)
    assert not [key for key in run.write_results() if key.endswith("miou")]
    (root / "SegmentationClass").symlink_to(source / "SegmentationClass")
    run = make_run(*options)
    assert train_classifier(run).is_finished
    make_seeds(run)
    make_masks(run)
    assert {"seeds/miou", "masks/miou"} <= set(run.write_results())


def test_a_step_with_the_same_options_is_taken_from_another_run(make_run: Callable[..., Run]) -> None:
    first = finish(make_run("run=first"), "classifier", {"lr": 1}, [])
    (first.folder / "metrics").mkdir()
    (first.folder / "metrics" / "metrics.csv").write_text("1")
    other = make_run("run=sweep/second")
    assert other.step("classifier", {"lr": 1}).skip()
    assert (other.folder / "classifier" / "metrics" / "metrics.csv").read_text() == "1"
    assert other.write_results()["classifier/miou"] == 50.0
    assert (other.folder / "environment.json").is_file()
    manifest = json.loads((other.folder / "classifier" / "manifest.json").read_text())
    assert manifest["taken_from"] == first.folder.parent.as_posix()
    assert not [path for path in other.folder.iterdir() if path.name.startswith(".")]
    finish(other, "seeds", {}, ["classifier"])
    assert make_run("run=sweep/third", "reuse=true").step("classifier", {"lr": 1}).skip()
    shutil.rmtree(first.folder)
    assert other.step("classifier", {"lr": 1}).is_finished


def test_other_options_versions_and_half_steps_are_not_taken(make_run: Callable[..., Run]) -> None:
    first = finish(make_run("run=first"), "classifier", {"lr": 1}, [])
    assert not make_run("run=second").step("classifier", {"lr": 2}).skip()
    assert not make_run("run=second", "reuse=false").step("classifier", {"lr": 1}).skip()
    assert not make_run("run=second", "seed=1").step("classifier", {"lr": 1}).skip()
    assert not make_run("run=second", "trainer.precision=bf16-mixed").step("classifier", {"lr": 1}).skip()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wsss.pipeline.environment.place", lambda: Place(rank=0, world=2))
        assert not make_run("run=second").step("classifier", {"lr": 1}).skip()
    manifest = json.loads(first.manifest_path.read_text())
    for change in ({"versions": {"wsss": "0.0"}}, {"state": "running"}):
        first.manifest_path.write_text(json.dumps(manifest | change))
        assert not make_run("run=second").step("classifier", {"lr": 1}).skip()
    first.manifest_path.write_text("{")
    assert not make_run("run=second").step("classifier", {"lr": 1}).skip()
    first.manifest_path.write_text(json.dumps(manifest))
    (first.folder / "model.pt").unlink()
    assert not make_run("run=second").step("classifier", {"lr": 1}).skip()


def test_a_taken_step_outlives_changes_of_its_twin(make_run: Callable[..., Run]) -> None:
    first = finish(make_run("run=first"), "classifier", {"lr": 1}, [])
    second = make_run("run=second").step("classifier", {"lr": 1})
    assert second.skip()
    finish(make_run("run=first", "overwrite=true"), "classifier", {"lr": 2}, [])
    assert second.is_finished
    assert not first.is_finished


def test_a_run_is_opened_from_the_options_it_keeps(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("run=sweep/first", "limit_images=3", "masks.area=0.3")
    run.save_config()
    opened = open_run(run.folder)
    assert (opened.folder, opened.train_ids) == (run.folder, run.train_ids)
    assert opened.config.masks == run.config.masks
    shutil.move(run.folder, tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    assert open_run(Path()).folder == tmp_path / "moved"


@pytest.mark.parametrize("text", [None, "a: [", "just words", "- 1", "no_such_option: 1", "seed: many"])
def test_a_folder_without_a_runs_options_is_named(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(InputError, match=r"config\.yaml: no(t the options of a run| such file)") as caught:
        open_run(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kept", [0.0, 0.004, 0.3, 0.9, 0.999])
def test_options_that_are_cut_short_are_told_and_written_anew(
    make_run: Callable[..., Run], kept: float, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run()
    run.save_config()
    path = run.folder / "config.yaml"
    whole = path.read_text()
    path.write_text(whole[: int(len(whole) * kept)])
    with pytest.raises(InputError, match=r"config\.yaml: not the options of a run"):
        open_run(run.folder)
    run.save_config()
    assert "config.yaml: not the options of a run" in caplog.text
    assert "written anew" in caplog.text
    assert path.read_text() == whole


@pytest.mark.parametrize("kept", [None, 0, 500])
def test_options_that_are_damaged_are_mended_where_steps_are_kept(
    make_run: Callable[..., Run], kept: int | None
) -> None:
    step = finish(make_run(), "classifier", {}, [])
    path = step.run.folder / "config.yaml"
    whole = path.read_text()
    path.unlink() if kept is None else path.write_text(whole[:kept])
    assert make_run().step("classifier", {}, []).skip()
    assert path.read_text() == whole


def test_options_that_a_person_has_changed_are_read_without_their_first_line(make_run: Callable[..., Run]) -> None:
    run = make_run()
    run.save_config()
    path = run.folder / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "seed: 7"))
    with pytest.raises(InputError, match="take out its first line"):
        open_run(run.folder)
    path.write_text(path.read_text().partition("\n")[2])
    assert open_run(run.folder).config.seed == 7


def test_images_that_chose_options_are_trained_on_and_not_scored(make_run: Callable[..., Run], tmp_path: Path) -> None:
    plain = make_run("limit_images=4")
    tuned = own_list(make_run, tmp_path, plain.train_ids[:2])
    assert (tuned.train_ids, tuned.truth_ids) == (plain.train_ids, plain.train_ids)
    assert tuned.score_ids == plain.train_ids[2:]
    assert tuned.scored_split == "train without tuned"


def test_a_tuned_image_outside_the_train_split_is_named(make_run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.tuned_on=tuned: image elsewhere is not in data\.train=train"):
        own_list(make_run, tmp_path, ["elsewhere"])


def own_list(make_run: Callable[..., Run], tmp_path: Path, ids: list[str]) -> Run:
    """A run on mini_voc with a list `tuned` of its own."""
    source, root = make_run().data.root, tmp_path / "data"
    root.mkdir()
    for path in source.iterdir():
        if path.name != "ImageSets":
            (root / path.name).symlink_to(path)
    shutil.copytree(source / "ImageSets", root / "ImageSets")
    (root / "ImageSets/Segmentation/tuned.txt").write_text("\n".join(ids) + "\n")
    return make_run("limit_images=4", f"data.root={root}", "data.tuned_on=tuned")
