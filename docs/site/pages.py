"""The pages of the documentation site that are not files of ``docs``: a hook of MkDocs.

READMEs, glossary and model cards are pages as they are. Commands and families are written from the code itself, so they
are never out of date. Links between files of the repository become links between pages.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
CARDS = "vla_model/alpamayo_vla_model/checkpoints"
SOURCES = {
    "index.md": "README.md",
    "glossary.md": "GLOSSARY.md",
    "contributing.md": "CONTRIBUTING.md",
    "changes.md": "CHANGELOG.md",
    "packages/sim.md": "sim/README.md",
    "packages/scenarios.md": "scenarios/README.md",
    "packages/datasets.md": "datasets/README.md",
    "packages/vla_model.md": "vla_model/README.md",
    "packages/kernels.md": "kernels/README.md",
    "packages/log.md": "vla_model/LOG.md",
    "packages/tiny.md": f"{CARDS}/MODEL_CARD.md",
    "packages/end_to_end.md": f"{CARDS}/END_TO_END_CARD.md",
}
"""Pages of the site and the files of the repository that they are."""
PAGE_OF = {source: page for page, source in SOURCES.items()}
IMAGES = {"scenarios/contact_sheet.jpg": "images/contact_sheet.jpg"}
API = {
    "alpamayo": [
        "alpamayo.closed_loop",
        "alpamayo.episode",
        "alpamayo.environments",
        "alpamayo.evaluation.suite_run",
        "alpamayo.evaluation.statistics",
        "alpamayo.evaluation.leaderboard",
        "alpamayo.evaluation.run_table",
        "alpamayo.evaluation.faithfulness",
        "alpamayo.guard.config",
        "alpamayo.guard.guard",
        "alpamayo.validator.episode_scores",
        "alpamayo.validator.verdict",
        "alpamayo.validator.rule",
        "alpamayo.report.episode_report",
    ],
    "alpamayo_sim": [
        "alpamayo_sim.datatypes.scene",
        "alpamayo_sim.datatypes.scenario",
        "alpamayo_sim.datatypes.observation",
        "alpamayo_sim.datatypes.decision",
        "alpamayo_sim.datatypes.reasoning",
        "alpamayo_sim.datatypes.driver",
        "alpamayo_sim.datatypes.rig",
        "alpamayo_sim.map.index",
        "alpamayo_sim.map.frenet",
        "alpamayo_sim.engine",
        "alpamayo_sim.sensors",
        "alpamayo_sim.environments",
    ],
    "alpamayo_scenarios": [
        "alpamayo_scenarios.families",
        "alpamayo_scenarios.families.family",
        "alpamayo_scenarios.suites",
    ],
    "alpamayo_datasets": ["alpamayo_datasets"],
    "alpamayo_vla_model": [
        "alpamayo_vla_model.driver",
        "alpamayo_vla_model.belief",
        "alpamayo_vla_model.perception.tracks",
        "alpamayo_vla_model.perception.motion_filter",
        "alpamayo_vla_model.nemotron.model",
        "alpamayo_vla_model.nemotron.config",
    ],
    "alpamayo_kernels": ["alpamayo_kernels"],
}
"""The modules of the reference, by package."""
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not files of ``docs``."""
    for page, source in SOURCES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for source, image in IMAGES.items():
        files.append(File.generated(config, image, abs_src_path=str(ROOT / source)))
    written = {"commands.md": commands_page(), "families.md": families_page()}
    written |= {f"reference/{package}.md": reference_page(package) for package in API}
    for page, text in written.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Let links between files of the repository lead to pages; names of files that are no page stay as names."""
    here = page.file.src_uri
    source = SOURCES.get(here, f"docs/{here}")

    def linked(match: re.Match[str]) -> str:
        image, text, target, part = match[1], match[2], match[3], match[4] or ""
        if "://" in target or target.startswith("mailto:"):
            return match[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        found = PAGE_OF.get(wanted) or IMAGES.get(wanted) or wanted.removeprefix("docs/")
        if files.get_file_from_path(found) is None:
            return f"{text} (`{wanted}`)"
        return f"{image}[{text}]({posixpath.relpath(found, posixpath.dirname(here) or '.')}{part})"

    return LINK.sub(linked, markdown)


def commands_page() -> str:
    """Return all commands with their options, from the command line itself."""
    from alpamayo.cli import app

    lines = ["# Commands", "", "Every command takes `--json`; wrong input ends with one line and exit code 2.", ""]

    def add(command: Any, name: str) -> None:
        children = getattr(command, "commands", None)
        if children is None:
            lines.extend([f"## `{name}`", "", _one_line(command.help), "", *_options(command), ""])
        for child in sorted(children or ()):
            add(children[child], f"{name} {child}")

    add(typer.main.get_command(app), "alpamayo")
    return "\n".join(lines)


def _options(command: Any) -> list[str]:
    rows = ["| argument | meaning |", "|---|---|"]
    for parameter in command.params:
        help_text = _one_line(getattr(parameter, "help", "") or "")
        if parameter.param_type_name == "argument":
            rows.append(f"| `{parameter.metavar or parameter.name.upper()}` | {help_text} |")
        elif parameter.name != "help":
            rows.append(f"| `{'`, `'.join((*parameter.opts, *parameter.secondary_opts))}` | {help_text} |")
    return rows if len(rows) > 2 else []


def families_page() -> str:
    """Return all families with their parameters, from their records."""
    from alpamayo_scenarios.families import families_by_group

    lines = ["# Families", "", "![A picture of each family](images/contact_sheet.jpg)", ""]
    lines += ["`alpamayo scenarios show FAMILY` draws a picture and a film of one; `--set gap=8` sets a parameter.", ""]
    for group, families in families_by_group().items():
        lines += [f"## {group.capitalize()}", ""]
        for family in families:
            held_out = ", held out of training" if family.held_out else ""
            lines += [f"### {family.title}", "", f"`{family.name}`{held_out}. {_one_line(family.summary)}", ""]
            lines += ["| parameter | unit | from | to | default | source |", "|---|---|---|---|---|---|"]
            for p in family.parameters:
                cells = (f"`{p.name}`", p.shown_unit, f"{p.low:g}", f"{p.high:g}", f"{p.default:g}")
                lines.append(f"| {' | '.join((*cells, _one_line(p.source)))} |")
            lines.append("")
    return "\n".join(lines)


def reference_page(package: str) -> str:
    """Return the directives that show the docstrings of a package's modules."""
    return "\n\n".join([f"# {package}", *(f"::: {module}" for module in API[package])]) + "\n"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")
