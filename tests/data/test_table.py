"""Labels in a table: two forms, several dialects, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from wsss.data import read_table
from wsss.errors import InputError

LISTS = "image,labels\nbirds/one.jpg,bird;cow\ntwo.PNG,\n3.5 m,Kühe ; bird\n"


def table(tmp_path: Path, text: str) -> Path:
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
    return tmp_path / "labels.csv"


def test_lists_of_names(tmp_path: Path) -> None:
    found = read_table(table(tmp_path, LISTS))
    assert found.names == {"birds/one": ("bird", "cow"), "two": (), "3.5 m": ("Kühe", "bird")}
    assert found.classes == ("bird", "cow", "Kühe")
    assert found.splits == {}


def test_a_column_for_each_class_and_one_for_the_split(tmp_path: Path) -> None:
    found = read_table(table(tmp_path, "file,zebra,split,ant\na.jpg,1,train,0\nb.jpg,,val,x\nc.jpg,0.0,val,TRUE\n"))
    assert found.names == {"a": ("zebra",), "b": ("ant",), "c": ("ant",)}
    assert found.classes == ("zebra", "ant")  # in the order of the columns
    assert found.splits == {"a": "train", "b": "val", "c": "val"}


@pytest.mark.parametrize("text", ["image;labels\na.jpg;bird,cow\n", "image\tlabels\na.jpg\tbird;cow\n"])
def test_other_delimiters(tmp_path: Path, text: str) -> None:
    assert read_table(table(tmp_path, text)).names == {"a": ("bird", "cow")}


def test_quoted_cells_and_windows_paths(tmp_path: Path) -> None:
    found = read_table(
        table(tmp_path, '\ufeffImage,Labels\r\n"sub\\\\a, b.jpg","cow, brown"\r\n'.replace("\\\\", "\\"))
    )
    assert found.names == {"sub/a, b": ("cow, brown",)}


def test_a_name_written_once_much_like_a_common_one_is_no_class(tmp_path: Path) -> None:
    rows = "".join(f"{i}.jpg,bird\n" for i in range(10))
    found = read_table(table(tmp_path, f"image,labels\n{rows}x.jpg,brid\ny.jpg,cow\n"))
    assert found.classes == ("bird", "cow")
    assert found.names["x"] == ("brid",)


def test_a_table_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    assert len(read_table(table(tmp_path, LISTS)).names) == 3
    assert len(read_table(table(tmp_path, LISTS + "four.jpg,cow\n")).names) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty table"),
        ("image\na.jpg\n", "expected columns image,labels or image and one for each class, got image"),
        ("image,labels,weather\na.jpg,bird,sun\n", "expected columns image,labels or"),
        ("image,labels\na.jpg,bird,cow\n", "line 2: 3 columns, the first line has 2"),
        ("image,labels\na.jpg,bird\na.png,cow\n", "line 3: image a is listed twice; join"),
        ("image,bird\na.jpg,maybe\n", "line 2: column bird holds 'maybe'; write 1 where"),
        ("image,labels\n../a.jpg,bird\n", r"line 2: image '\.\./a\.jpg' is not a path below"),
        ("image,labels\n/etc/a.jpg,bird\n", "line 2: image '/etc/a.jpg' is not a path below"),
        ("image,labels\n,bird\n", "line 2: image '' is not a path below"),
    ],
)
def test_what_is_no_such_table_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=rf"labels\.csv.*{message}") as caught:
        read_table(table(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels\.csv: no such table; write one with the columns image,labels"):
        read_table(tmp_path / "labels.csv")
