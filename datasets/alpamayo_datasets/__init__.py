"""Recorded logs, in and out."""

from alpamayo_datasets.log import open_log

__all__ = ["open_log"]
