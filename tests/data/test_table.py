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


@pytest.mark.parametrize(
    "text",
    [
        "image;labels\na.jpg;bird,cow\n",
        'image;labels\na.jpg;"bird;cow"\n',
        "image\tlabels\na.jpg\tbird;cow\n",
        "image\tlabels\na.jpg\tbird,cow\n",
    ],
)
def test_other_delimiters(tmp_path: Path, text: str) -> None:
    assert read_table(table(tmp_path, text)).names == {"a": ("bird", "cow")}


def test_quoted_cells_and_windows_paths(tmp_path: Path) -> None:
    text = '\ufeffImage;"cow; brown";"hen, red"\r\n"sub\\a; b.jpg";1;0\r\n'
    found = read_table(table(tmp_path, text))
    assert found.names == {"sub/a; b": ("cow; brown",)}
    assert found.classes == ("cow; brown", "hen, red")


def test_cells_left_empty_at_the_end_of_a_line_or_of_all_lines(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, "image\tlabels\na.jpg\t\nb.jpg\tcow\n")).names == {"a": (), "b": ("cow",)}
    found = read_table(table(tmp_path, "image,bird,,\na.jpg,1,,\n,,,\n"))
    assert (found.classes, found.names) == (("bird",), {"a": ("bird",)})


def test_letters_composed_in_other_ways_are_one_name(tmp_path: Path) -> None:
    assert read_table(table(tmp_path, "image,labels\na.jpg,M\u00f6we\nb.jpg,Mo\u0308we\n")).classes == ("M\u00f6we",)


def counted(tmp_path: Path, **counts: int) -> tuple[str, ...]:
    """The classes of a table that names them so many times."""
    names = [name for name, number in counts.items() for _ in range(number)]
    return read_table(table(tmp_path, "image,labels\n" + "".join(f"{i},{n}\n" for i, n in enumerate(names)))).classes


@pytest.mark.parametrize(
    ("slip", "name"),
    [("brid", "bird"), ("бик", "бык"), ("birds", "bird"), ("big dgo", "big dog"), ("traffic-light", "traffic light")],
)
def test_a_rare_name_a_letter_off_a_common_one_is_no_class(tmp_path: Path, slip: str, name: str) -> None:
    assert counted(tmp_path, **{slip: 1, name: 9, "cow": 2}) == tuple(sorted(["cow", name]))
    assert len(counted(tmp_path, **{slip: 3, name: 9})) == 2  # not so rare


def test_a_name_in_other_case_is_no_class(tmp_path: Path) -> None:
    assert counted(tmp_path, Bird=2, bird=4) == ("bird",)
    assert counted(tmp_path, Bird=4, bird=2) == ("Bird",)


@pytest.mark.parametrize("slip", ["bird cow", "bird|cow", "Cow / red deer", "bird + red deer & cow"])
def test_names_in_a_row_are_no_class(tmp_path: Path, slip: str) -> None:
    assert counted(tmp_path, **{slip: 9, "bird": 1, "cow": 1, "red deer": 1}) == ("bird", "cow", "red deer")


@pytest.mark.parametrize("name", ["sea bird", "bird / fish", "bird"])
def test_a_name_with_another_in_it_is_a_class(tmp_path: Path, name: str) -> None:
    assert name in counted(tmp_path, **{name: 1, "bird": 2, "cow": 1})


@pytest.mark.parametrize(
    ("rare", "common"), [("class 2", "class 1"), ("c 11", "c 1"), ("type B", "type A"), ("man", "woman")]
)
def test_numbers_and_letters_that_count_are_no_slips(tmp_path: Path, rare: str, common: str) -> None:
    assert len(counted(tmp_path, **{rare: 1, common: 9})) == 2


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
        ("image,labels\n\n\na.jpg\n", "line 4: 1 columns, the first line has 2"),
        ("image,labels\na.jpg,bird\na.png,cow\n", "line 3: image a is listed twice; join"),
        ('image,labels\na.jpg,"bird,cow"\n', "line 2: 'bird,cow' holds a comma; part names by ;"),
        ('image,labels\na.jpg,"bird\nb.jpg,cow\n', "line 2: .*is a quote left open"),
        (f'image,labels\na.jpg,"{131_073 * "b"}\n', "line 2: .*is a quote left open"),
        ("image,bird,,cow\na.jpg,1,,0\n", "column 3 has no name"),
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
