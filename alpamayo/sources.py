"""The two sources of scenarios: long-tail families and recorded logs."""

from alpamayo_datasets import open_log
from alpamayo_scenarios.families import make_scenario

__all__ = ["make_scenario", "open_log"]
