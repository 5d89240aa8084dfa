"""Recorded logs, in and out."""
