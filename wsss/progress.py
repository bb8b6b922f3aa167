"""How far a long loop is: a bar with its rate and the time left on terminals, a line now and then elsewhere."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Advance = Callable[[int], object]

SECONDS = 60.0  # between two lines


class Pace:
    """A line a minute on how far a loop is, for files and pipes; none where it ends within the first."""

    def __init__(self, title: str, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start counting.

        Args:
            title: what the loop is at.
            total: number of its items.
            clock: seconds since whenever.
        """
        self._title, self._total, self._clock = title, total, clock
        self._start = self._told = clock()
        self._done = 0
        self._lock = threading.Lock()

    def advance(self, number: int = 1) -> None:
        """Count more items as done, from any thread."""
        with self._lock:
            self._done += number
            now = self._clock()
            if now - self._told < SECONDS or self._done >= self._total:
                return
            self._told = now
        rate = self._done / (now - self._start)
        left = format_time((self._total - self._done) / rate)
        log.info("%s: %d of %d, %s, %s left", self._title, self._done, self._total, _rate(rate), left)


def watching(title: str, total: int, *, shown: bool = True) -> AbstractContextManager[Advance]:
    """What a loop calls with the number of items that it has done since, from any thread.

    Args:
        title: what the loop is at.
        total: number of its items.
        shown: False: nothing is drawn or told.
    """
    console = Console(stderr=True)
    return _bar(console, title, total) if shown and console.is_terminal else _lines(title, total, shown=shown)


def follow(items: Iterable[Item], title: str, *, total: int | None = None, shown: bool = True) -> Iterator[Item]:
    """The items; see `watching`. Of a generator the number is to be told."""
    number = len(items) if total is None else total  # type: ignore[arg-type]  # as promised
    with watching(title, number, shown=shown) as advance:
        for item in items:
            yield item
            advance(1)


def follow_bytes(chunks: Iterable[bytes], title: str, *, done: int, total: int) -> Iterator[bytes]:
    """The chunks of a download, under a bar with its speed."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, completed=done)
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk))


def format_time(seconds: float) -> str:
    """Write a duration in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Nothing until there is one."""
        return Text(_rate(task.speed) if task.speed else "")


@contextmanager
def _bar(console: Console, title: str, total: int) -> Iterator[Advance]:
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda number: progress.advance(task, number)


@contextmanager
def _lines(title: str, total: int, *, shown: bool) -> Iterator[Advance]:
    pace = Pace(title, total)
    yield pace.advance if shown else lambda number: None


def _rate(per_second: float) -> str:
    return f"{per_second:.1f} a second" if per_second >= 1 else f"{60 * per_second:.1f} a minute"
