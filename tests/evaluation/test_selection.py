"""The scenarios of an evaluation by choice: suites, families with seeds, logs."""

import os
from pathlib import Path

import pytest

from alpamayo.evaluation.selection import entry_name, seeds_of, select
from alpamayo_scenarios import get_suite
from alpamayo_scenarios.suites import FIRST_EVALUATION_SEED, SuiteEntry
from alpamayo_sim import testing
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.scene_file import save_scene


def test_without_a_choice_it_is_the_first_sixty_of_the_default_suite() -> None:
    whole = get_suite("long-tail-6")
    found = select()
    assert (found.name, found.digest) == ("long-tail-6[:60]", whole.first(60).digest)
    assert found == select(suites=["long-tail-6"])
    assert select(suites=["longtail-mini"]).digest == get_suite("longtail-mini").digest


def test_families_are_driven_with_all_seeds() -> None:
    found = select(families=["cut-in", "debris"], seeds=[3, 4])
    names = ["cut-in-00003", "debris-00003", "cut-in-00004", "debris-00004"]
    assert [entry_name(entry) for entry in found.entries] == names
    assert found.entries[0] == SuiteEntry.drawn("cut-in", 3)
    assert {entry.seed for entry in select(families=["cut-in"]).entries} == set(
        range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 10)
    )


def test_choices_are_joined_and_equal_scenarios_are_one() -> None:
    both = select(suites=["longtail-mini"], families=["cut-in"], seeds=[3])
    assert len(both.entries) == len(get_suite("longtail-mini")) + 1
    assert len(select(suites=["longtail-mini", "longtail-mini"]).entries) == len(get_suite("longtail-mini"))
    assert select(families=["cut-in"], seeds=[3, 5], episodes=1).entries == (SuiteEntry.drawn("cut-in", 3),)


def test_logs_of_a_folder_are_found_and_named(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save_scene(testing.street(steps=20), tmp_path / folder / "same")
    (tmp_path / "notes.txt").write_text("no log")
    found = select(logs=[tmp_path])
    assert [entry_name(entry) for entry in found.entries] == ["log-same.json", "log-same.json-2"]
    assert found.entries[0].family == "log"
    assert all(os.sep not in entry_name(entry) for entry in found.entries)


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", [3]), ("0-2,7", [0, 1, 2, 7]), (" 4 - 5 , 4", [4, 5]), ("10000", [10000])]
)
def test_seeds_are_read(text: str, seeds: list[int]) -> None:
    assert seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "3-1", "-1", "1.5", "0-999999999", "9" * 19, "1,,2"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="seeds"):
        seeds_of(text)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"seeds": [1]}, "seeds are for families"),
        ({"families": ["cutin"]}, "did you mean cut-in"),
        ({"suites": ["longtail"]}, "unknown suite"),
        ({"logs": ["/no/such/folder"]}, "/no/such/folder"),
        ({"families": ["cut-in"], "seeds": [1], "episodes": 2}, "has 1 scenarios, asked for 2"),
        ({"families": ["cut-in"], "seeds": range(200_000)}, "more than 100000"),
    ],
)
def test_a_choice_that_cannot_be_is_one_line(choice: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        select(**choice)  # type: ignore[arg-type]
