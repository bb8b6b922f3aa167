"""Graph cuts of maps: objects that colours tell from the rest."""

import importlib.util

import numpy as np
import pytest

from wsss.errors import InputError
from wsss.masks import graph_cut, graph_cut_labels

pytest.importorskip("cv2")


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray]:
    """A red square on green, both noisy; and a red's twin in blue."""
    generator = np.random.default_rng(0)
    image = generator.integers(0, 40, (60, 80, 3), dtype=np.uint8)
    image[..., 1] += 150
    truth = np.zeros((60, 80), np.uint8)
    truth[10:40, 10:35], truth[20:50, 50:70] = 1, 2
    image[truth == 1] += np.array([150, 0, 0], np.uint8)
    image[truth == 1, 1] -= 150
    image[truth == 2] += np.array([0, 0, 150], np.uint8)
    image[truth == 2, 1] -= 150
    return image, truth


def spot(row: int, column: int, width: float) -> np.ndarray:
    rows, columns = np.indices((60, 80))
    distance: np.ndarray = (rows - row) ** 2 + (columns - column) ** 2
    return np.exp(-distance / (2 * width**2))


def test_a_spot_on_an_object_grows_to_its_outline(scene: tuple[np.ndarray, np.ndarray]) -> None:
    image, truth = scene
    image[truth == 2] = image[0, 0]
    map = spot(25, 22, 8.0)
    segment = graph_cut(image, map)
    assert (segment == (truth == 1)).mean() > 0.99
    assert (((map > 0.5) == (truth == 1)).mean()) < 0.95  # which the map alone does not know
    assert np.array_equal(segment, graph_cut(image, map))


def test_several_maps_become_labels(scene: tuple[np.ndarray, np.ndarray]) -> None:
    image, truth = scene
    labels = graph_cut_labels(image, np.stack([spot(25, 22, 8.0), spot(35, 60, 7.0)]), 0.4)
    assert (labels == truth).mean() > 0.98


def test_a_map_of_one_value_has_no_segment(scene: tuple[np.ndarray, np.ndarray]) -> None:
    assert not graph_cut(scene[0], np.zeros((60, 80))).any()
    assert not graph_cut(scene[0], np.ones((60, 80))).any()


def test_certain_pixels_stay_what_they_are(scene: tuple[np.ndarray, np.ndarray]) -> None:
    map = np.random.default_rng(1).random((60, 80))
    segment = graph_cut(scene[0], map, foreground=0.9, background=0.2)
    assert segment[map >= np.quantile(map, 0.9)].all()
    assert not segment[map <= np.quantile(map, 0.2)].any()


def test_slips_are_named(scene: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"expected an image \(3, 4, 3\) of uint8"):
        graph_cut(scene[0], np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"background < foreground"):
        graph_cut(scene[0], np.zeros((60, 80)), foreground=0.2)


def test_without_opencv_the_package_is_named(
    scene: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"masks\.kind=graphcut: `pip install opencv-python-headless` first"):
        graph_cut(scene[0], np.zeros((60, 80)))
