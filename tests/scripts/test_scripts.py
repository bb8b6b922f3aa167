"""Scripts as users call them: one-line errors, no tracebacks, a next command."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.pipeline.conftest import compose_config
from tests.segmenters import save_small_segmenter
from wsss.pipeline.run import Run
from wsss.pipeline.run_lock import sole_start

REPOSITORY = Path(__file__).parents[2]
SCRIPTS = (
    "explain",
    "faithfulness",
    "localize",
    "train_cls",
    "make_seeds",
    "make_masks",
    "train_seg",
    "evaluate",
    "export",
    "report",
    "plan",
    "run_pipeline",
    "summarize",
    "prepare_coco",
    "prepare_defects",
    "prepare_voc",
    "export_masks",
    "import_masks",
    "validate_data",
    "predict",
)


def call(script: str, *overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "scripts" / f"{script}.py"), *overrides]
    environment = {**os.environ, "COLUMNS": "400", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, env=environment, check=False)


def assert_one_line_error(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    for part in ("error:", *parts):
        assert part in lines[0]


@pytest.fixture
def small_voc(tmp_path: Path) -> Path:
    """A copy of mini_voc's first four train and val images, to be damaged."""
    source, root = REPOSITORY / "data" / "mini_voc", tmp_path / "small_voc"
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    shutil.copy(source / "classes.txt", root)
    for folder in ("JPEGImages", "SegmentationClass", "Annotations"):
        (root / folder).mkdir()
    for split in ("train", "val"):
        ids = (source / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()[:4]
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(ids))
        for image_id in ids:
            for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png"), ("Annotations", "xml")):
                shutil.copy(source / folder / f"{image_id}.{suffix}", root / folder)
    return root


@pytest.mark.parametrize("fault", ["folder", "image", "class", "size", "value"])
def test_wrong_input_ends_in_one_line_before_training(small_voc: Path, tmp_path: Path, fault: str) -> None:
    image_id = (small_voc / "ImageSets" / "Segmentation" / "train.txt").read_text().split()[-1]
    image = small_voc / "JPEGImages" / f"{image_id}.jpg"
    mask = small_voc / "SegmentationClass" / f"{image_id}.png"
    annotation = small_voc / "Annotations" / f"{image_id}.xml"
    root, parts = small_voc, [image_id]
    if fault == "folder":
        root, parts = tmp_path / "nowhere", ["nowhere", "data.root"]
    elif fault == "image":
        image.write_bytes(image.read_bytes()[:1000])
    elif fault == "class":
        name = next(n for n in ("bird", "cow", "fish", "flower", "produce") if f"<name>{n}<" in annotation.read_text())
        annotation.write_text(annotation.read_text().replace(f"<name>{name}<", "<name>dragon<"))
        parts += ["dragon", "data.classes"]
    elif fault == "size":
        Image.open(mask).resize((20, 20)).save(mask)
        parts += ["20 × 20", "160 × 160"]
    elif fault == "value":
        labels = Image.open(mask)
        labels.putpixel((0, 0), 77)
        labels.save(mask)
        parts += ["77", "out of range"]
    result = call("train_cls", "experiment=smoke", f"data.root={root}", f"outputs={tmp_path / 'out'}")
    assert_one_line_error(result, *parts)
    assert not list((tmp_path / "out").glob("**/model.pt"))


def test_a_step_before_its_input_names_the_script_to_run(tmp_path: Path) -> None:
    result = call("make_masks", "experiment=smoke", f"outputs={tmp_path}")
    assert_one_line_error(result, "make_seeds.py run=smoke")


def test_options_of_another_data_set_are_refused(tmp_path: Path) -> None:
    result = call("prepare_defects", "--dataset", "dagm", "--source", str(tmp_path), "--full")
    assert_one_line_error(result, "--dataset dagm", "--full", "magnetic_tile")


def test_a_benchmark_of_no_run_shows_no_traceback(tmp_path: Path) -> None:
    assert_one_line_error(call("../benchmarks/defects", str(tmp_path / "none")), "none")


def test_a_second_start_in_a_run_is_refused_and_a_look_at_it_is_not(tmp_path: Path) -> None:
    options = ["experiment=smoke", "backbone.weights=none", f"outputs={tmp_path}", "run=taken"]
    with sole_start(tmp_path / "taken"):
        assert_one_line_error(call("train_cls", *options), f"process {os.getpid()} on", "choose another run=<name>")
        result = call("validate_data", *options, "limit_images=4")
    assert result.returncode == 0, result.stderr


def test_an_unknown_option_shows_no_traceback(tmp_path: Path) -> None:
    result = call("train_cls", "classifier.epoch=3", f"outputs={tmp_path}")
    assert result.returncode != 0
    assert "epoch" in result.stderr
    assert "Traceback" not in result.stderr


def test_missing_weights_file_names_the_remedy(tmp_path: Path) -> None:
    result = call("train_cls", "experiment=smoke", f"outputs={tmp_path}", "backbone.weights=missing.pth")
    assert_one_line_error(result, "missing.pth", "imagenet")


def test_each_script_prints_what_it_wrote_and_the_next_command(tmp_path: Path) -> None:
    options = ["experiment=smoke", f"outputs={tmp_path}", "limit_images=8", "recam=none", "masks=threshold"]
    options += ["trainer.num_workers=0", "classifier.batch_size=4", "segmenter.batch_size=4", "run=by_hand"]
    chain = ["train_cls", "make_seeds", "make_masks", "train_seg", "report"]
    for script, following in zip(chain, [*chain[1:], None], strict=True):
        result = call(script, *options)
        assert result.returncode == 0, result.stdout + result.stderr
        assert f"wrote {tmp_path}/by_hand" in result.stdout
        if following is not None:
            assert f"next: python scripts/{following}.py {' '.join(options)}" in result.stdout


def test_a_report_is_written_of_a_folder_alone(tmp_path: Path) -> None:
    options = ["experiment=smoke", f"outputs={tmp_path}", "limit_images=4", "recam=none", "until=seeds"]
    assert call("run_pipeline", *options, "run='a=b,c'", "report.num_images=2").returncode == 0  # as in a sweep
    folder = tmp_path / "a=b,c"
    page = folder / "report" / "index.html"
    assert not page.exists()
    result = call("report", str(folder), "report.num_images=3")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "3 of 4 images" in page.read_text(encoding="utf-8")
    assert_one_line_error(call("report", str(folder), "classifier.epochs=3"), "classifier.epochs=3", "report.<option>")
    assert_one_line_error(call("report", str(folder), "report.nothing=3"), "report.nothing")
    assert_one_line_error(call("report", str(folder), "report.side=0"), "report.side")
    assert_one_line_error(call("report", str(tmp_path / "none")), "none", "no such file", "outputs/demo")


def test_hydras_own_errors_are_one_line_too(tmp_path: Path) -> None:
    outputs = f"outputs={tmp_path}"
    assert_one_line_error(call("make_seeds", "cam=gradcam", outputs), "cam=gradcam", "grad_cam_pp", "mean grad_cam?")
    assert_one_line_error(call("make_seeds", "cam.stagez=[stage5]", outputs), "stagez")
    assert_one_line_error(call("make_seeds", "recam.augment.crop=64", outputs), "a group that is null")
    assert_one_line_error(call("plan", "experiment=smoke", "reproduce=x", outputs), "plan.py plans the options given")
    assert_one_line_error(call("make_seeds", "cam.stages=stage5", outputs), "stages")
    assert_one_line_error(call("make_seeds", "cam.stages=[stage5,stage5]", outputs), "each stage once")


def test_explain_takes_any_method_and_fusion(tmp_path: Path) -> None:
    photo = next((REPOSITORY / "data" / "mini_voc" / "JPEGImages").iterdir())
    common = [f"image={photo}", "model=resnet18", "weights=none", f"out={tmp_path}", "resize_long=64"]
    result = call("explain", *common, "cam=grad_cam", "fusion=max")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (tmp_path / f"{photo.stem}.png").exists()
    assert_one_line_error(call("explain", *common, "cam=gradcam"), "cam=gradcam", "grad_cam_pp")
    assert_one_line_error(call("explain", *common, "classes=[]"), "classes", "at least one")
    mixer = call("explain", f"image={photo}", "model=mixer_s32_224", "weights=none", f"out={tmp_path}")
    assert_one_line_error(mixer, "mixer_s32_224", "320 × 320")


def test_masks_go_out_and_come_back_by_the_scripts(tmp_path: Path) -> None:
    truth = REPOSITORY / "data" / "mini_voc"
    Run(compose_config("experiment=smoke", f"data.root={truth}", f"outputs={tmp_path}", "limit_images=3")).save_config()
    run = tmp_path / "smoke"
    shutil.copytree(truth / "SegmentationClass", run / "masks")
    common = ["--what", "masks", "--out", str(tmp_path / "out")]
    result = call("export_masks", str(run), "--format", "coco", "png", "--segmentation", "polygons", *common)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"wrote {tmp_path}/out/png: 3 images" in result.stdout
    corrected = ["--run", str(run), "--out", str(tmp_path / "corrected")]
    result = call("import_masks", str(tmp_path / "out" / "png"), *corrected)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"segmenter.masks={tmp_path}/corrected" in result.stdout
    files = sorted((tmp_path / "corrected").iterdir())
    assert len(files) == 3
    assert all(path.read_bytes() == (tmp_path / "out" / "png" / path.name).read_bytes() for path in files)
    assert_one_line_error(call("import_masks", str(tmp_path / "out" / "png"), *corrected), "corrected", "--out")
    assert_one_line_error(call("export_masks", str(tmp_path), "--format", "voc", *common), "config.yaml", "a run")


def test_predict_takes_the_presets_and_ends_with_status_1_for_what_it_could_not_read(tmp_path: Path) -> None:
    save_small_segmenter(tmp_path / "model.pt")
    photos = tmp_path / "photos"
    photos.mkdir()
    shutil.copy(next((REPOSITORY / "data" / "mini_voc" / "JPEGImages").iterdir()), photos / "whole.jpg")
    (photos / "broken.jpg").write_bytes(b"no picture")
    options = [f"checkpoint={tmp_path / 'model.pt'}", f"out={tmp_path / 'out'}", "trainer=cpu"]
    result = call("predict", *options, f"images={photos}", "inference=multi_scale")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "broken.jpg: not a readable image" in result.stdout
    assert "1 photographs predicted, 0 kept, 1 unreadable" in result.stdout
    assert '"inference.flip": true' in (tmp_path / "out" / "predictions.json").read_text()
    assert_one_line_error(call("predict", *options), "images has no value; pass images=<value>")


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_says_what_it_does_with_three_examples(script: str) -> None:
    source = (REPOSITORY / "scripts" / f"{script}.py").read_text()
    assert source.count(f"python scripts/{script}.py") >= 3


def test_help_shows_the_examples_and_the_options() -> None:
    result = call("run_pipeline", "--help")
    assert result.returncode == 0
    assert "python scripts/run_pipeline.py" in result.stdout
    assert "sce_weight" in result.stdout
