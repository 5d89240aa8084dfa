"""Evidence from records: the same bytes again, nothing hidden, nothing counted that was not judged."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alpamayo.episode import save_episode
from alpamayo.validator import evidence
from alpamayo_sim.errors import InputError

SPEC = importlib.util.spec_from_file_location("episodes_under_test", Path(__file__).with_name("test_episode.py"))
assert SPEC is not None
assert SPEC.loader is not None
episodes = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(episodes)


@pytest.fixture
def suite(make, tmp_path):
    """Three scenarios by two drivers, one of which crashes twice; one record is damaged."""
    for driver in ("good", "bad"):
        for seed in range(3):
            others = [make.track("wall", 25.0, 0.0)] if driver == "bad" and seed < 2 else []
            episode = episodes.episode_of(make, make.scene(*others))
            scenario = replace(episode.scenario, seed=seed, parameters={"gap": 10.0 + seed})
            folder = tmp_path / "suite" / driver / f"run-{seed}"
            folder.mkdir(parents=True)
            save_episode(replace(episode, scenario=scenario, driver=driver), folder)
    damaged = tmp_path / "suite" / "bad" / "run-9"
    damaged.mkdir()
    (damaged / "episode.json").write_text("{", encoding="utf-8")
    return tmp_path / "suite"


def test_evidence_of_a_suite(suite):
    found = evidence.collect(suite)
    assert found["runs"] == 6
    assert [row["run"] for row in found["excluded"]] == ["bad/run-9"]
    bad, good = found["drivers"]["bad"], found["drivers"]["good"]
    assert (bad["at_fault_collision"]["count"], bad["at_fault_collision"]["n"]) == (2, 3)
    assert good["at_fault_collision"]["count"] == 0
    assert good["at_fault_collision"]["high"] == pytest.approx(1 - 0.025 ** (1 / 3))
    assert good["kilometres_per_incident"]["value"] is None
    assert good["kilometres_per_incident"]["low"] > 0.0
    assert bad["kilometres_per_incident"]["value"] == pytest.approx(0.09 / 2)
    assert found["coverage"]["test"]["ranges"]["gap"] == [10.0, 12.0]
    (pair,) = found["paired"]
    assert pair["at_fault_collision"]["difference"] == pytest.approx(2 / 3)
    crash = next(run for run in found["records"] if run["run"] == "bad/run-0")
    assert crash["failures"][0]["rule"] != "comfort"
    assert {row["rule"] for row in crash["failures"]} >= {"at_fault_collision", "time_to_collision"}
    assert len(crash["hashes"]["episode.npz"]) == 64


def test_the_same_records_give_the_same_bytes(suite, tmp_path):
    pages = [evidence.write_evidence(evidence.collect(suite), tmp_path / name) for name in ("a", "b")]
    assert pages[0].read_bytes() == pages[1].read_bytes()
    texts = [(tmp_path / name / "evidence.json").read_text(encoding="utf-8") for name in ("a", "b")]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["runs"] == 6
    assert "wall" in pages[0].read_text(encoding="utf-8")


def test_nothing_to_validate_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no episode\.json"):
        evidence.collect(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "episode.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="none of its 1"):
        evidence.collect(tmp_path)


def test_a_guard_is_judged_by_what_happened(make):
    calm = episodes.episode_of(make, make.scene())
    intervened = np.zeros(calm.steps, bool)
    intervened[4:8] = True
    timings = {"guard": np.full(calm.steps, 0.002, np.float32)}
    guarded = replace(calm, guarded=True, intervened=intervened, timings=timings)
    figures = evidence.guard_figures(guarded, evidence.score_episode(guarded))
    assert figures["interventions"] == figures["false_alarms"] == 4
    assert figures["latency_ms"]["99"] == pytest.approx(2.0)
    assert not figures["missed"]
    crash = replace(episodes.episode_of(make, make.scene(make.track("wall", 25.0, 0.0))), guarded=True)
    figures = evidence.guard_figures(crash, evidence.score_episode(crash))
    assert figures["missed"]
    warned = replace(crash, intervened=np.arange(crash.steps) == 15)
    figures = evidence.guard_figures(warned, evidence.score_episode(warned))
    assert figures["false_alarms"] == 0
    assert not figures["missed"]
