import pytest

from wsss.data import VOC_CLASSES
from wsss.report.published import PUBLISHED, SPLITS, is_comparable

CAM = PUBLISHED[0]
VOC_TRAIN = {"split": "train", "images": 1464}


def test_every_published_figure_has_a_source_and_a_split_of_voc() -> None:
    assert all(published.source and published.split in SPLITS for published in PUBLISHED)


@pytest.mark.parametrize(
    ("classes", "protocol", "expected"),
    [
        (VOC_CLASSES, VOC_TRAIN, True),
        (list(VOC_CLASSES), VOC_TRAIN, True),
        (VOC_CLASSES[:-1], VOC_TRAIN, False),
        (VOC_CLASSES, VOC_TRAIN | {"images": 150}, False),
        (VOC_CLASSES, {"split": "val", "images": 1449}, False),
        (VOC_CLASSES, {}, False),
    ],
)
def test_a_figure_is_comparable_on_the_same_images_alone(
    classes: tuple[str, ...], protocol: dict[str, object], expected: bool
) -> None:
    assert is_comparable(CAM, classes, protocol) == expected
