"""What kinds of hostile files have in common: how one is made and read, and ways to damage bytes."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

ZEROS = bytes(10_000_000)
CANARY = Path("/tmp/wsss-hostile-code-ran")  # what code in a hostile file would leave


class Kind(NamedTuple):
    """A kind of hostile file.

    Attributes:
        name: family and fault.
        make: writes one into an empty folder, all else that it needs beside it; gives the hostile file's path.
        read: has the package read it; raises AssertionError where what it gives is wrong.
        share: how many of them among those of other kinds; large files are few.
        is_part: whether it is one of several files that belong together, so that a refusal may name another of them.
    """

    name: str
    make: Callable[[Random, Path], Path]
    read: Callable[[Path], object]
    share: float = 1.0
    is_part: bool = False


class Bomb:
    """An object whose unpickling runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(CANARY)!r}, 'w').close()",)


def truncated(rng: Random, content: bytes) -> bytes:
    """Cut at a multiple of 5 % of the length."""
    return content[: len(content) * rng.randrange(20) // 20]


def flipped(rng: Random, content: bytes, most: int = 30) -> bytes:
    """Some bytes changed, half of the time only near the beginning, where headers are."""
    changed = bytearray(content)
    reach = len(content) if rng.random() < 0.5 else min(len(content), 200)
    for _ in range(rng.randint(1, most)):
        changed[rng.randrange(reach)] = rng.randrange(256)
    return bytes(changed)


def spliced(rng: Random, content: bytes) -> bytes:
    """A piece taken out, or put in twice."""
    start, end = sorted(rng.randrange(len(content)) for _ in range(2))
    return content[:start] + content[end:] if rng.random() < 0.5 else content[:end] + content[start:]


def noise(rng: Random, beginning: bytes = b"") -> bytes:
    """Random bytes after the beginning of a format."""
    return beginning + rng.randbytes(rng.choice([0, 1, 10, 1000, 20_000]))


def damaged(rng: Random, content: bytes) -> bytes:
    """Damaged in one of the ways of this module."""
    return rng.choice([truncated, flipped, flipped, spliced])(rng, content)


@cache
def packed_zeros(count: int, beginning: bytes = b"", form: str = "gzip") -> bytes:
    """Zeros after a beginning, packed a thousandfold, as gzip or bare deflate."""
    packer = zlib.compressobj(1, wbits=31 if form == "gzip" else -15)
    pieces = [packer.compress(beginning), *(packer.compress(ZEROS) for _ in range(count // len(ZEROS)))]
    return b"".join(pieces) + packer.flush()


HOSTILE_VALUES: Sequence[Any] = (
    *(None, True, -1, 0, 2**31, 2**63, 2**70, -(2**70), 0.5, 1e308, -1e308, float("nan"), float("inf")),
    *(
        "",
        " ",
        "nan",
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "a\0b",
        "a\nb",
        "\ud800",
        "\x1b[31mred",
        "x" * 5000,
    ),
    *("<script>alert(1)</script>", "$\\frac{", "${oc.env:HOME}", "{{ 7 * 7 }}", "%s%n", "C:\\x", "~", "é́"),
    *(
        [],
        {},
        [[]],
        [None],
        {"": None},
        ["a", 1, None],
        [float("nan")] * 6,
        [[0, 0]] * 3,
        {"size": [-1, -1], "counts": []},
    ),
)


def mutated(rng: Random, tree: Any, times: int = 3) -> Any:
    """A tree of lists and dictionaries in which some values are replaced, left out, doubled, or swapped."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, times)):
        node, key = _place(rng, tree)
        if node is None:
            return rng.choice(HOSTILE_VALUES)
        deed = rng.random()
        if deed < 0.7:
            node[key] = rng.choice(HOSTILE_VALUES)
        elif deed < 0.8:
            del node[key]
        elif deed < 0.9 and isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        else:
            other, other_key = _place(rng, tree)
            node[key] = copy.deepcopy(other[other_key]) if other is not None else None
    return tree


def _place(rng: Random, tree: Any) -> tuple[Any, Any]:
    """Where a random value hangs: its list or dictionary, and its place in there."""
    node, key, found = None, None, tree
    while isinstance(found, (list, dict)) and len(found) and (node is None or rng.random() < 0.75):
        node, key = found, rng.randrange(len(found)) if isinstance(found, list) else rng.choice(list(found))
        found = node[key]
    return node, key
