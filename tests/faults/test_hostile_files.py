"""Hostile files of every kind: read right, or refused in one line that names them; fuzz.py reads thousands."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.faults.hostile import KINDS, Kind, archives, arrays, images, models, runs, texts
from tests.faults.trial import MAX_SECONDS, attempt

QUICK = 4


@pytest.fixture(autouse=True)
def _alarm() -> Iterator[None]:
    """End a test that hangs."""

    def ring(number: int, frame: object) -> None:
        raise TimeoutError(f"a file has taken {4 * MAX_SECONDS:.0f} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(int(4 * MAX_SECONDS))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_hostile_file_is_read_right_or_refused_by_name(kind: Kind) -> None:
    count = round(QUICK * min(kind.share, 2)) if kind.share >= 1 else 1
    outcomes = [attempt(kind, number, seed=1) for number in range(count)]
    assert [outcome for outcome in outcomes if outcome.state == "crashed"] == []


def _photograph(folder: Path) -> Path:
    path = folder / "photo.jpg"
    path.write_bytes(images.encoded(Random(0), "jpg"))
    return path


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (_photograph, images.read_photograph),
        (images.right_mask, images.read_labels_of_mask),
        (arrays.right, arrays.read_seeds),
        (texts.right_table, texts.read_data_set),
        (texts.right_annotation, texts.read_annotation),
        (lambda folder: texts.right_coco(folder, texts.INSTANCES), texts.import_coco),
        (lambda folder: texts.right_coco(folder, texts.FLAT), texts.prepare_coco),
        (archives.right, archives.unpack_within),
        (lambda folder: models.right(folder, "segmenter"), models.read_network),
        (lambda folder: models.right(folder, "classifier"), models.read_network),
        (lambda folder: models.right(folder, "classifier"), models.read_weights),
        (lambda folder: runs.right(folder) / "seeds" / "manifest.json", runs.read_run),
        (lambda folder: runs.right(folder) / "results.json", runs.report_run),
        (lambda folder: runs.right(folder) / "config.yaml", runs.read_config),
        (runs.right_label_maps, runs.score_predictions),
        (runs.right_listing, runs.predict_again),
    ],
)
def test_what_hostile_files_are_made_from_is_read(
    tmp_path: Path, make: Callable[[Path], Path], read: Callable[[Path], object]
) -> None:
    read(make(tmp_path))
