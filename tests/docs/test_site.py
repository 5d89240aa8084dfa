"""The documentation site is built without a warning, has all pages, and asks no other server for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the extra docs (mkdocs-material, mkdocstrings) is not installed")

ROOT = Path(__file__).parents[2]
REQUEST = re.compile(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"(https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_pages_are_written_from_the_code(site: Path) -> None:
    from alpamayo_scenarios.families import FAMILIES

    families = (site / "families.html").read_text(encoding="utf-8")
    assert all(f"<code>{family.name}</code>" in families for family in FAMILIES)
    commands = (site / "commands.html").read_text(encoding="utf-8")
    assert "alpamayo scenarios plant" in commands
    assert "--guard-sees" in commands
    reference = (site / "reference" / "alpamayo_sim.html").read_text(encoding="utf-8")
    assert 'id="alpamayo_sim.datatypes.decision.Decision"' in reference


def test_no_page_asks_another_server(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    asking = [page.name for page in pages if REQUEST.search(page.read_text(encoding="utf-8"))]
    assert asking == []
    assert "fonts.googleapis" not in "".join(page.read_text(encoding="utf-8") for page in pages)


def test_the_front_page_leads_to_the_tutorials(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    assert 'href="tutorials/drive.html"' in front
    assert "docs/evaluation.md" not in re.findall(r'href="([^"]+)"', front)
