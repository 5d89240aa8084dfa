"""The command line, in a separate process as for a user."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import typer

from alpamayo.cli import GROUPS, app
from alpamayo_scenarios.families import FAMILIES, family_names


def alpamayo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alpamayo", *arguments], capture_output=True, encoding="utf-8", cwd=cwd, timeout=300
    )


def heed_interrupts() -> None:
    """Undo what a shell that runs the tests in the background has set."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def one_line_error(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    assert lines[-1].startswith("alpamayo: "), done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[-1]


def test_drive_writes_record_video_and_report(tmp_path: Path) -> None:
    done = alpamayo("drive", "cut-in", "--driver", "idm", "--seed", "3", "--out", "a", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["driver"] == "idm"
    assert row["seed"] == 3
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"episode.json", "episode.npz", "verdict.json", "summary.json", "video.mp4", "report.html"}
    page = (tmp_path / "a" / "report.html").read_text(encoding="utf-8")
    assert "http://" not in page
    assert "https://" not in page
    assert (tmp_path / "a" / "video.mp4").stat().st_size > 10_000


def test_scenarios_list_names_all_families(tmp_path: Path) -> None:
    done = alpamayo("scenarios", "list", "--json", cwd=tmp_path)
    names = {family["name"] for family in json.loads(done.stdout)}
    assert names == set(family_names()) >= {"cut-in", "occluded-child", "debris", "red-light-runner", "wrong-way"}
    for family in json.loads(done.stdout):
        assert all(p["source"] and p["low"] <= p["high"] for p in family["parameters"])


def test_evaluate_compares_drivers_and_resumes(tmp_path: Path) -> None:
    arguments = ("evaluate", "--driver", "constant-velocity,idm", "--episodes", "6", "--json", "--out", "e")
    first = alpamayo(*arguments, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    result = json.loads(first.stdout)
    assert [row["driver"] for row in result["drivers"]] == ["constant-velocity", "idm"]
    assert all(row["n"] == 6 for row in result["drivers"])
    for row in result["drivers"]:
        rate = row["at_fault_rate"]
        assert 0.0 <= rate["low"] <= rate["value"] <= rate["high"] <= 1.0
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "e").rglob("episode.npz")}
    assert len(times) == 12
    again = alpamayo(*arguments, cwd=tmp_path)
    assert "idm: 6 of 6 runs taken from an earlier call with the same inputs" in again.stderr
    assert json.loads(again.stdout) == result
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "e").rglob("episode.npz")} == times


def test_validate_rescores_a_suite_run(tmp_path: Path) -> None:
    arguments = ("--driver", "constant-velocity", "--episodes", "2", "--stop-when", "arrived > 99%", "--out", "e")
    driven = alpamayo("evaluate", *arguments, "--json", cwd=tmp_path)
    assert driven.returncode == 0, driven.stderr
    (tmp_path / "e" / "constant-velocity" / "torn").mkdir()
    (tmp_path / "e" / "constant-velocity" / "torn" / "episode.json").write_text("{")
    done = alpamayo("validate", "e", "--report", "r", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((tmp_path / "r" / "validation.json").read_text(encoding="utf-8"))
    row = json.loads(driven.stdout)["drivers"][0]
    assert document["runs"] == row["n"]
    reasons = {run["run"]: run["reason"] for run in document["excluded"]}
    assert "not valid JSON" in reasons.pop("constant-velocity/torn")
    assert set(reasons.values()) <= {"driven after the stop rule was decided"}
    assert row["n"] + len(reasons) <= 2
    found = document["drivers"]["constant-velocity"]
    assert found["rules"]["at_fault_collision"]["broken"]["count"] == row["at_fault_rate"]["count"]
    assert found["scores"]["pdms"]["value"] == pytest.approx(row["pdm_score"]["value"], abs=1e-4)
    assert {path.name for path in (tmp_path / "r").iterdir()} == {"validation.html", "validation.json"}
    episode = alpamayo("validate", "e/constant-velocity/cut-in-10000", "--no-preventability", cwd=tmp_path)
    assert episode.returncode == 0, episode.stderr
    assert "runs/validation-cut-in-10000/validation.html" in episode.stdout


def test_folders_without_episodes_and_bad_options_are_errors(tmp_path: Path) -> None:
    one_line_error(alpamayo("validate", "absent", cwd=tmp_path), "absent")
    one_line_error(alpamayo("validate", ".", cwd=tmp_path), "episode.json")
    one_line_error(alpamayo("evaluate", "--stop-when", "at-fault > 5%", cwd=tmp_path), "at-fault > 5%")
    one_line_error(alpamayo("evaluate", "--importance", "cut-inn", "--driver", "idm", cwd=tmp_path), "cut-in")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_keeps_its_finished_results(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "alpamayo",
        "drive",
        "wrong-way",
        "--driver",
        "idm",
        "--episodes",
        "50",
        "--out",
        "r",
    ]
    first = tmp_path / "r" / "wrong-way-00000"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    with subprocess.Popen(command, cwd=tmp_path, preexec_fn=heed_interrupts, **pipes) as run:  # type: ignore[call-overload]
        deadline = time.monotonic() + 240
        while not (first / "report.html").is_file() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    names = {path.name for path in first.iterdir()}
    assert names == {"episode.json", "episode.npz", "verdict.json", "summary.json", "video.mp4", "report.html"}
    half_written = [path for path in (tmp_path / "r").rglob("*") if path.is_file() and path.name.startswith(".")]
    assert half_written == []


def test_an_unknown_family_gets_a_suggestion(tmp_path: Path) -> None:
    one_line_error(alpamayo("drive", "cut-inn", cwd=tmp_path), "cut-inn", "cut-in")
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_driver_gets_a_suggestion(tmp_path: Path) -> None:
    one_line_error(alpamayo("drive", "--driver", "tinny", cwd=tmp_path), "tinny", "tiny")
    assert list(tmp_path.iterdir()) == []


def test_a_driver_in_the_current_folder_that_fails_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("class Mine:\n    def __init__(self):\n        self.weights.shape\n")
    script = "import sys; sys.path[0] = '/nowhere'; from alpamayo.cli import main; main()"  # as the installed command
    command = [sys.executable, "-c", script, "drive", "--driver", "mine:Mine"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path, timeout=300)
    one_line_error(done, "mine:Mine", "mine.py, line 3")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("driver", ["no_such_module:Driver", "json:NoSuchClass", "json:JSONDecoder"])
def test_invalid_driver_classes_are_errors(tmp_path: Path, driver: str) -> None:
    one_line_error(alpamayo("drive", "--driver", driver, cwd=tmp_path), driver)


def test_missing_and_damaged_logs_are_errors(tmp_path: Path) -> None:
    one_line_error(alpamayo("replay", "absent.pkl", cwd=tmp_path), "absent.pkl")
    (tmp_path / "cut.pkl").write_bytes(b"\x80\x04\x95")
    one_line_error(alpamayo("replay", "cut.pkl", cwd=tmp_path), "cut.pkl")
    (tmp_path / "words.json").write_text('{"name": ')
    one_line_error(alpamayo("replay", "words.json", cwd=tmp_path), "words.json")


def test_hostile_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "hostile.pkl").write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.")
    one_line_error(alpamayo("replay", "hostile.pkl", cwd=tmp_path), "hostile.pkl")
    assert not (tmp_path / "executed").exists()


def test_an_invalid_checkpoint_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"not weights")
    one_line_error(alpamayo("drive", "--checkpoint", "weights.safetensors", cwd=tmp_path), "weights.safetensors")


def test_an_output_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    one_line_error(alpamayo("drive", "--driver", "idm", "--out", "taken", cwd=tmp_path), "taken")
    assert (tmp_path / "taken").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    one_line_error(alpamayo("drive", "--driver", "idm", "--out", "locked/a", cwd=tmp_path), "locked")


@pytest.mark.realdata
def test_log_driver_repeats_the_recording(tmp_path: Path, realdata: Path) -> None:
    log = realdata / "womd_json" / "tfrecord-00000-of-01000_402.json"
    done = alpamayo("replay", str(log), "--driver", "log", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout)
    assert row["deviation_from_recording_m"] <= 1e-3
    assert row["steps"] == 90


def test_the_help_shows_every_command_in_one_group(tmp_path: Path) -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    shown = alpamayo("--help", cwd=tmp_path).stdout
    assert "..." not in shown.partition("Options:")[2]
    assert all(f"{title}:" in shown for title in GROUPS)


def test_the_list_of_families_is_a_line_each(tmp_path: Path) -> None:
    lines = alpamayo("scenarios", "list", cwd=tmp_path).stdout.splitlines()
    assert len([line for line in lines if line.startswith("  ")]) == len(FAMILIES)
    assert all(len(line) <= 80 for line in lines)
