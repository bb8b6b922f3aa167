"""Photographs of one's own: a table or folders of labels, drawn or given splits, odd names."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from wsss.data import describe, image_ids, label_table, read_labels, read_split, survey
from wsss.errors import InputError


def photo(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (shade % 256, shade // 256, 0)).save(path)
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Ten photographs in two folders with a table of labels."""
    root = tmp_path / "shop"
    rows = ["image,labels"]
    for i in range(10):
        name = f"shelf {i % 2}/Ware {i}.png"
        photo(root / "images" / name, i)
        rows.append(f"{name},{'red apple;梨' if i % 2 else '梨' if i else ''}")
    (root / "labels.csv").write_text("\n".join(rows), encoding="utf-8")
    return root


def test_a_table_names_images_classes_and_labels(shop: Path) -> None:
    data = describe(shop)
    assert (data.name, data.labels, data.image_folder, data.mask_folder) == ("shop", "table", "images", "masks")
    assert data.classes == ("red apple", "梨")
    assert image_ids(data)[:2] == ["shelf 0/Ware 0", "shelf 1/Ware 1"]
    assert data.image_path("shelf 1/Ware 1") == shop / "images" / "shelf 1" / "Ware 1.png"
    assert label_table(data, image_ids(data)[:3]).tolist() == [[0, 0], [1, 1], [0, 1]]


def test_without_lists_a_split_is_drawn_once_and_for_all(shop: Path) -> None:
    data = describe(shop)
    train, val = read_split(data, "train"), read_split(data, "val")
    assert len(val) == 2
    assert sorted(train + val) == sorted(image_ids(data))
    assert read_split(describe(shop), "val") == val
    assert len(read_split(describe(shop, val_share=0.5), "val")) == 5
    with pytest.raises(InputError, match=r"test\.txt: no such list of images"):
        read_split(data, "test")


def test_lists_and_a_column_of_splits_win_over_the_draw(shop: Path) -> None:
    data = describe(shop)
    (shop / "train.txt").write_text("shelf 0/Ware 2.png\nshelf 1/Ware 3\n")
    assert read_split(data, "train") == ["shelf 0/Ware 2", "shelf 1/Ware 3"]
    with pytest.raises(InputError, match=r"val\.txt: no such list of images"):  # no draw beside a list
        read_split(data, "val")
    (shop / "train.txt").unlink()
    table = (shop / "labels.csv").read_text(encoding="utf-8").splitlines()
    marked = [f"{line},{'split' if not i else 'val' if i < 4 else 'train'}" for i, line in enumerate(table)]
    (shop / "labels.csv").write_text("\n".join(marked), encoding="utf-8")
    assert read_split(data, "val") == image_ids(data)[:3]
    with pytest.raises(InputError, match=r"labels\.csv: no image of split test \(there are train, val\)"):
        read_split(data, "test")


def test_splits_in_a_table_are_read_in_any_case_and_the_rest_is_noted(shop: Path) -> None:
    table = (shop / "labels.csv").read_text(encoding="utf-8").splitlines()
    splits = ["split", "Val", "", "TEST", *["train"] * 7]
    (shop / "labels.csv").write_text("\n".join(map(",".join, zip(table, splits, strict=True))), encoding="utf-8")
    data = describe(shop)
    assert read_split(data, "val") == image_ids(data)[:1]
    texts = [note.text for note in survey(data, {split: read_split(data, split) for split in ("train", "val")}).notes]
    assert any(text.endswith("labels.csv: images in neither of train, val: no split 1, test 1") for text in texts)


def test_what_a_list_for_val_leaves_is_trained_on(shop: Path) -> None:
    data = describe(shop)
    (shop / "val.txt").write_text("shelf 0/Ware 0\n")
    (shop / "test.txt").write_text("shelf 1/Ware 1\n")
    assert read_split(data, "train") == image_ids(data)[2:]
    (shop / "val.txt").unlink()
    drawn = read_split(data, "train") + read_split(data, "val")
    assert sorted(drawn) == sorted({*image_ids(data)} - {"shelf 1/Ware 1"})
    (shop / "test.txt").unlink()
    (shop / "val.txt").write_text("\n".join(image_ids(data)))
    with pytest.raises(InputError, match=r"train\.txt: no such list of images, and the other lists leave none"):
        read_split(data, "train")


def test_folders_of_single_labels(tmp_path: Path) -> None:
    photo(tmp_path / "Katze.jpg")  # beside the folders: of no class
    for name in ("Katze", "big dog"):
        for i in range(5):
            photo(tmp_path / name / "more" / f"{i}.JPG", i)
    data = describe(tmp_path)
    assert (data.labels, data.image_folder, data.classes) == ("folders", ".", ("big dog", "Katze"))
    assert read_labels(data, "Katze/more/3") == [1]
    assert data.image_path("Katze/more/3").name == "3.JPG"
    assert len(read_split(data, "val")) == 2
    assert read_split(describe(tmp_path, classes=["Katze"]), "train")[0].startswith("Katze/")
    assert "Katze" not in image_ids(data)
    notes = survey(data, {split: read_split(data, split) for split in ("train", "val")}).notes
    assert any("in no class's folder, and so not used: Katze" in note.text for note in notes)


def test_names_much_alike_are_noted_unless_the_classes_are_listed(shop: Path) -> None:
    table = (shop / "labels.csv").read_text(encoding="utf-8")
    (shop / "labels.csv").write_text(
        table.replace("red apple", "rot apfel", 1).replace("red apple", "rot apfels", 1), encoding="utf-8"
    )

    def noted() -> list[str]:
        data = describe(shop)
        return [note.text for note in survey(data, {"train": image_ids(data)}).notes if "is it a slip" in note.text]

    assert noted() == []  # neither is rarer
    (shop / "labels.csv").write_text(table.replace("red apple", "red aple", 1), encoding="utf-8")
    (note,) = noted()
    assert note.endswith(
        "class 'red aple' (shelf 1/Ware 1) is much like 'red apple' (4 times); is it a slip? If so, join them"
    )
    (shop / "classes.txt").write_text("red aple\nred apple\n梨", encoding="utf-8")
    assert noted() == []


def test_a_suffix_in_any_case_is_an_image(tmp_path: Path) -> None:
    for suffix in (".Jpg", ".JPG", ".jpeg"):
        photo(tmp_path / "cat" / f"one{suffix}.Png")
        photo(tmp_path / "cat" / f"two{suffix}")
    data = describe(tmp_path)
    assert data.image_path("cat/one.Jpg").name == "one.Jpg.Png"
    assert len(data.image_paths("cat/two")) == 3


def test_folder_names_however_composed_are_the_listed_class(tmp_path: Path) -> None:
    photo(tmp_path / "Mo\u0308we" / "one.jpg")
    (tmp_path / "classes.txt").write_text("M\u00f6we", encoding="utf-8")
    assert read_labels(describe(tmp_path), "Mo\u0308we/one") == [0]


def test_a_class_list_fixes_order_and_refuses_other_names(shop: Path) -> None:
    (shop / "classes.txt").write_text("梨\nbanana\n", encoding="utf-8")
    data = describe(shop)
    assert data.classes == ("梨", "banana")
    with pytest.raises(InputError, match=r"labels\.csv: image shelf 1/Ware 1, class 'red apple' is not in the list"):
        read_labels(data, "shelf 1/Ware 1")


def test_one_class_and_many(tmp_path: Path) -> None:
    for count in (1, 200):
        root = tmp_path / str(count)
        for i in range(count):
            photo(root / f"{i}.png", i)
        (root / "labels.csv").write_text("image,labels\n" + "".join(f"{i}.png,class {i:03}\n" for i in range(count)))
        assert describe(root).num_classes == count


def test_images_without_a_line_are_noted(shop: Path) -> None:
    photo(shop / "images" / "new.png")
    photo(shop / "images" / ".trash" / "old.png")
    data = describe(shop)
    found = survey(data, {split: read_split(data, split) for split in ("train", "val")})
    assert not found.errors
    (note,) = [note.text for note in found.notes if "without a line" in note.text]
    assert note.endswith("labels.csv: without a line, and so not used: new")


def test_what_has_no_labels_says_what_to_write(tmp_path: Path) -> None:
    photo(tmp_path / "one.png")
    with pytest.raises(InputError, match=r"no labels; write .*labels\.csv with the columns image,labels, or put"):
        describe(tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(InputError, match=r"classes\.txt: no such list; write one class name a line"):
        describe(tmp_path)


def test_a_single_image_cannot_be_split(tmp_path: Path) -> None:
    photo(tmp_path / "one.png")
    (tmp_path / "labels.csv").write_text("image,labels\none.png,cat\n")
    with pytest.raises(InputError, match="labels for 1 images; training and validation need one each"):
        read_split(describe(tmp_path), "train")


def test_an_image_of_a_list_that_the_table_lacks_is_named(shop: Path) -> None:
    photo(shop / "images" / "new.png")
    with pytest.raises(InputError, match=r"labels\.csv: image new is not in the table; add a line"):
        read_labels(describe(shop), "new")


def test_masks_beside_the_images_are_no_images(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        photo(tmp_path / name / "one.jpg")
        photo(tmp_path / "masks" / name / "one.png")
    data = describe(tmp_path, labels="folders")
    assert data.classes == ("cat", "dog")
    assert image_ids(data) == ["cat/one", "dog/one"]
