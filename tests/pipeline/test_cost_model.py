"""The arithmetic of plans, on made-up measurements."""

import pytest

from wsss.pipeline.config import HardwareConfig
from wsss.pipeline.cost_model import (
    Files,
    Part,
    TrainingCost,
    WorkCost,
    choose_trial,
    next_count,
    seconds_on,
    slope,
    training_parts,
    work_parts,
)

COST = TrainingCost(image=0.5, val_image=0.25, epoch=2.0, start=3.0)


def seconds(parts: list[Part], **hardware: float) -> float:
    return seconds_on(HardwareConfig(**hardware), parts, cores=2)  # type: ignore[arg-type]


def test_a_training_is_linear_in_images_and_epochs() -> None:
    # 3 epochs of 8 of the 9 images, 4 a step, and 3 looks at 10 val images.
    parts = training_parts(COST, images=9, val_images=10, epochs=3, batch_size=4)
    assert seconds(parts) == 3 + 3 * 8 * 0.5 + 3 * 10 * 0.25 + 3 * 2
    twice = training_parts(COST, images=16, val_images=10, epochs=6, batch_size=4)
    assert seconds(twice) == 3 + 6 * 16 * 0.5 + 6 * 10 * 0.25 + 6 * 2


def test_an_incomplete_batch_is_trained_on_if_it_is_the_only_one() -> None:
    parts = training_parts(COST, images=3, val_images=0, epochs=1, batch_size=4)
    assert seconds(parts) == 3 + 3 * 0.5 + 2


@pytest.mark.parametrize(("at_end", "looks"), [(False, 2), (True, 3)])
def test_val_is_looked_at_every_few_epochs(at_end: bool, looks: int) -> None:
    parts = training_parts(COST, images=4, val_images=10, epochs=5, batch_size=4, val_every=2, validates_at_end=at_end)
    assert seconds(parts) == 3 + 5 * 4 * 0.5 + looks * 10 * 0.25 + 5 * 2


def test_devices_divide_training_and_drawing_but_neither_start_nor_inference() -> None:
    parts = training_parts(COST, images=8, val_images=0, epochs=1, batch_size=4)
    assert seconds(parts, devices=2, training_speed=2) == 3 + 8 * 0.5 / 4 + 2
    drawn = work_parts(WorkCost(image=1.0, resource="drawing", serial_image=0.5, start=1.0), images=8)
    assert seconds(drawn, devices=4, inference_speed=2) == 1 + 8 / 8 + 8 * 0.5
    refined = work_parts(WorkCost(image=1.0, resource="inference"), images=8)
    assert seconds(refined, devices=4, inference_speed=2) == 4


def test_cores_divide_the_crf_alone_and_their_speed_the_scores_too() -> None:
    masks = work_parts(WorkCost(image=1.0, resource="cores", serial_image=0.5), images=8)
    assert seconds(masks) == 12
    assert seconds(masks, cores=16) == 1 + 4
    assert seconds(masks, cores=16, cpu_speed=2) == 0.5 + 2


def test_files_are_counted_by_what_they_belong_to() -> None:
    assert Files(image=10, val_image=5, fixed=100, epoch=1).total(images=3, val_images=2, epochs=4) == 144


def test_a_measurement_has_the_true_batch_where_time_and_memory_allow() -> None:
    easy = {"image_seconds": 0.01, "image_bytes": 1e6, "batch_size": 16, "budget": 8.0, "free": 1e9}
    assert choose_trial(**easy) == (16, 6)
    assert choose_trial(**easy | {"free": 10e6}) == (8, 6)  # four fifths of what is free
    assert choose_trial(**easy | {"image_seconds": 1.0}) == (4, 2)
    assert choose_trial(**easy | {"image_seconds": 100.0}) == (2, 2)
    assert choose_trial(**easy | {"image_seconds": 100.0, "batch_size": 1}) == (1, 2)


def test_a_step_is_run_cold_then_warm_then_on_as_many_images_as_there_is_time_for() -> None:
    assert next_count([], budget=8) == 2
    assert next_count([(2, 5.0)], budget=8) == 2
    assert next_count([(2, 50.0)], budget=8) == 4  # slow: no second run on few
    assert next_count([(2, 5.0), (2, 1.0)], budget=8) == 16
    assert next_count([(2, 5.0), (2, 5.0)], budget=8) == 9
    assert next_count([(2, 5.0), (2, 1.0), (16, 3.0)], budget=8) is None


def test_a_line_through_the_warm_runs_tells_what_an_image_takes_and_what_the_start() -> None:
    image, start = slope([(2, 10.0), (2, 2.0), (16, 9.0)])
    assert (image, start) == (0.5, 9.0)


def test_a_line_that_noise_has_bent_is_held_near_the_mean() -> None:
    assert slope([(2, 10.0), (2, 4.0), (16, 4.0)])[0] == 4.0 / 16 / 4
    assert slope([(2, 10.0), (2, 0.1), (16, 16.0)])[0] == 1.0
    assert slope([(2, 1.0), (4, 8.0)]) == (2.0, 0.0)  # a start is never negative
