from pathlib import Path

from wsss.pipeline.trial import bytes_of


def test_files_belong_to_images_in_folders_too(tmp_path: Path) -> None:
    for name, size in {
        "model.pt": 1,
        "a.npz": 10,
        "maps/cam/day/a.npz": 100,
        "maps/cam/b.npz": 1000,
        "day/b.png": 1,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    assert bytes_of(tmp_path, {"day/a"}, {"a", "b"}) == [100, 1011, 1]
    assert bytes_of(tmp_path, {"day/b"}, {"a", "c"}) == [1, 110, 1001]
