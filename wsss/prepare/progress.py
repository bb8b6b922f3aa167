"""Progress bars, where somebody may be looking."""

from collections.abc import Iterable, Iterator, Sequence
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


def follow(items: Sequence[Item], title: str) -> Iterable[Item]:
    """The items, under a bar."""
    console = Console(stderr=True)
    return track(items, title, console=console, transient=True, disable=not console.is_terminal)


def follow_bytes(chunks: Iterable[bytes], title: str, *, done: int, total: int) -> Iterator[bytes]:
    """The chunks of a download, under a bar with its speed."""
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total, completed=done)
        for chunk in chunks:
            yield chunk
            progress.advance(task, len(chunk))
