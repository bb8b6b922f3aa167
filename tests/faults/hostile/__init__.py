"""Hostile files of every kind that the package reads, made from random numbers, and how it reads them."""

from tests.faults.hostile import archives, arrays, images, models, runs, texts
from tests.faults.hostile.base import CANARY, Kind

KINDS = (*images.KINDS, *arrays.KINDS, *texts.KINDS, *archives.KINDS, *models.KINDS, *runs.KINDS)
__all__ = ["CANARY", "KINDS", "Kind"]
