"""What was once read wrong, for ever, or beyond all memory, each refused in its own words."""

from __future__ import annotations

import json
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.faults.hostile import arrays, images, models, runs, texts
from wsss.data import DataDescription, describe, read_mask, read_split
from wsss.data.boxes import boxes_in_xml
from wsss.errors import FaultyDataError, InputError
from wsss.exports.coco import decode, encode
from wsss.exports.regions import Region
from wsss.models import load_segmenter
from wsss.models.files import read_checkpoint
from wsss.models.loading import check_plain, filled
from wsss.models.weights import read_state_dict
from wsss.photographs import read_image
from wsss.pipeline.predict import find_photographs
from wsss.pipeline.run import Run, kept_config
from wsss.prepare import unpack
from wsss.reading import read_figures, read_json
from wsss.seeds import load_seeds


def refused(read: Callable[[], object], *says: str) -> None:
    """Refused in one line with these words."""
    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message
    for words in says:
        assert words in message


def test_messages_are_one_printable_line_of_some_length() -> None:
    assert str(InputError("a.csv: \x1b[31mred\0\n\ud800 ends")) == "a.csv: \\x1b[31mred\\x00 \\ud800 ends"
    assert len(str(InputError("x" * 10**6))) < 2000
    faults = FaultyDataError(["a\nb", "c\x07"])
    assert faults.messages == ["a b", "c\\x07"]
    assert str(faults) == "a b\nc\\x07"


# Pictures.


@pytest.mark.parametrize("depth", [2, 4])
def test_a_grey_mask_of_few_bits_is_refused_for_its_values_are_spread(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "mask.png"
    path.write_bytes(images.png(8, 2, depth, 0, zlib.compress((b"\0" + bytes(depth)) * 2)))
    refused(lambda: read_mask(path), "mask.png: a mask must hold label values", "fewer than 8 bits")


def test_a_jpeg_is_no_mask_whatever_it_is_called(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "mask.png", "JPEG")
    refused(lambda: read_mask(tmp_path / "mask.png"), "mask.png: not a readable mask")


def test_a_photograph_of_more_pixels_than_memory_is_for_is_refused(tmp_path: Path) -> None:
    Image.new("1", (20_000, 5001)).save(tmp_path / "vast.png")
    refused(lambda: read_image(tmp_path / "vast.png"), "vast.png: not a readable image (20000 × 5001, more than 100")


def test_a_device_is_no_photograph(tmp_path: Path) -> None:
    (tmp_path / "photo.png").symlink_to("/dev/zero")
    refused(lambda: read_image(tmp_path / "photo.png"), "photo.png: not a readable image (not a plain file)")


# Seeds.


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"maps": np.full((2, 4, 5), np.nan, np.float16)}, "maps of nan"),
        ({"maps": np.full((2, 4, 5), 7, np.float16)}, "expected 0 to 1"),
        ({"maps": np.zeros((2, 4, 5), np.int64)}, "maps int64"),
        ({"classes": np.array([-1, 3])}, "expected different ones from 0"),
        ({"classes": np.array([3, 3])}, "expected different ones from 0"),
        ({"classes": np.array([0.5, 3])}, "classes float64"),
        ({"size": np.array([10**9, 10**9])}, "size 1000000000"),
        ({"size": np.array([4.0, 5.0])}, "size 4.0"),
        ({"size": np.array([0, 5])}, "size 0"),
        ({"format": np.array(0)}, "format 0"),
        ({"format": np.array([2])}, "format [2]"),
        ({"format": np.array("2")}, "format 2"),
    ],
)
def test_seeds_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    np.savez(tmp_path / "a.npz", **{**arrays.GOOD, **change})
    refused(lambda: load_seeds(tmp_path / "a.npz"), "a.npz: not a seed file", says)


def test_seeds_with_an_array_twice_are_refused(tmp_path: Path) -> None:
    path = arrays.right(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("maps.npy", b"")
    refused(lambda: load_seeds(path), "an array is there twice")


# Tables, lists, annotations.


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (",,\n,,\n", "no columns"),
        ("image,labels\na\0b,cat\n", "line 2: image 'a\\x00b' is not a path below"),
        ('image,labels\n"a\nb",cat\n', "is not a path below"),
        (f"image,labels\n{'x' * 300},cat\n", "is not a path below"),
        (f"image,labels\none,{'x' * 300}\n", "a name of 300 letters"),
        ("image,labels\none,c\x1bat\n", "class 'c\\x1bat' holds control characters"),
        ("\n".join(["image,labels", *(f"i{n},class{n}x" for n in range(3000))]), "got 3000"),
    ],
)
def test_tables_of_names_that_are_none_are_refused(tmp_path: Path, table: str, says: str) -> None:
    path = texts.right_table(tmp_path)
    path.write_text(table)
    refused(lambda: describe(path.parent), "labels.csv", says)


def test_a_table_of_endless_names_is_not_divided_by_them(tmp_path: Path) -> None:
    root = texts.right_table(tmp_path).parent
    (root / "labels.csv").write_text("\n".join(["image,labels", *(f"i{n},name{n}x" for n in range(3000))]))
    data = describe(root, classes=["cat", "dog"])
    refused(lambda: read_split(data, "train"), "labels.csv: 3000 different names for 2 classes")


def test_a_long_list_with_an_id_twice_is_refused_at_once(tmp_path: Path) -> None:
    root = texts.right_table(tmp_path).parent
    (root / "train.txt").write_text("\n".join([f"i{n}" for n in range(50_000)] + ["i49999"]))
    refused(lambda: read_split(describe(root), "train"), "train.txt: image i49999 is listed twice")


def test_a_file_name_of_several_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "a\nb.png").touch()
    refused(lambda: describe(tmp_path), "a file name with control characters; rename")
    refused(lambda: find_photographs(str(tmp_path), tmp_path / "out"), "a file name with control characters; rename")


@pytest.mark.parametrize(
    "head", ["<!DOCTYPE a>", '<!DOCTYPE a [<!ENTITY e "x">]>', '<!DOCTYPE a SYSTEM "file:///etc/passwd">']
)
def test_an_annotation_with_a_document_type_is_refused(tmp_path: Path, head: str) -> None:
    (tmp_path / "a.xml").write_text(f"{head}<annotation/>")
    refused(lambda: boxes_in_xml(tmp_path / "a.xml", ["cat"]), "a.xml: not readable XML (it declares a document type")


def test_a_box_beyond_all_pictures_is_refused(tmp_path: Path) -> None:
    path = texts.right_annotation(tmp_path)
    path.write_text(path.read_text().replace("2.5", "1e300"))
    refused(lambda: boxes_in_xml(path, ["dog"]), "image.xml: object dog: its box")


@pytest.mark.parametrize("kind", ["categories", "images"])
def test_coco_entries_of_one_id_are_refused(tmp_path: Path, kind: str) -> None:
    whole = json.loads(json.dumps(texts.INSTANCES))
    whole[kind].append({**whole[kind][0], "name": "dog", "file_name": "three.png"})
    path = texts.right_coco(tmp_path, whole)
    refused(
        lambda: texts.import_coco(path),
        f"instances.json: not COCO instances with segmentations (ValueError: two {kind}",
    )


@pytest.mark.parametrize("name", ["../outside.png", "/etc/x.png", "a\nb.png", "sea/two.png"])
def test_coco_names_of_files_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    whole = json.loads(json.dumps(texts.FLAT))
    whole["images"][0]["file_name"] = name
    path = texts.right_coco(tmp_path, whole)
    refused(lambda: texts.prepare_coco(path), "instances.json: image 0: file_name", "is not a file's name")


@pytest.mark.parametrize(
    "counts", [[0, 49], [-1, 49], [48.0], [2**40], "0", "04000", "P" * 40, "o" * 3000, "é", [True] * 48]
)
def test_run_lengths_that_leave_the_image_are_refused_before_anything_is_written(counts: object) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        decode({"size": [6, 8], "counts": counts}, (6, 8))


def test_packed_run_lengths_are_those_of_pycocotools() -> None:
    mask = np.random.default_rng(0).random((37, 53)) < 0.5
    mask[:, 20:30] = True  # long runs, whose differences are negative
    packed = encode(Region(1, 0, 0, mask), mask.shape)
    assert np.array_equal(decode(packed, mask.shape), mask)


def test_a_polygon_that_goes_to_and_fro_for_gigabytes_is_refused() -> None:
    with pytest.raises(ValueError, match="far too long"):
        decode([[0, 0, 600, 500] * 20_000], (500, 600))


def test_json_of_any_depth_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 10**5)
    refused(lambda: read_json(tmp_path / "a.json"), "a.json: not readable JSON (maximum recursion depth")


def test_figures_that_are_no_finite_numbers_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f'{{"a": 1, "b": NaN, "c": 1e999, "d": true, "e": "x", "f": {10**400}}}')
    assert read_figures(tmp_path / "a.json") == {"a": 1.0}


# Archives.


def test_an_archive_that_grows_a_thousandfold_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(120_000_000))
    refused(
        lambda: unpack(tmp_path / "a.zip", tmp_path / "out", str), "a.zip: would unpack to 0.1 GB, more than 100 times"
    )
    assert not any((tmp_path / "out").iterdir())


def test_a_name_of_gigabytes_is_not_taken_into_memory(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 10**9
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    refused(lambda: unpack(tmp_path / "a.tar", tmp_path / "out", str), "a.tar: not a readable archive (a name of")


def test_an_entry_that_is_file_and_folder_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("sea", "x")
        archive.writestr("sea/two", "x")
    refused(lambda: unpack(tmp_path / "a.zip", tmp_path / "out", str), "entry 'sea' is a file and a folder")


# Models.


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    path = models.right(folder, "segmenter")
    content = torch.load(path, weights_only=True)
    change(content)
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: c["state_dict"].update(x=torch.zeros(3)), "its tensors are not those of the network"),
        (lambda c: c["network"].update(channels=10**6), "its tensors are not those of the network"),
        (lambda c: c["network"]["backbone"].update(name="resnet101"), "its tensors are not those of the network"),
        (lambda c: c["network"].update(resize_long=10**9), "resize_long from 1 to"),
        (lambda c: next(iter(c["state_dict"].values())).fill_(torch.nan), "not a whole model file"),
        (lambda c: c["state_dict"].update(mean=torch.zeros(()).expand(10**6, 10**6)), "not a whole model file"),
        (lambda c: c.update(classes=["bird", "bird", "cow"]), "not a whole model file"),
        (lambda c: c.update(palette=[[0, 0, 300]] * 4), "not a whole model file"),
        (lambda c: c.update(protocol=[["x"] * 100] * 1000), "not a whole model file"),
    ],
)
def test_models_that_are_not_what_they_say_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], says: str
) -> None:
    refused(lambda: load_segmenter(changed(tmp_path, change)), "segmenter.pt: ", says)


def test_a_packed_or_torn_model_is_refused(tmp_path: Path) -> None:
    path = models.right(tmp_path, "segmenter")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # in a tensor, which torch would read
    (tmp_path / "torn.pt").write_bytes(content)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    for name in ("torn.pt", "packed.pt"):
        refused(lambda: load_segmenter(tmp_path / name), f"{name}: not a whole model file")  # noqa: B023  # called here
        refused(lambda: read_checkpoint(tmp_path / name), f"{name}: damaged; delete it")  # noqa: B023
        refused(lambda: read_state_dict(tmp_path / name), f"{name}: not a file of tensors")  # noqa: B023


def test_plain_values_are_counted_as_often_as_they_are_shared() -> None:
    check_plain({"a": [1, 2.0, "x", None, True, (3,)]})
    tree: list[Any] = ["x"]
    for _ in range(60):
        tree = [tree, tree]
    with pytest.raises(ValueError, match="more than"):
        check_plain(tree)
    with pytest.raises(ValueError, match="a set is no plain value"):
        check_plain([{1}])


def test_a_network_larger_than_its_file_is_never_built() -> None:
    with pytest.raises(ValueError, match="not those of the network"):
        filled(lambda: torch.nn.Linear(10**7, 10**7), {"weight": torch.zeros(1, 1), "bias": torch.zeros(1)})


# Runs.


def test_steps_that_are_built_on_each_other_are_not_current(tmp_path: Path) -> None:
    folder = runs.right(tmp_path)
    path = folder / "seeds" / "manifest.json"
    path.write_text(json.dumps({**runs.MANIFESTS["seeds"], "inputs": {"masks": "bb"}}))
    assert Run(kept_config(folder)).write_results() == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("classes: *a", "alias"),
        ("classes: ${oc.env:HOME}", "${…}"),
        ("classes: !!python/object/apply:os.getcwd []", "constructor"),
        (f"classes: [{'a, ' * 100_000}a]", "more than 200000 letters"),
    ],
)
def test_options_of_a_run_are_plain_values(tmp_path: Path, line: str, says: str) -> None:
    path = runs.right(tmp_path) / "config.yaml"
    path.write_text("x: &a [b]\n" + path.read_text().replace("classes: null", line))
    refused(lambda: kept_config(path.parent), "config.yaml: not the options of a run", says)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a\0b"])
def test_predictions_listed_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    path = runs.right_listing(tmp_path)
    listing = json.loads(path.read_text())
    listing["photographs"][0]["labels"] = f"labels/{name}.png" if name[0] == "." else name
    path.write_text(json.dumps(listing))
    refused(lambda: runs.predict_again(path), "predictions.json: image", "is not a path below")


@pytest.mark.parametrize("name", ["../outside", "../masks/one"])
def test_label_maps_listed_elsewhere_are_not_scored(tmp_path: Path, name: str) -> None:
    folder = runs.right_label_maps(tmp_path).parents[1]
    (folder / "split.txt").write_text(f"one\n{name}\n")
    refused(lambda: runs.score_predictions(folder / "split.txt"), "split.txt: image", "is not a path below")


def test_names_in_pages_are_text(tmp_path: Path) -> None:
    folder = runs.right(tmp_path)
    evil = "<script>alert(1)</script>"
    root = tmp_path / "data"
    image_id = "<img src=x onerror=alert(2)>"
    Image.new("RGB", (8, 6)).save(root / "images" / f"{image_id}.png")
    (root / "labels.csv").write_text(f"image,labels\none,{evil}\ntwo,$\\frac{{x}}$\n{image_id},{evil}\n")
    (folder / "seeds" / "iou.csv").write_text(f"label,iou\nbackground,80\n{evil},20\n$\\frac{{,30\n")
    (folder / "seeds" / "curve.csv").write_text(f"kind,threshold,miou\nseed,0.1,20\n{evil},0.2,30\n")
    (folder / "results.json").write_text(json.dumps({**runs.RESULTS, f"{evil}/miou": 3.0}))
    data = describe(root)
    assert {*data.classes} == {evil, "$\\frac{x}$"}
    page = runs.report_of(folder, data, ["one", image_id], ["two"])
    text = page.read_text(encoding="utf-8")
    assert text.count("<script>") == 1  # the page's own
    assert "onerror=alert" not in text.replace("&lt;img src=x onerror=alert(2)&gt;", "")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_a_description_never_leads_out_of_its_root(tmp_path: Path) -> None:
    root = texts.right_table(tmp_path).parent
    (root / "train.txt").write_text("../../etc/passwd\n")
    data: DataDescription = describe(root)
    refused(lambda: read_split(data, "train"), "train.txt: image '../../etc/passwd' is not a path below the folder")
