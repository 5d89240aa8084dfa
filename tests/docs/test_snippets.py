"""Every code block of README, docs and the wings' READMEs runs as it is written, or says beside it why it does not.

The Python blocks of a page run in order, in one namespace. ``given`` makes the values that a page takes for granted and
names in its text, such as a scene of the reader's. A line in italics after a block, "*Not run by the tests: ...*",
names what it lacks here. Of a block of commands, those in ``QUICK`` run; of the others, names and options are checked.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
import typer

from alpamayo.cli import app
from alpamayo_sim import testing

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    + [ROOT / wing / "README.md" for wing in ("sim", "scenarios", "datasets", "vla_model")]
)
ELSEWHERE = {"docs/extending.md"}  # test_extending.py follows it literally
BLOCK = re.compile(
    r"^```(?P<kind>\w+)[^\n]*\n(?P<text>.*?)^```\n(?P<after>\s*\*Not run by the tests: [^*]+\*)?", re.M | re.S
)
KINDS = {"python", "bash", "console", "sh"}
QUICK = ("alpamayo scenarios list", "alpamayo drivers list", "alpamayo model info nano")
SHELL_WORDS = {"make", "sudo", "python3", "python", ".venv/bin/pip", ".venv/bin/pytest", "pip", ".venv/bin/pre-commit"}


@dataclass(frozen=True)
class Block:
    """One block of code of a page."""

    page: str
    line: int
    kind: str
    text: str
    excused: bool


def blocks() -> list[Block]:
    """Return all blocks of code of all pages."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            name, line = page.relative_to(ROOT).as_posix(), text.count("\n", 0, match.start()) + 1
            if match["kind"] in KINDS and name not in ELSEWHERE:
                found.append(Block(name, line, match["kind"], match["text"], match["after"] is not None))
    return found


def given(page: str, folder: Path) -> dict[str, Any]:
    """Return what a page takes for granted."""
    if page == "README.md":
        return {"folder": weights(folder)}
    if page == "vla_model/README.md":
        return {"folder": weights(folder), "other": folder / "other"} | driven()
    if page.startswith("docs/validator"):
        from validator_episodes import episode_of

        return {"episode": episode_of(testing.scene())}
    if page == "sim/README.md":
        scene = testing.scene(testing.moving("lead", x=30.0, speed=8.0))
        return {"scene": scene, "scenarios": [testing.scenario(testing.moving("lead", x=30.0, speed=8.0))]}
    return {}


def weights(folder: Path) -> Path:
    """Return a folder of a small model."""
    from alpamayo_vla_model.nemotron import NemotronConfig, NemotronModel

    NemotronModel(NemotronConfig.preset("tiny")).save_pretrained(folder / "weights")
    return folder / "weights"


def driven() -> dict[str, Any]:
    """Return a scene, an observation, and the modules that the page has imported before."""
    from alpamayo_vla_model.end_to_end.config import AlpamayoConfig

    observation = AlpamayoConfig.preset("tiny").fake_observation()
    return {"scene": testing.scene(), "observation": observation, "np": np, "torch": torch}


def command_of(words: list[str]) -> None:
    """Check the names and options of an ``alpamayo`` command without running it."""
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while isinstance(command, click.Group) or hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    command.make_context(words[0], rest, resilient_parsing=False)


def test_all_blocks_are_found() -> None:
    found = blocks()
    assert len(found) > 20
    assert {block.page for block in found} >= {
        "README.md",
        "sim/README.md",
        "datasets/README.md",
        "vla_model/README.md",
    }


@pytest.mark.parametrize("page", sorted({block.page for block in blocks()}))
def test_the_python_blocks_of_a_page_run_in_order(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = given(page, tmp_path)
    for block in (block for block in blocks() if block.page == page and block.kind == "python"):
        code = compile("\n" * block.line + block.text, page, "exec")  # an error names the line of the page
        if not block.excused:
            exec(code, names)


@pytest.mark.parametrize("block", [b for b in blocks() if b.kind != "python"], ids=lambda b: f"{b.page}:{b.line}")
def test_the_commands_of_a_page_are_right(block: Block, tmp_path: Path) -> None:
    if block.excused:
        return
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if Path(words[0]).name != "alpamayo":
            assert words[0] in SHELL_WORDS, line
            assert words[0] != "python" or (ROOT / words[1]).is_file(), line
            continue
        command_of(["alpamayo", *words[1:]])
        if " ".join(words) in QUICK:
            command = [sys.executable, "-m", "alpamayo", *words[1:]]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=300)
            assert done.returncode == 0, done.stderr
            assert done.stdout


def test_the_driver_of_the_readme_drives_by_the_line_of_the_readme(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (place,) = re.findall(r"--driver (my_module:\w+)", text)
    (source,) = [block.text for block in blocks() if block.page == "README.md" and "def act(self" in block.text]
    (tmp_path / "my_module.py").write_text(source, encoding="utf-8")
    script = "import sys; sys.path[0] = '/nowhere'; from alpamayo.cli import main; main()"  # as the installed command
    command = [sys.executable, "-c", script, "drive", "debris", "--driver", place, "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=400, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert f'"driver": "{place.partition(":")[2]}"' not in done.stdout  # its own name, not its class
    assert '"driver": "keep-speed"' in done.stdout
