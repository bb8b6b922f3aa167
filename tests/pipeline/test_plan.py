"""Plans of real runs, at smoke size."""

import copy
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.pipeline.conftest import compose_config
from wsss.data import read_image
from wsss.errors import InputError
from wsss.pipeline.cost_model import NONE, Part, Row
from wsss.pipeline.plan import Plan, finished_steps, make_plan, measured_run
from wsss.pipeline.plan_facts import described, facts_of
from wsss.pipeline.plan_tables import comparison_table, format_bytes, plan_json, plan_notes, plan_table
from wsss.pipeline.run import Run
from wsss.pipeline.stand_in import pink_noise, write_stand_in
from wsss.pipeline.trial import sample_ids, spread

TINY = (
    *("experiment=smoke", "recam=none", "backbone=resnet18", "until=classifier", "data.root=nowhere"),
    *("trainer.accelerator=cpu", "trainer.num_workers=0", "plan.seconds=0.1"),
    *("classifier.augment.crop=32", "classifier.augment.resize_long=null"),
)
DESCRIBED = ("plan.images=1000", "plan.val_images=10", "plan.image_size=[40,50]", "plan.classes=3")


def shown(*parts: object) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(*parts)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text)


@pytest.fixture(scope="module")
def plan(smoke_run: Run) -> Plan:
    """Of a run that is there to be compared with."""
    config = copy.deepcopy(smoke_run.config)
    config.plan.compare, config.plan.seconds, config.masks.jobs = str(smoke_run.folder), 0.1, 1
    config.limit_images, config.plan.images, config.plan.val_images = 6, 24, 24  # measured on fewer than it has
    return make_plan(config)


@pytest.mark.slow
def test_the_disk_that_a_run_takes_is_foretold(plan: Plan, smoke_run: Run) -> None:
    measured = measured_run(smoke_run.folder)
    assert {row.step for row in plan.rows} == {*measured, "data check"}
    predicted = {row.step: row.disk for row in plan.rows}
    for step in ("classifier", "recam", "segmenter"):
        assert predicted[step] == pytest.approx(measured[step][1], rel=0.02), step
    assert predicted["seeds"] == pytest.approx(measured["seeds"][1], rel=0.25)
    total = sum(size for _, size in measured.values())
    assert sum(predicted.values()) == pytest.approx(total, rel=0.1)


@pytest.mark.slow
def test_every_step_takes_time_and_memory(plan: Plan) -> None:
    assert [row.step for row in plan.rows] == [
        *("data check", "classifier", "recam", "seeds", "masks", "segmenter", "report")
    ]
    assert all(plan.seconds(row) > 0 for row in plan.rows)
    assert all(1e8 < row.memory.ram < 1e11 for row in plan.rows[1:])
    text = shown(plan_table(plan))
    assert "24 × 1" in text
    assert "images × pixels × scales ÷ devices" in text
    assert "24 train images (24 scored)" in " ".join(plan_notes(plan))


@pytest.mark.slow
def test_predicted_stands_beside_measured(plan: Plan, smoke_run: Run) -> None:
    lines = shown(comparison_table(plan, measured_run(smoke_run.folder))).splitlines()
    rows = {line.split()[0]: line for line in lines if line.strip()}
    assert {"classifier", "segmenter", "report", "total"} <= {*rows}
    assert "1.00" in rows["classifier"]  # its disk
    assert rows["report"].count("–") == 3  # its time is not kept


@pytest.mark.slow
def test_a_plan_is_kept_as_plain_values(plan: Plan) -> None:
    kept = json.loads(json.dumps(plan_json(plan)))
    assert kept["seconds"] == pytest.approx(sum(step["seconds"] for step in kept["steps"]), abs=0.1)
    rounding = len(kept["steps"])  # each number is rounded to whole bytes
    assert kept["disk_bytes"] == pytest.approx(sum(step["disk_bytes"] for step in kept["steps"]), abs=rounding)
    assert kept["data"]["images"] == 24


@pytest.mark.slow
def test_finished_steps_are_marked_and_cost_nothing(smoke_run: Run) -> None:
    assert finished_steps(smoke_run) == {"classifier", "recam", "seeds", "masks", "segmenter"}
    config = copy.deepcopy(smoke_run.config)
    config.until, config.plan.seconds = "classifier", 0.1
    plan = make_plan(config)
    assert [row.finished for row in plan.rows] == [True, True]
    assert sum(map(plan.seconds, plan.rows)) == sum(map(plan.disk, plan.rows)) == 0
    assert shown(plan_table(plan)).count("finished") == 2
    config.recam.epochs, config.classifier.epochs = 2, 2  # as another run would have them
    assert finished_steps(Run(config)) == set()


def test_a_data_set_that_is_not_there_is_stood_in_for(tmp_path: Path) -> None:
    plan = make_plan(compose_config(*TINY, *DESCRIBED, f"outputs={tmp_path}", "limit_images=null"))
    check, classifier = plan.rows
    assert (check.what, classifier.what) == ("1010", "1000 × 1")
    assert "made-up images" in plan.facts.source
    assert classifier.disk > 4 * 4 * 11e6  # the network in the model file, and with two moments in the checkpoint
    training = next(part for part in classifier.parts if part.what == "training")
    assert training.number == 1000
    assert not [path for path in tmp_path.iterdir() if path.name != ".locks"]  # nothing is left of the trial


def test_what_is_not_known_of_the_data_set_is_asked_for() -> None:
    with pytest.raises(InputError, match=r"data.root=nowhere: no data set there; describe it by plan.classes=…"):
        described(compose_config(*TINY, *DESCRIBED[:-1]))


def test_voc_is_known_before_it_is_there() -> None:
    facts = described(compose_config("experiment=voc_recam", "data.root=nowhere"))
    assert (facts.images, facts.scored, facts.val_images) == (10_582, 1_464, 1_449)
    fewer = described(compose_config("experiment=voc_recam", "data.root=nowhere", "limit_images=1000"))
    assert (fewer.images, fewer.scored, fewer.val_images) == (1000, 1000, 1000)


def test_a_data_set_is_planned_for_at_another_size_than_it_has(make_run) -> None:  # type: ignore[no-untyped-def]
    facts = facts_of(make_run("limit_images=8", "plan.images=5000"))
    assert (facts.images, facts.scored, facts.val_images, facts.size) == (5000, 5000, 8, (160, 160))
    with pytest.raises(InputError, match=r"plan.image_size: the data set is there"):
        facts_of(make_run("limit_images=8", "plan.image_size=[32,32]"))


@pytest.mark.parametrize("option", ["hardware.devices=0", "hardware.training_speed=0", "plan.image_size=[500]"])
def test_a_plan_for_nothing_is_refused(option: str) -> None:
    with pytest.raises(InputError, match=option.split("=")[0]):
        make_plan(compose_config(*TINY, *DESCRIBED, option))


def test_a_folder_without_a_run_cannot_be_compared(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plan.compare=.*no step of a run is finished"):
        measured_run(tmp_path)


def test_ratios_are_told_to_be_the_users_word() -> None:
    config = compose_config("hardware=eight_devices", "hardware.training_speed=20")
    facts = described(compose_config(*TINY, *DESCRIBED))
    row = Row("classifier", "", [Part("training", 10, 16.0, "training")], NONE, 5e9, "")
    plan = Plan(config, facts, [row], 2, "the CPU", 60.0, [])
    assert plan.seconds(row) == 1.0
    assert plan.seconds(replace(row, finished=True)) == 0.0
    assert "hardware: devices=8, training_speed=20 as you say" in " ".join(plan_notes(plan))


def test_a_sample_is_spread_and_scored_as_the_data_set_is() -> None:
    ids = [str(i) for i in range(100)]
    assert spread(ids, 4) == ["12", "37", "62", "87"]
    chosen, scored = sample_ids(ids, ids[:25], 16)
    assert (len({*chosen}), len(scored)) == (16, 4)
    assert sum(i in scored for i in chosen[:8]) == 2  # of its beginning too
    assert sample_ids(ids, [], 4)[1] == []
    assert len(sample_ids(ids, ids[:1], 16)[1]) == 1  # one at least, where there are some


def test_made_up_photographs_have_classes_masks_and_a_falling_spectrum(tmp_path: Path) -> None:
    data = write_stand_in(tmp_path / "d", train=4, val=2, size=(40, 50), num_classes=3, classes_per_image=1.5)
    labels = [line.split(",")[1].split(";") for line in (data.root / "labels.csv").read_text().splitlines()[1:]]
    assert sum(map(len, labels)) == 9
    assert read_image(data.image_path("0000")).size == (50, 40)
    image = pink_noise(np.random.default_rng(0), (64, 64)).astype(float)[..., 0]
    across, shuffled = (
        np.abs(np.diff(image)).mean(),
        np.abs(np.diff(np.random.default_rng(0).permutation(image.T).T)).mean(),
    )
    assert across < 0.7 * shuffled


def test_sizes_are_written_in_their_largest_unit() -> None:
    assert [format_bytes(n) for n in (1234, 54.7e6, 1.5e9, 2e12)] == ["1.23 kB", "54.7 MB", "1.5 GB", "2 TB"]
