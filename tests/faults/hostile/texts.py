"""Hostile tables, lists and annotations."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image

from tests.faults.hostile.base import HOSTILE_VALUES, Kind, damaged, mutated
from wsss.data import DataDescription, describe, read_labels, read_split
from wsss.data.boxes import boxes_in_xml
from wsss.exports import read_coco
from wsss.prepare.coco import draw_mask
from wsss.prepare.coco_json import read_instances

CLASSES = ("cat", "dog", "traffic light")
IDS = ("one", "sea/two", "three")
WORDS = [value for value in HOSTILE_VALUES if isinstance(value, str) and "\ud800" not in value]


def _data_root(folder: Path) -> Path:
    """A data set of three images in a folder of its own, so that there is an outside."""
    root = folder / "data"
    for image_id in IDS:
        path = root / "images" / f"{image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 6)).save(path)
    Image.new("RGB", (8, 6)).save(folder / "outside.png")
    return root


def right_table(folder: Path) -> Path:
    """Three images, two classes."""
    path = _data_root(folder) / "labels.csv"
    path.write_text("image,labels\none,cat\nsea/two,cat;dog\nthree,dog\n")
    return path


def _table(rng: Random, folder: Path) -> Path:
    """A table with odd cells, separators, ends of lines, quotes or encoding."""
    path = _data_root(folder) / "labels.csv"
    rows = [["image", "labels"], *([i, ";".join(rng.sample(CLASSES, rng.randint(0, 2)))] for i in IDS)]
    if rng.random() < 0.3:
        rows = [
            ["image", *CLASSES, "split"],
            *([i, *rng.choices("01", k=3), rng.choice(["train", "val"])] for i in IDS),
        ]
    for _ in range(rng.randint(0, 3)):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(
            [*WORDS, *WORDS, '"', '"open', "a,b", "a;b", "\t", "x" * 200_000, "e" + "\u0301\u0316" * 9000]
        )
    comma, end = rng.choice([",", ",", ";", "\t"]), rng.choice(["\n", "\r\n", "\r", "\n\n", "\0\n"])
    text = end.join(comma.join(row) for row in rows) + rng.choice(["", end, ",,,", "\x1a"])
    encoding = rng.choice(["utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1", "cp1252", "utf-7"])
    path.write_bytes(text.encode(encoding, "replace"))
    return path


def _damaged_table(rng: Random, folder: Path) -> Path:
    path = _table(rng, folder)
    path.write_bytes(damaged(rng, path.read_bytes()) if path.stat().st_size else b"\0")
    return path


def _large_table(rng: Random, folder: Path) -> Path:
    """Tens of thousands of names or lines, or cells that take long to look at."""
    path, form = (
        _data_root(folder) / "labels.csv",
        rng.choice(["names", "twice", "columns", "marks", "alike", "commas"]),
    )
    lines = {
        "names": lambda: ["image,labels", *(f"i{n},class{n}x" for n in range(60_000))],
        "twice": lambda: ["image,labels", *(f"i{n},cat" for n in range(100_000)), "i99999,cat"],
        "columns": lambda: [",".join(["image", *(f"c{n}" for n in range(60_000))])],
        "marks": lambda: ["image,labels", "one,a" + "\u0316\u0301" * 60_000],
        "alike": lambda: ["image,labels", *(f"i{n},{'ab' * 20_000}{n % 200:03}" for n in range(500))],
        "commas": lambda: ["image,labels", *([",,"] * 300_000)],
    }[form]()
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _list(rng: Random, folder: Path) -> Path:
    """A list of ids, or of classes, some of which lead elsewhere."""
    root = _data_root(folder)
    (root / "labels.csv").write_text("image,labels\n" + "".join(f"{i},cat\n" for i in IDS))
    path = root / rng.choice(["train.txt", "val.txt", "classes.txt"])
    hostile = [
        *WORDS,
        "../outside",
        "../../data/images/one",
        str(folder / "outside"),
        "..\\outside",
        "sea/../../../outside",
        "one\0.png",
    ]
    lines = [
        *rng.sample(IDS if path.name != "classes.txt" else CLASSES, rng.randint(0, 3)),
        *rng.choices(hostile, k=rng.randint(1, 2)),
    ]
    rng.shuffle(lines)
    content = rng.choice(["\n", "\r\n", "\r"]).join(lines).encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"]))
    path.write_bytes(content)
    return path


def _long_list(rng: Random, folder: Path) -> Path:
    path = _data_root(folder) / "train.txt"
    (path.parent / "labels.csv").write_text("image,labels\n" + "".join(f"{i},cat\n" for i in IDS))
    path.write_text("\n".join([f"i{n}" for n in range(200_000)] + ["i199999"]))
    return path


def read_data_set(path: Path) -> None:
    """As a run begins: what is read lies within the root, and names can be shown."""
    root = next(p for p in path.parents if p.name == "data")
    data = describe(root)
    assert 0 < len(data.classes) < 255
    assert all(name == name.strip() and 0 < len(name) < 1000 and _is_plain(name) for name in data.classes)
    for split in ("train", "val"):
        ids = read_split(data, split)
        assert len(ids) == len({*ids}) > 0
        for image_id in ids[:50]:
            assert _is_plain(image_id)
            for file in (data.image_path(image_id), data.mask_path(image_id), data.annotation_path(image_id)):
                assert file.resolve().is_relative_to(root.resolve()), file
                file.exists()
            assert all(0 <= label < len(data.classes) for label in read_labels(data, image_id))


def _is_plain(name: str) -> bool:
    return not any(ord(letter) < 32 or 127 <= ord(letter) < 160 or 0xD800 <= ord(letter) < 0xE000 for letter in name)


# Annotations in XML.


def _xml(*objects: str, head: str = "") -> str:
    return f"{head}<annotation><folder>x</folder>{''.join(objects)}</annotation>"


def _object(name: str = "cat", box: tuple[object, ...] = (1, 2, 8, 9)) -> str:
    sides = "".join(
        f"<{side}>{number}</{side}>" for side, number in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    return f"<object><name>{name}</name><bndbox>{sides}</bndbox></object>"


def right_annotation(folder: Path) -> Path:
    """Two objects."""
    path = folder / "image.xml"
    path.write_text(_xml(_object(), _object("dog", (1, 1, "2.5", 3))))
    return path


def _entities(rng: Random, folder: Path) -> Path:
    """Entities that grow, or that name files and addresses."""
    (folder / "secret.txt").write_text("cat")
    deep = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, rng.choice([3, 10, 30])))
    long = f'<!ENTITY a "{"x" * 50_000}">'
    form = rng.choice(["laughs", "quadratic", "file", "parameter", "network", "doctype", "attribute"])
    document = {
        "laughs": _xml(_object("&a2;"), head=f'<!DOCTYPE r [<!ENTITY a0 "lol">{deep}]>'),
        "quadratic": _xml(_object("&a;" * 50_000), head=f"<!DOCTYPE r [{long}]>"),
        "file": _xml(_object("&e;"), head=f'<!DOCTYPE r [<!ENTITY e SYSTEM "file://{folder}/secret.txt">]>'),
        "parameter": _xml(_object(), head=f'<!DOCTYPE r [<!ENTITY % p SYSTEM "file://{folder}/secret.txt">%p;]>'),
        "network": _xml(_object("&e;"), head='<!DOCTYPE r [<!ENTITY e SYSTEM "http://127.0.0.1:9/x">]>'),
        "doctype": _xml(_object(), head='<!DOCTYPE r SYSTEM "http://127.0.0.1:9/x.dtd">'),
        "attribute": _xml(
            _object(), head=f'<!DOCTYPE r [<!ENTITY a0 "lol">{deep}<!ATTLIST annotation a CDATA "&a2;">]>'
        ),
    }[form]
    encoding = rng.choice(["utf-8", "utf-8", "utf-16"])
    path = folder / "image.xml"
    path.write_bytes(document.encode(encoding))
    return path


ENCODINGS = ("utf-16", "latin-1", "none", "hex", "utf-7", "zlib")


def _annotation(rng: Random, folder: Path) -> Path:
    """Objects with odd values, or deep, long or damaged files."""
    numbers = [1, 8, -5, 0, "1.5", "nan", "inf", "1e300", "1e400", "9" * 400, "", "x", 2**63, "٣"]
    boxes = [
        _object(rng.choice(["cat", *WORDS]).replace("\0", "").replace("<", "&lt;"), tuple(rng.choices(numbers, k=4)))
        for _ in range(3)
    ]
    form = rng.choice(["values", "values", "deep", "many", "damaged", "encoding"])
    document = {
        "values": _xml(*boxes),
        "deep": "<object>" * 200_000 + "</object>" * rng.choice([0, 200_000]),
        "many": _xml(*[_object()] * 5000),
        "damaged": _xml(*[_object()] * 3),
        "encoding": f'<?xml version="1.0" encoding="{rng.choice(ENCODINGS)}"?>{_xml(_object())}',
    }[form]
    content = document.encode("utf-8", "replace")
    path = folder / "image.xml"
    path.write_bytes(damaged(rng, content) if form == "damaged" else content)
    return path


def read_annotation(path: Path) -> None:
    """Labels and boxes."""
    for label, boxes in boxes_in_xml(path, CLASSES).items():
        assert 0 <= label < len(CLASSES) and boxes.dtype == np.int64 and boxes.shape[1] == 4
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def refuse_annotation(path: Path) -> None:
    """No annotation needs entities."""
    read_annotation(path)
    raise AssertionError("was taken for an annotation")


# COCO.

INSTANCES: dict[str, Any] = {
    "info": {},
    "images": [{"id": n, "file_name": f"{name}.png", "width": 8, "height": 6} for n, name in enumerate(IDS)],
    "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(CLASSES, start=1)],
    "annotations": [
        {
            "id": 1,
            "image_id": 0,
            "category_id": 1,
            "area": 6.0,
            "iscrowd": 0,
            "bbox": [1, 1, 3, 2],
            "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]],
        },
        {
            "id": 2,
            "image_id": 1,
            "category_id": 2,
            "area": 6,
            "iscrowd": 1,
            "bbox": [0, 0, 1, 6],
            "segmentation": {"size": [6, 8], "counts": [0, 6, 42]},
        },
        {
            "id": 3,
            "image_id": 2,
            "category_id": 3,
            "area": 6,
            "iscrowd": 0,
            "bbox": [0, 0, 1, 6],
            "segmentation": {"size": [6, 8], "counts": [40, 8]},
        },
    ],
}


FLAT = json.loads(json.dumps(INSTANCES).replace("sea/two", "two"))  # as COCO's own are


def right_coco(folder: Path, whole: dict[str, Any]) -> Path:
    """Polygons and run lengths in three images."""
    _data_root(folder)
    path = folder / "instances.json"
    path.write_text(json.dumps(whole))
    return path


def _coco(rng: Random, folder: Path, whole: dict[str, Any] = INSTANCES) -> Path:
    _data_root(folder)
    path, instances = folder / "instances.json", mutated(rng, whole)
    form = rng.choice(["values", "values", "values", "damaged", "deep", "cycle", "twice"])
    if form == "cycle":  # ids that name one another instead of images and categories
        instances = json.loads(json.dumps(whole))
        for entry in instances["annotations"]:
            entry |= {"id": entry["category_id"], "image_id": entry["id"], "category_id": entry["image_id"]}
            entry["segmentation"] = rng.choice([{"$ref": "#"}, entry["id"], [{"segmentation": [[1] * 6]}]])
    if form == "twice":
        instances = json.loads(json.dumps(whole))
        entries = instances[rng.choice(["images", "categories", "annotations"])]
        entries.append(
            {**rng.choice(entries), rng.choice(["id", "name", "file_name"]): rng.choice([1, 2, 7, "one.png", "cat"])}
        )
    text = json.dumps(instances)
    if form == "deep":
        text = "[" * 100_000 + "]" * 100_000 if rng.random() < 0.5 else '{"images":' * 100_000 + "1" + "}" * 100_000
    content = text.encode()
    path.write_bytes(damaged(rng, content) if form == "damaged" else content)
    return path


def _regions(rng: Random, folder: Path, whole: dict[str, Any] = INSTANCES) -> Path:
    """Run lengths and polygons that drawing in C would choke on."""
    _data_root(folder)
    instances = json.loads(json.dumps(whole))
    packed = "".join(chr(rng.randint(40, 120)) for _ in range(rng.choice([0, 1, 5, 50, 5000])))
    counts = [
        packed,
        "P" * 30,
        "o" * 3000,
        "04000",
        "é",
        "\0",
        [-1, 49],
        [2**32, 1],
        [2**31, 2**31],
        [48.0],
        [1.5, 46.5],
        [48],
        ["48"],
        [],
        None,
        {},
        [0] * 999 + [48],
        [2**40],
        [True] * 48,
    ]
    far = 10.0 ** rng.randint(0, 300)
    zigzag = [c for n in range(rng.choice([10, 20_000])) for c in (16 * (n % 2), n % 5)]
    polygons = [
        [zigzag],
        [[far, -far] * 3],
        [[1, 1, 2, 2]],
        [[1, 1] * 5 + [1]],
        [],
        [[]],
        [[None] * 6],
        [["1"] * 6],
        [[float("nan")] * 6],
        [[1, 1, 4, 1, 4, 3]] * 2000,
        "poly",
        7,
        [[[1, 1], [2, 2], [3, 3]]],
        [[True] * 6],
        [[1e-300] * 8],
    ]
    entry = rng.choice(instances["annotations"])
    entry["segmentation"] = (
        {
            "size": rng.choice([[6, 8], [6, 8], [8, 6], [2**16, 2**16], [-6, -8], [], "68", None, [6.0, 8.0]]),
            "counts": rng.choice(counts),
        }
        if rng.random() < 0.6
        else rng.choice(polygons)
    )
    path = folder / "instances.json"
    path.write_text(json.dumps(instances))
    return path


def import_coco(path: Path) -> None:
    """As import_masks.py does."""
    data = DataDescription("toy", path.parent / "data", CLASSES, image_folder="images")
    for image_id, labels in read_coco(path, data, IDS):
        assert image_id in IDS and labels.shape == (6, 8) and labels.dtype == np.uint8
        assert {*np.unique(labels).tolist()} <= {0, 1, 2, 3, 255}


def prepare_coco(path: Path) -> None:
    """As prepare_coco.py does."""
    photographs = path.parent / "data" / "images"
    instances = read_instances(path, photographs)
    for image in instances.images:
        assert image.path.parent == photographs and _is_plain(image.id) and ".." not in image.id, image.path
        if image.size == (6, 8):  # the photographs', which is compared before drawing
            values = {category: label for label, category in enumerate(instances.categories, start=1)}
            assert draw_mask(image, label_values=values, crowd="class").shape == (6, 8)
    assert all(_is_plain(name) and name.strip() for name in instances.categories.values())


KINDS = [
    Kind("table, odd cells and encodings", _table, read_data_set, 3, True),
    Kind("table, damaged", _damaged_table, read_data_set, 2, True),
    Kind("table, large", _large_table, read_data_set, 0.2, True),
    Kind("list of ids or classes", _list, read_data_set, 3, True),
    Kind("list of ids, large", _long_list, read_data_set, 0.1, True),
    Kind("annotation, entities", _entities, refuse_annotation, 2),
    Kind("annotation, odd values", _annotation, read_annotation, 3),
    Kind("COCO to import, odd values", _coco, import_coco, 3),
    Kind("COCO to import, odd regions", _regions, import_coco, 3),
    Kind("COCO to prepare, odd values", partial(_coco, whole=FLAT), prepare_coco, 3),
    Kind("COCO to prepare, odd regions", partial(_regions, whole=FLAT), prepare_coco, 3),
]
