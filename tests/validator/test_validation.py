"""Validation of records: reproducible bytes, all exclusions listed, only judged runs counted."""

import html
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console
from validator_episodes import episode_of, scene_on_route

from alpamayo.episode import load_episode, save_episode
from alpamayo.evaluation import figures, manifest, preventability, rescoring, validation
from alpamayo.evaluation import odd_coverage as odd
from alpamayo.evaluation.guard_figures import guard_figures
from alpamayo.report import console
from alpamayo.report.console import narrow_table
from alpamayo.report.episode_page import report_data
from alpamayo.report.text import single_score_text
from alpamayo.runs import write_run
from alpamayo.validator import score_episode
from alpamayo_scenarios.families import make_scenario
from alpamayo_sim import testing
from alpamayo_sim.datatypes.scene import Environment
from alpamayo_sim.errors import InputError


@pytest.fixture
def suite(tmp_path):
    """Drive three scenarios with two drivers, of which one crashes twice; damage one record, remove one."""
    folder = tmp_path / "suite"
    for driver in ("good", "bad"):
        for seed in range(3):
            others = [testing.standing("wall", 25.0, 0.0)] if driver == "bad" and seed < 2 else []
            episode = episode_of(scene_on_route(*others))
            scenario = replace(episode.scenario, seed=seed, parameters={"gap": 10.0 + seed})
            save_episode(replace(episode, scenario=scenario, driver=driver), folder / driver / f"run-{seed}")
    damaged = folder / "bad" / "run-9"
    damaged.mkdir()
    (damaged / "episode.json").write_text("{", encoding="utf-8")
    runs = tuple(f"{driver}/run-{seed}" for driver in ("good", "bad") for seed in range(4))
    manifest.write(manifest.Manifest({"suite": "three"}, runs, {"bad/run-3": "the driver raised"}), folder)
    return folder


@pytest.fixture
def found(suite):
    return rescoring.rescore(suite, workers=1, prevent=False).document


def test_figures_of_a_suite(found):
    assert found["runs"] == 6
    assert found["excluded"] == [
        {"run": "bad/run-3", "reason": "the driver raised"},
        {"run": "bad/run-9", "reason": found["excluded"][1]["reason"]},
        {"run": "good/run-3", "reason": "there is no record of it"},
    ]
    bad, good = found["drivers"]["bad"], found["drivers"]["good"]
    rate = bad["rules"]["at_fault_collision"]["broken"]
    assert (rate["count"], rate["n"]) == (2, 3)
    fine = good["rules"]["at_fault_collision"]["broken"]
    assert (fine["count"], fine["high"]) == (0, pytest.approx(1 - 0.025 ** (1 / 3)))
    assert fine["below"] == pytest.approx(1 - 0.05 ** (1 / 3))
    assert good["kilometres_per_incident"]["value"] is None
    assert good["kilometres_per_incident"]["low"] > 0.0
    assert bad["kilometres"] == pytest.approx(0.09)
    before = 0.03 + 2 * 0.021  # both hit the wall at 2.1 s and 10 m/s; what comes after that is no exposure
    assert bad["kilometres_before_incident"] == pytest.approx(before)
    assert bad["kilometres_per_incident"]["value"] == pytest.approx(before / 2)
    assert found["coverage"]["families"]["test"]["ranges"]["gap"] == [10.0, 12.0]
    crash = next(run for run in found["records"] if run["run"] == "bad/run-0")
    assert [row["rule"] for row in crash["failures"]] == ["at_fault_collision"]
    assert {row["rule"] for row in crash["violations"]} >= {"at_fault_collision", "time_to_collision"}
    assert len(crash["hashes"]["episode.npz"]) == 64


def test_every_rule_and_score_has_its_figures(found):
    for row in found["drivers"].values():
        assert set(row["rules"]) == set(found["records"][0]["rules"])
        for rule in row["rules"].values():
            assert rule["broken"]["n"] + rule["not_applicable"] == row["n"]
        assert {"epdms_filtered", "alpasim_scene_score", "bench2drive", "rater_feedback"} < set(row["scores"])
        for score in row["scores"].values():
            assert score["n"] + sum(score["not_applicable"].values()) == row["n"]
            assert score["n"] == 0 or score["low"] <= score["value"] <= score["high"]
            assert score["parts"]


def test_drivers_are_compared_on_common_scenarios(suite):
    for driver in ("good", "bad"):  # the same scenario, so that there is a pair
        episode = load_episode(suite / "good" / "run-0")
        save_episode(replace(episode, driver=driver, arrived=driver == "good"), suite / driver / "pair")
    found = rescoring.rescore(suite, workers=1, prevent=False).document
    (row,) = found["comparisons"]
    assert row["drivers"] == ["bad", "good"]
    assert row["n"] == 2  # bad/run-2 is the scenario of good/run-2, too
    assert row["figures"]["at_fault_collision"]["p"] == 1.0
    assert row["figures"]["pdms"]["p_holm"] >= row["figures"]["pdms"]["p"]


def test_the_same_records_give_the_same_bytes_for_any_number_of_workers(suite, tmp_path):
    for name, workers in (("a", 1), ("b", 2)):
        validation.validate(suite, tmp_path / name, workers=workers, prevent=False)
    for file in ("validation.json", "validation.html"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["validation.html", "validation.json"]
    page = (tmp_path / "a" / "validation.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") == 2
    assert "the driver raised" in page
    assert "2 incidents in 0.07 km" in page
    assert "http" not in page


def test_stored_verdicts_are_recomputed(suite, tmp_path):
    before = rescoring.rescore(suite, workers=1, prevent=False).document
    folder = suite / "bad" / "run-0"
    episode = load_episode(folder)
    verdict = score_episode(load_episode(suite / "good" / "run-0"))
    write_run(episode, verdict, folder, extra={"at_fault_collision": False})
    (suite / "evaluation.json").write_text('{"drivers": []}')
    assert rescoring.rescore(suite, workers=1, prevent=False).document == before


def test_an_interrupted_validation_resumes(suite, tmp_path, monkeypatch):
    report = tmp_path / "report"

    def interrupt(what, done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        validation.validate(suite, report, workers=1, prevent=False, progress=interrupt)
    kept = list((report / ".unfinished").iterdir())
    assert len(kept) == 3
    judged = []
    real = rescoring.judge_run
    monkeypatch.setattr(
        rescoring, "judge_run", lambda folder, name, formulas: judged.append(name) or real(folder, name)
    )
    document, _ = validation.validate(suite, report, workers=1, prevent=False)
    assert document["runs"] == 6
    assert len(judged) == 7 - 3
    assert not (report / ".unfinished").exists()
    assert document == rescoring.rescore(suite, workers=1, prevent=False).document


def test_nothing_to_validate_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        rescoring.rescore(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no episode\.json"):
        rescoring.rescore(tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "episode.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="none of its 1"):
        rescoring.rescore(tmp_path)
    (tmp_path / "suite.json").write_text('{"version": 99, "about": {}, "runs": [], "left_out": {}}')
    with pytest.raises(InputError, match="version 99"):
        rescoring.rescore(tmp_path)
    (tmp_path / "suite.json").write_text("[]")
    with pytest.raises(InputError, match="not a suite's list"):
        rescoring.rescore(tmp_path)


def test_a_refused_validation_writes_nothing(tmp_path):
    broken, report = tmp_path / "broken", tmp_path / "report"
    broken.mkdir()
    (broken / "episode.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="none of its 1"):
        validation.validate(broken, report, workers=1)
    assert not report.exists()
    report.mkdir()
    with pytest.raises(InputError, match="none of its 1"):
        validation.validate(broken, report, workers=1)
    assert list(report.iterdir()) == []


def test_tables_cut_nothing_on_80_columns():
    heads = console.EVALUATION_HEADS
    table = narrow_table(heads, "title", ["r157-regulation"])
    table.add_row("r157-regulation", "off", *["100%\n[95, 100]"] * 4, "1,234 m\n[1100, 1300]", "0.95\n[0.90, 1.00]")
    narrow = Console(width=80, file=io.StringIO(), record=True)
    narrow.print(table)
    text = narrow.export_text()
    assert "…" not in text
    assert {*" ".join(heads).split(), "r157-regulation"} <= set(text.split())


def test_a_page_shows_names_as_they_are_and_runs_no_script_of_theirs(tmp_path):
    episode = episode_of(scene_on_route(testing.standing("<script>alert(1)</script>", 25.0, 0.0)))
    save_episode(replace(episode, driver="<b>me</b>"), tmp_path / "run")
    validation.validate(tmp_path / "run", tmp_path / "report", prevent=False)
    page = (tmp_path / "report" / "validation.html").read_text(encoding="utf-8")
    assert page.count("<script>") == 1  # the page's own, which sorts and filters tables
    assert "<script>alert" not in page
    assert "<script>alert" in html.unescape(page)  # the name is there as text
    assert "&lt;b&gt;me&lt;/b&gt;" in page


def test_only_named_drivers_make_a_collision_preventable(tmp_path):
    episode = episode_of(
        scene_on_route(testing.standing("wall", 25.0, 0.0), ego=testing.moving("ego", 0.0, 0.0, 2.0)), speed=2.0
    )
    save_episode(episode, tmp_path)
    assert preventability.avoided_by(tmp_path, ("r157-fsm", "rss")) == {"r157-fsm": True, "rss": True}
    late = episode_of(
        scene_on_route(testing.standing("wall", 12.0, 0.0), ego=testing.moving("ego", 0.0, 0.0, 15.0)), speed=15.0
    )
    save_episode(late, tmp_path)
    assert preventability.avoided_by(tmp_path, ("r157-fsm", "rss")) == {"r157-fsm": False, "rss": False}
    record, _ = rescoring.judge_run(tmp_path, "late")
    (row,) = preventability.rows([record], {record["hashes"]["scenario"]: {"r157-fsm": False, "rss": None}})
    assert row["avoided_by"] == {"r157-fsm": False}
    assert row["cannot_drive"] == ["rss"]


def test_levels_of_the_domain():
    degrees = np.pi / 180
    assert [odd.light(x * degrees) for x in (30, 5, -3, -20)] == ["day", "low sun", "twilight", "night"]
    rain = [odd.weather(Environment(rain=mm)) for mm in (0.0, 1.0, 5.0, 20.0)]
    assert rain == ["dry", "light rain", "moderate rain", "heavy rain"]
    assert odd.weather(Environment(visibility=200.0)) == "fog"
    assert odd.road(make_scenario("red-light-runner", 3).scene) == "intersection"
    assert {odd.road(make_scenario("cut-in", seed).scene) for seed in range(6)} == {"straight", "bend"}


def test_friction_and_speed_have_levels():
    for friction, level in ((0.9, 0), (0.7, 0), (0.5, 1), (0.2, 2)):
        scene = replace(scene_on_route(), environment=Environment(friction=friction))
        found = odd.levels(episode_of(scene, speed=14.0))
        assert found["friction"] == odd.LEVELS["friction"][level]
        assert found["speed"] == "50 to 80 km/h"


def test_t_wise_coverage_counts_combinations():
    axes = {"a": ("x", "y"), "b": ("u", "v"), "c": ("1", "2", "3")}
    points = [{"a": "x", "b": "u", "c": "1"}, {"a": "x", "b": "v", "c": "1"}, {"a": "x", "b": "u", "c": "1"}]
    assert odd.t_wise(points, axes, 2) == {"covered": 2 + 1 + 2, "of": 4 + 6 + 6, "share": 5 / 16}
    assert odd.t_wise(points, axes, 3) == {"covered": 2, "of": 12, "share": 2 / 12}
    assert len(odd.missing_pairs(points, axes)) == 16 - 5


def test_a_guard_is_judged_by_the_real_motions():
    calm = episode_of(scene_on_route())
    intervened = np.zeros(calm.steps, bool)
    intervened[4:8] = True
    timings = {"guard": np.full(calm.steps, 0.002, np.float32)}
    guarded = replace(calm, guarded=True, intervened=intervened, timings=timings)
    figures = guard_figures(guarded, score_episode(guarded))
    assert figures["interventions"] == figures["false_alarms"] == 4
    assert figures["latency_ms"]["99"] == pytest.approx(2.0)
    assert not figures["missed"]
    crash = replace(episode_of(scene_on_route(testing.standing("wall", 25.0, 0.0))), guarded=True)
    figures = guard_figures(crash, score_episode(crash))
    assert figures["missed"]
    warned = replace(crash, intervened=np.arange(crash.steps) == 15)
    figures = guard_figures(warned, score_episode(warned))
    assert figures["false_alarms"] == 0
    assert not figures["missed"]


def test_a_rule_that_raises_is_reported_everywhere(suite, tmp_path, capsys):
    formulas = {"odd": "always(0 / 0 * speed > 1)"}
    document, page = validation.validate(suite, tmp_path / "r", workers=1, prevent=False, formulas=formulas)
    (row,) = document["raised"]
    assert (row["rule"], row["runs"]) == ("odd", 6)
    assert document["drivers"]["bad"]["rules"]["odd"]["broken"]["count"] == 3
    assert "gives NaN" in page.read_text(encoding="utf-8").partition("Rules that raised")[2]
    console.show_validation(document | {"excluded": [{"run": "a", "reason": "b [/b] c [red]"}]}, page)
    printed = capsys.readouterr().out
    assert "raised odd in 6 of 6 runs" in printed
    assert "a: b [/b] c [red]" in printed
    clean = rescoring.rescore(suite, workers=1, prevent=False).document
    assert clean["raised"] == []


def test_the_difference_of_few_pairs_has_a_wide_interval():
    """Three pairs with equal differences would have a bootstrap interval of width 0."""
    runs = [{"driver": d, "scenario": i, "x": x, "m": 50 * x} for d, x in (("a", 0.75), ("b", 0.5)) for i in range(3)]
    scored = {"x": lambda run: run["x"], "m": lambda run: run["m"]}
    (row,) = figures.comparisons(runs, 0.95, {}, scored, lambda run: run["scenario"])
    found = row["figures"]["x"]
    assert found["difference"] == pytest.approx(0.25)
    assert -1.0 < found["low"] < 0.0 < 0.25 < found["high"] < 1.0
    assert row["figures"]["m"]["low"] is row["figures"]["m"]["high"] is None


def test_the_guards_figures_have_intervals_from_ten_scenarios_on():
    def run(i):
        guard = {"interventions": i, "false_alarms": i // 2, "progress_lost_m": 0.1 * i, "missed": False}
        guard["latency_ms"] = {"50": 1.0, "99": 2.0}
        return {"scenario": f"s{i}", "hashes": {"scenario": ""}, "kilometres": 0.1, "guard": guard, "violations": []}

    few, many = (figures._guard([run(i) for i in range(1, n)], 0.95) for n in (6, 31))
    assert few["interventions_per_km"] == pytest.approx({"value": 30.0, "low": None, "high": None, "n": 0.5})
    assert few["false_alarms"] == pytest.approx({"count": 6, "value": 6 / 15, "low": None, "high": None, "n": 15})
    for name, value in (("interventions_per_km", 155.0), ("progress_lost_m_per_km", 15.5)):
        row = many[name]
        assert row["value"] == pytest.approx(value)
        assert 0.5 * value < row["low"] < value < row["high"] < 1.5 * value
    assert many["false_alarms"]["low"] < many["false_alarms"]["value"] < many["false_alarms"]["high"] < 0.5
    none = figures._guard([run(0)], 0.95)["false_alarms"]
    assert none == {"count": 0, "value": None, "low": None, "high": None, "n": 0}


def test_the_document_is_json(suite, tmp_path):
    validation.validate(suite, tmp_path / "r", workers=1, prevent=False)
    document = json.loads((tmp_path / "r" / "validation.json").read_text(encoding="utf-8"))
    assert document["runs"] == 6
    assert document["suite"] == {"suite": "three"}


def test_the_guards_cost_is_reported_on_common_scenarios(tmp_path):
    scene = scene_on_route()
    for name, speed, guarded in (("bare", 10.0, False), ("watched", 6.0, True)):
        episode = replace(episode_of(scene, speed=speed), driver="same", guarded=guarded)
        save_episode(episode, tmp_path / "suite" / name)
    document, page = validation.validate(tmp_path / "suite", tmp_path / "report", workers=1, prevent=False)
    (pair,) = document["comparisons"]
    assert pair["drivers"] == ["same", "same+guard"]
    lost = pair["figures"]["progress"]["difference"]
    bare, watched = (document["drivers"][name]["rules"]["progress"]["value"] for name in pair["drivers"])
    assert lost == pytest.approx(bare - watched)
    assert lost > 0.1
    assert (
        f"<b>{lost:.3f}</b>"
        in page.read_text(encoding="utf-8").partition("progress without the guard minus with it")[2]
    )


def test_all_runs_of_a_driver_in_a_scenario_count():
    def run(driver, scenario, score, failed):
        return {"driver": driver, "scenario": scenario, "score": score, "failed": failed}

    runs = [run("a", "x", 0.0, True), run("a", "x", 1.0, False), run("b", "x", 0.2, False), run("b", "y", 1.0, True)]
    failed, scored = {"failed": lambda r: r["failed"]}, {"score": lambda r: r["score"]}
    for order in (runs, runs[::-1]):
        (row,) = figures.comparisons(order, 0.95, failed, scored, lambda r: r["scenario"])
        assert (row["n"], row["runs"]) == (1, [2, 1])
        assert row["figures"]["score"]["difference"] == pytest.approx(0.5 - 0.2)
        assert row["figures"]["failed"]["difference"] == pytest.approx(0.5)
        assert "McNemar" not in row["figures"]["failed"]["test"]
        assert row["figures"]["failed"]["rate"]
    (once,) = figures.comparisons(runs[1:], 0.95, failed, scored, lambda r: r["scenario"])
    assert "McNemar" in once["figures"]["failed"]["test"]


def test_bounds_of_few_scores_go_up_to_the_best():
    of_one = figures.mean([0.005, 0.01], ["x", "y"], 0.95)
    of_hundred = figures.mean([0.5, 1.0], ["x", "y"], 0.95, 100.0)
    for bound in ("low", "value", "high"):
        assert of_hundred[bound] == pytest.approx(100.0 * of_one[bound])
    assert figures.mean([0.5, 1.0], ["x", "y"], 0.95, np.inf)["high"] is None
    runs = [{"driver": d, "scenario": "x", "bench2drive": s} for d, s in (("a", 0.5), ("b", 0.0))]
    scored = {"bench2drive": lambda r: r["bench2drive"]}
    (row,) = figures.comparisons(runs, 0.95, {}, scored, lambda r: r["scenario"])
    assert row["figures"]["bench2drive"]["high"] > 50.0


def test_missing_parts_are_named_beside_the_number(tmp_path, capsys):
    bare = episode_of(scene_on_route(road_map=testing.two_way_road(0, area=False)))
    save_episode(bare, tmp_path / "runs" / "bare")
    document, page = validation.validate(tmp_path / "runs", tmp_path / "one", prevent=False, workers=1)
    console.show_validation(document, page)
    printed = capsys.readouterr().out
    assert "PDM score of test: without drivable area\n" in printed
    assert "the scenario is generated" in " ".join(printed.split())
    headline = page.read_text(encoding="utf-8").partition("Headlines")[2].partition("</tr>\n")[0]
    assert "without drivable area<" in headline
    save_episode(episode_of(scene_on_route()), tmp_path / "runs" / "whole")
    document, page = validation.validate(tmp_path / "runs", tmp_path / "two", prevent=False, workers=1)
    assert document["drivers"]["test"]["scores"]["pdms"]["missing"] == {"drivable_area": 1}
    console.show_validation(document, page)
    assert "PDM score of test: without drivable area in 1 of 2\n" in capsys.readouterr().out
    figures = dict(report_data(bare, score_episode(bare))["figures"])
    assert figures["PDM score (1 is best), without drivable area"] == "0.83"
    assert not any("nan" in text for text in figures.values())
    rows = report_data(bare, score_episode(bare))["scores"]
    assert ("\u2003stays on the road", None, "missing", True) in rows
    at = next(i for i, row in enumerate(rows) if row[0] == "AlpaSim scene score")
    assert rows[at][1:] == (None, "no ego was recorded: the scenario is generated", False)
    assert not rows[at + 1][0].startswith("\u2003")  # no parts of what has no value
    row = write_run(bare, score_episode(bare), tmp_path / "written")
    assert row["scores"]["pdms"] == {"value": row["pdm_score"], "missing": ["drivable_area"]}
    assert single_score_text(row["scores"]["pdms"]) == "0.83, without drivable area"
