"""Model files that are no model files."""

from pathlib import Path

import pytest
import torch

from wsss.errors import InputError
from wsss.models.files import read_model


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"<html>not found</html>"])
def test_a_damaged_file_is_named_with_its_remedy(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "segmenter" / "model.pt"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.pt: not a whole model file of wsss; name another"):
        read_model(path, kinds=("segmenter",))
    (path.parent / "manifest.json").touch()  # a run's
    with pytest.raises(InputError, match=r"model\.pt: not a whole .*; delete .*segmenter and run again"):
        read_model(path, kinds=("segmenter",))


@pytest.mark.parametrize("content", [[1, 2], {"kind": "segmenter"}, 3])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(InputError, match="not a whole model file"):
        read_model(tmp_path / "model.pt", kinds=("segmenter",))
