"""The documentation agrees with the code: it lists all public names, and all names in it exist."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from validator_episodes import episode_of

from alpamayo.drivers.registry import R157_DRIVERS
from alpamayo.evaluation import odd_coverage as odd
from alpamayo.evaluation import statistics
from alpamayo.evaluation.run_record import HARD
from alpamayo.metrics import criticality
from alpamayo.validator import RULES, rule_table, score_episode, scores
from alpamayo_sim import testing

ROOT = Path(__file__).parents[2]
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "validator").glob("*.md")}
HELPERS = {"filtered", "named", "scores_of", "score_of"}


def public(module):
    """Return the names of the public functions of a module."""
    functions = inspect.getmembers(module, inspect.isfunction)
    return {name for name, value in functions if value.__module__ == module.__name__ and not name.startswith("_")}


def named(page):
    """Return the words between backticks on a page."""
    return {word for code in re.findall(r"`([^`]+)`", PAGES[page]) for word in re.findall(r"[\w-]+", code)}


@pytest.mark.parametrize("page", ["definitions", "differences"])
def test_every_rule_score_and_metric_is_on_the_page(page):
    verdict = score_episode(episode_of(testing.scene()))
    rules = set(RULES) | set(verdict.rules)
    everything = rules | set(verdict.scores) | public(criticality) | public(scores) - HELPERS
    if page == "differences":
        everything -= {"occupation", "longitudinal_acceleration_required"}  # what others are made of
    assert everything - named(page) == set()


def test_the_definitions_name_drivers_hard_rules_levels_and_statistics():
    assert set(R157_DRIVERS) | set(HARD) <= named("definitions")
    table = PAGES["definitions"].partition("## Coverage")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\w+) \|", table, re.MULTILINE)[1:] == list(odd.LEVELS)
    figures = {name for name in named("definitions") if hasattr(statistics, name)}
    assert figures >= {
        "clopper_pearson",
        "rule_of_three",
        "clustered_bootstrap",
        "mcnemar",
        "sequential",
        "importance_rate",
    }


def test_tests_on_the_pages_exist():
    there = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        there |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    listed = {word for page in PAGES for word in named(page) if word.startswith("test_")}
    assert len(listed) > 20
    assert listed - there == set()


def test_thresholds_on_the_page_equal_the_code():
    page = PAGES["definitions"]
    for value, words in (
        (criticality.BRAKE_MPS2, "{:g} m/s²"),
        (criticality.LATERAL_MPS2, "{:g} m/s²"),
        (criticality.KICKDOWN_MPS2, "full throttle, {:g} m/s²"),
        (odd.FOG_VISIBILITY_M / 1000.0, "under {:g} km"),
        (odd.BEND_RADIUS_M, "less than {:g} m of radius"),
    ):
        assert words.format(value) in page


@pytest.mark.parametrize("page", ["formulas", "library"])
def test_examples_on_the_pages_run(page):
    names = {"episode": episode_of(testing.scene())}
    examples = re.findall(r"^```python\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    assert examples
    for example in examples:
        exec(compile(example, f"{page}.md", "exec"), names)


def test_the_rules_on_the_page_are_the_declared_ones():
    table = PAGES["definitions"].partition("## Rules")[2].partition("\n### ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(RULES)
    for row in rule_table():
        source = re.search(rf"^\| `{row['rule']}` \|.*\| ([^|]+) \|$", table, re.MULTILINE)
        assert row["source"].split(",")[0].split(";")[0] in source[1]
