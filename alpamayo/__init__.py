"""The long tail of driving: simulate the rare scene, drive it, score what was decided.

The names that most users need are here and are loaded when they are used::

    import alpamayo

    scenario = alpamayo.make_scenario("cut-in", seed=3)
    episode = alpamayo.drive(scenario, alpamayo.make_driver("tiny"))
    print(alpamayo.score_episode(episode).scores)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alpamayo.closed_loop import drive as drive
    from alpamayo.drivers.registry import make_driver as make_driver
    from alpamayo.episode import Episode as Episode
    from alpamayo.episode import load_episode as load_episode
    from alpamayo.episode import save_episode as save_episode
    from alpamayo.evaluation import evaluate as evaluate
    from alpamayo.report import write_report as write_report
    from alpamayo.validator import score_episode as score_episode
    from alpamayo.validator import score_plans as score_plans
    from alpamayo_datasets import open_log as open_log
    from alpamayo_scenarios.families import make_scenario as make_scenario

__version__ = "0.1.0"

_HOME = {
    "Episode": "alpamayo.episode",
    "drive": "alpamayo.closed_loop",
    "evaluate": "alpamayo.evaluation",
    "load_episode": "alpamayo.episode",
    "make_driver": "alpamayo.drivers.registry",
    "make_scenario": "alpamayo_scenarios.families",
    "open_log": "alpamayo_datasets",
    "save_episode": "alpamayo.episode",
    "score_episode": "alpamayo.validator",
    "score_plans": "alpamayo.validator",
    "write_report": "alpamayo.report",
}
__all__ = [
    "Episode",
    "drive",
    "evaluate",
    "load_episode",
    "make_driver",
    "make_scenario",
    "open_log",
    "save_episode",
    "score_episode",
    "score_plans",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'alpamayo' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
