"""Files of all formats that the project has had are read as they were meant; newer ones are refused."""

from __future__ import annotations

import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.faults.formats.make import CLASSES, IMAGE, SEED_CLASSES, SEEDS, SIZE, batch
from tests.faults.hostile import arrays
from tests.segmenters import save_small_segmenter
from wsss import load_segmenter
from wsss.errors import InputError
from wsss.models import files
from wsss.models.files import read_model
from wsss.pipeline.networks import load_classifier
from wsss.seeds import FORMAT, load_seeds

FOLDERS = sorted((Path(__file__).parent / "formats").glob("v*"))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def unpacked(packed: Path, folder: Path) -> Path:
    path = folder / packed.stem
    path.write_bytes(lzma.decompress(packed.read_bytes()))
    return path


def expected(folder: Path, name: str) -> np.ndarray:
    with np.load(folder / "expected.npz", allow_pickle=False) as file:
        return np.asarray(file[name])


def test_there_is_a_folder_for_every_format() -> None:
    assert [folder.name for folder in FOLDERS] == [f"v{n + 1}" for n in range(max(files.FORMAT, FORMAT))]


def test_a_classifier_answers_as_it_did(folder: Path, tmp_path: Path) -> None:
    network = load_classifier(unpacked(folder / "classifier.pt.xz", tmp_path)).eval()
    with torch.inference_mode():
        logits = network(batch())[0].numpy()
    np.testing.assert_allclose(logits, expected(folder, "logits"), rtol=1e-4, atol=1e-4)


def test_a_segmenter_answers_as_it_did(folder: Path, tmp_path: Path) -> None:
    segmenter = load_segmenter(unpacked(folder / "segmenter.pt.xz", tmp_path))
    assert segmenter.classes == CLASSES
    assert len(segmenter.palette) == len(CLASSES) + 1
    shares = segmenter.probabilities(IMAGE).mean(axis=(1, 2))
    np.testing.assert_allclose(shares, expected(folder, "shares"), atol=1e-4)


def test_seeds_are_read_as_they_were(folder: Path) -> None:
    seeds = load_seeds(folder / "seeds.npz")
    np.testing.assert_allclose(seeds.maps, SEEDS, atol=5e-4)
    assert (seeds.classes.tolist(), seeds.size) == (SEED_CLASSES, SIZE)


def test_a_model_file_of_a_newer_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    save_small_segmenter(tmp_path / "model.pt")
    content = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.save({**content, "format": files.FORMAT + 1}, tmp_path / "model.pt")
    says = rf"model\.pt: a model file of format {files.FORMAT + 1}, .*reads up to {files.FORMAT}; install a newer one"
    with pytest.raises(InputError, match=says):
        read_model(tmp_path / "model.pt", kinds=("segmenter",))


def test_seeds_of_a_newer_format_are_refused_with_the_remedy(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{**arrays.GOOD, "format": np.array(FORMAT + 1)})
    says = rf"a\.npz: a seed file of format {FORMAT + 1}, .*reads up to {FORMAT}; install a newer one"
    with pytest.raises(InputError, match=says):
        load_seeds(tmp_path / "a.npz")
