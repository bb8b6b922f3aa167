import logging

import pytest

from wsss.progress import Pace, follow, format_time, watching


def told(caplog: pytest.LogCaptureFixture, total: int, number: int, *times: float) -> list[str]:
    """What is said of a loop that does so many items until each of the times."""
    pace = Pace("seeds", total, clock=iter((0.0, *times)).__next__)
    with caplog.at_level(logging.INFO):
        for _ in times:
            pace.advance(number)
    return caplog.messages


def test_a_line_a_minute_tells_rate_and_time_left(caplog: pytest.LogCaptureFixture) -> None:
    first, second = told(caplog, 40, 2, 10, 59, 60, 61, 119, 120)
    assert first == "seeds: 6 of 40, 6.0 a minute, 5 min 40 s left"
    assert second == "seeds: 12 of 40, 6.0 a minute, 4 min 40 s left"


def test_a_loop_that_has_ended_has_nothing_more_to_tell(caplog: pytest.LogCaptureFixture) -> None:
    assert told(caplog, 300, 150, 75, 150) == ["seeds: 150 of 300, 2.0 a second, 1 min 15 s left"]


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("shown", [False, True])
def test_items_come_as_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, shown: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    assert [*follow("abc", "letters", shown=shown)] == ["a", "b", "c"]
    assert [*follow(iter("abc"), "letters", total=3, shown=shown)] == ["a", "b", "c"]
    with watching("letters", 3, shown=shown) as advance:
        advance(3)
    output = capsys.readouterr()
    assert not output.out
    assert ("3/3" in output.err) == (terminal and shown)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.94, "59.9 s"), (71.3, "1 min 11 s"), (3725, "1 h 02 min")]
)
def test_times_have_two_units(seconds: float, text: str) -> None:
    assert format_time(seconds) == text
