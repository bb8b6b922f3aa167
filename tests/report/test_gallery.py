from wsss.report.gallery import choose_images

IDS = [f"im_{n:03d}" for n in range(100)]


def test_images_are_evenly_spaced() -> None:
    assert choose_images(IDS, lambda _: [0], num_classes=1, num_images=4) == ["im_000", "im_033", "im_066", "im_099"]


def test_a_rare_class_is_exchanged_for_a_common_one() -> None:
    rare = {"im_050": [1], "im_051": [2, 0]}
    chosen = choose_images(IDS, lambda i: rare.get(i, [0]), num_classes=3, num_images=3)
    assert len(chosen) == 3
    assert {"im_050", "im_051"} <= set(chosen)
    assert chosen == sorted(chosen)


def test_no_class_is_lost_for_another() -> None:
    classes = {"im_000": [0], "im_099": [1], "im_040": [2]}
    chosen = choose_images(IDS, lambda i: classes.get(i, []), num_classes=3, num_images=2)
    assert chosen == ["im_000", "im_099"]  # two images cannot show three classes here


def test_the_worst_and_the_best_are_among_the_chosen() -> None:
    scores = {image_id: float((37 * n) % 100) for n, image_id in enumerate(IDS[:60])}
    chosen = choose_images(IDS, lambda _: [0], num_classes=1, num_images=12, scores=scores)
    ranked = sorted(scores, key=scores.__getitem__)
    assert {*ranked[:4], *ranked[-4:]} < {*chosen}
    assert len(chosen) == 12
    assert chosen == sorted(chosen)
    assert "im_099" in chosen  # the others are spread over all, scored or not


def test_few_scores_leave_the_choice_as_it_is() -> None:
    chosen = choose_images(IDS, lambda _: [0], num_classes=1, num_images=12, scores={"im_001": 1.0})
    assert chosen == choose_images(IDS, lambda _: [0], num_classes=1, num_images=12)


def test_short_lists_are_taken_whole() -> None:
    assert choose_images(["a", "b"], lambda _: [], num_classes=3, num_images=12) == ["a", "b"]
    assert choose_images([], lambda _: [], num_classes=3, num_images=12) == []
    assert choose_images(["a"], lambda _: [], num_classes=3, num_images=0) == []
