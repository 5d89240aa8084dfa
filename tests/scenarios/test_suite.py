from collections import Counter

import pytest

from alpamayo_scenarios import SUITES, Suite, family_names, get_suite
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import digest


def test_the_long_tail_has_ten_of_each_family_and_no_training_seed() -> None:
    suite = get_suite("longtail-60")
    assert len(suite) == 60
    assert Counter(family for family, _ in suite.entries) == dict.fromkeys(family_names(), 10)
    assert all(seed >= 10_000 for each in SUITES for _, seed in each.entries)
    assert all(len(set(each.entries)) == len(each) for each in SUITES)


def test_a_suite_makes_its_scenarios_in_order() -> None:
    suite = get_suite("longtail-60").first(7)
    made = list(suite)
    assert [(scenario.family, scenario.seed) for scenario in made] == list(suite.entries)
    assert {family for family, _ in suite.entries} == set(family_names())
    assert len({digest(scenario) for scenario in made}) == 7


def test_a_suite_digest_stays_and_tells_suites_apart() -> None:
    suite = get_suite("longtail-60")
    assert suite.first(3).digest() == suite.first(3).digest()
    swapped = Suite("x", 1, suite.entries[:3][::-1])
    assert len({suite.first(2).digest(), suite.first(3).digest(), swapped.digest()}) == 3


def test_bad_names_and_counts() -> None:
    with pytest.raises(InputError, match="did you mean longtail-60"):
        get_suite("longtail60")
    for count in (0, 61):
        with pytest.raises(InputError, match=f"has 60 scenarios, asked for {count}"):
            get_suite("longtail-60").first(count)
