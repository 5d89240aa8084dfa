"""Recorded logs as Scenes: ``open_log`` reads every format of ``readers``."""

from alpamayo_datasets.log import open_log, scene_ids
from alpamayo_datasets.readers import READERS, Reader

__all__ = ["READERS", "Reader", "open_log", "scene_ids"]
