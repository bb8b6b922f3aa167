import numpy as np
import pytest

from wsss.report.overlays import (
    LegendEntry,
    boundaries,
    class_heatmap_layer,
    class_legend,
    contact_sheet,
    greyed,
    heatmap_overlay,
    label_layer,
    label_overlay,
    over,
    paled,
    signed_picture,
    with_boxes,
)

GREY = np.full((1, 2, 3), 100, np.uint8)


def test_a_signed_picture_is_grey_where_nothing_is_and_ends_at_three_deviations() -> None:
    values = np.zeros((10, 10, 3))
    values[0, 0], values[0, 1] = 5.0, -5.0  # root of the mean square: 5 / sqrt(50)
    picture = signed_picture(values)
    assert picture[0, 0].tolist() == [255] * 3
    assert picture[0, 1].tolist() == [0] * 3
    assert (picture[1:] == 128).all()
    assert (signed_picture(np.zeros((2, 2, 3))) == 128).all()


def test_a_boxs_line_lies_within_it() -> None:
    picture = with_boxes(np.zeros((6, 8, 3), np.uint8), [[1, 2, 5, 6]], (10, 20, 30))
    line = (picture == (10, 20, 30)).all(axis=-1)
    expected = np.zeros((6, 8), bool)
    expected[2:6, 1:5] = True
    expected[3:5, 2:4] = False
    assert (line == expected).all()
    assert not picture[~expected].any()


def test_a_heat_map_is_dark_at_zero_and_bright_at_one() -> None:
    overlay = heatmap_overlay(GREY, np.array([[0.0, 1.0]]), alpha=0.5)
    # inferno ends in (0.988, 1.0, 0.645); half of it and half of the grey
    np.testing.assert_allclose(overlay, [[[50, 50, 52], [176, 178, 132]]], atol=1)


def test_no_share_of_colour_leaves_the_photograph() -> None:
    np.testing.assert_array_equal(heatmap_overlay(GREY, np.ones((1, 2)), alpha=0), GREY)


def test_the_highest_map_colours_a_pixel() -> None:
    maps = np.array([[[1.0, 0.2]], [[0.5, 0.8]]])
    overlay = over(paled(GREY), class_heatmap_layer(maps, [0, 1], alpha=1))
    np.testing.assert_array_equal(overlay[0, 0], [205, 0, 0])  # 1.6 × (128, 0, 0)
    np.testing.assert_array_equal(overlay[0, 1], [30, 194, 30])  # 0.2 × (90 + 0.6 · 100) + 0.8 × 1.6 × (0, 128, 0)


def test_an_image_without_classes_has_a_plain_heat_map() -> None:
    assert (over(paled(GREY), class_heatmap_layer(np.zeros((0, 1, 2)), [])) == 150).all()


def test_maps_and_classes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"K = 1 classes, got \(2, 1, 2\)"):
        class_heatmap_layer(np.zeros((2, 1, 2)), [0])


def test_labels_are_tinted_outlined_and_background_left_alone() -> None:
    image = np.full((5, 5, 3), (200, 100, 0), np.uint8)  # grey: 100
    labels = np.zeros((5, 5), np.uint8)
    labels[1:4, 1:4] = 1
    overlay = label_overlay(image, labels, alpha=0.5)
    assert overlay[0, 0].tolist() == [200, 100, 0]
    assert overlay[2, 2].tolist() == [114, 50, 50]  # half of (128, 0, 0), half grey
    assert overlay[1, 1].tolist() == [128, 0, 0]


def test_void_is_light_and_hatched() -> None:
    overlay = label_overlay(np.zeros((1, 2, 3), np.uint8), np.full((1, 2), 255, np.uint8), alpha=1)
    assert overlay.tolist() == [[[255] * 3, [224] * 3]]


def test_a_layer_over_a_photograph_is_its_overlay() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (6, 8, 3), np.uint8)
    labels = rng.choice(np.array([0, 1, 255], np.uint8), (6, 8))
    layer = label_layer(labels)
    assert not layer[labels == 0, 3].any()
    np.testing.assert_array_equal(over(greyed(image, layer), layer), label_overlay(image, labels))


def test_a_layer_grows_to_the_photograph() -> None:
    layer = np.array([[[255, 0, 0, 255]]], np.uint8)
    assert (over(np.zeros((4, 5, 3), np.uint8), layer) == (255, 0, 0)).all()


def test_boundaries_lie_on_both_sides_of_an_edge() -> None:
    labels = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    assert boundaries(labels).tolist() == [[False, True, True, False]] * 2


def test_the_legend_has_vocs_colours_and_void() -> None:
    assert class_legend(["bird", "cow"]) == [
        LegendEntry("bird", "#800000"),
        LegendEntry("cow", "#008000"),
        LegendEntry("void", "#e0e0e0"),
    ]


@pytest.mark.parametrize("shape", [(2, 1), (1, 3)])
def test_a_map_of_another_size_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="resize it first"):
        heatmap_overlay(GREY, np.zeros(shape))
    with pytest.raises(ValueError, match="resize it first"):
        label_overlay(GREY, np.zeros(shape, np.uint8))


def test_a_contact_sheet_fits_pictures_into_cells() -> None:
    red, wide = np.full((8, 8, 3), (255, 0, 0), np.uint8), np.zeros((8, 16, 3), np.uint8)
    sheet = contact_sheet([[red, wide], [None, red]], ["one", "two"], cell=40, gap=4)
    header = 9 + 2 * 4
    assert sheet.size == (2 * 44 + 4, header + 2 * 44)
    assert sheet.getpixel((4 + 20, header + 20)) == (255, 0, 0)
    assert sheet.getpixel((48 + 20, header + 20)) == (0, 0, 0)
    assert sheet.getpixel((48 + 20, header + 2)) == (255, 255, 255)  # above the wide picture
    assert sheet.getpixel((4 + 20, header + 44 + 20)) == (255, 255, 255)  # the empty cell


def test_a_contact_sheet_needs_a_picture_for_each_title() -> None:
    with pytest.raises(ValueError, match="expected 2 pictures in each row"):
        contact_sheet([[None]], ["one", "two"])
