"""Progress bars, where somebody may be looking."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
    track,
)

Item = TypeVar("Item")


def follow(items: Iterable[Item], title: str, *, total: int | None = None) -> Iterable[Item]:
    """The items, under a bar; of a generator the number is to be told."""
    console = Console(stderr=True)
    return track(items, title, total=total, console=console, transient=True, disable=not console.is_terminal)


def follow_bytes(chunks: Iterable[bytes], title: str, *, done: int, total: int) -> Iterator[bytes]:
    """The chunks of a download, under a bar with its speed."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, completed=done)
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk))
