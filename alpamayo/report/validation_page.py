"""The page of a validation: one self-contained HTML file."""

from collections.abc import Mapping, Sequence
from typing import Any

from alpamayo.report.templates import environment

Document = Mapping[str, Any]
PAIRS_SHOWN = 40
HASHES = ["scenario", "config", "model", "code", "episode.json", "episode.npz"]


def page(document: Document, pictures: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Render the page of a document; ``pictures`` are those of the failures, by run."""
    runs = document["records"]
    failed = sorted((run for run in runs if run["failures"]), key=_score)
    return (
        environment()
        .get_template("validation_page.html.j2")
        .render(
            document=document,
            pictures=pictures,
            title=_title(document),
            badges=_badges(document, len(failed)),
            code=sorted({run["hashes"]["code"] for run in runs}),
            failed=failed,
            sections=_sections(document),
            comparisons=_comparisons(document),
            avoided=_avoided(document),
            notes=_notes(runs),
            paired=_progress_lost(document),
            hashes=HASHES,
            pairs_shown=PAIRS_SHOWN,
        )
    )


def _score(run: Mapping[str, Any]) -> tuple[float, str]:
    """Return what failures are sorted by: the PDM score, then the name."""
    value = run["scores"].get("pdms", {}).get("value")
    return (-1.0 if value is None else value), run["run"]


def _sections(document: Document) -> list[str]:
    """Return the sections that the page begins with a list of."""
    own = ["Your rules"] if document["formulas"] else []
    compared = ["Drivers compared"] if document["comparisons"] else []
    after = ["Failures", "Preventability", "Coverage", "Families", "Rules", "Scores and their parts", "Excluded runs"]
    return ["Headlines", *own, *compared, *after, "Records"]


def _title(document: Document) -> str:
    suite = document["suite"]
    digest = f" ({suite['suite_digest'][:12]})" if suite and "suite_digest" in suite else ""
    return ", ".join(document["drivers"]) + (f" on {suite['suite']}{digest}" if suite and "suite" in suite else "")


def _badges(document: Document, failed: int) -> list[tuple[str, str]]:
    """Return (kind, text) of the badges under the title."""
    excluded = len(document["excluded"])
    return [
        ("", f"{document['runs']} runs rescored from their records"),
        ("bad" if failed else "good", f"{failed} with a failure"),
        ("warn" if excluded else "good", f"{excluded} excluded"),
        ("", f"{100 * document['confidence']:g} % intervals"),
    ]


def _comparisons(document: Document) -> list[tuple[list[str], str, Mapping[str, Any]]]:
    """Return (drivers, figure, test) of all tests with a result; a test says whether the guard differs, too."""
    return [
        (pair["drivers"], name, {**test, "guard_differs": pair["guard_states"][0] != pair["guard_states"][1]})
        for pair in document["comparisons"]
        for name, test in pair["figures"].items()
        if test is not None
    ]


def _avoided(document: Document) -> dict[str, dict[str, bool]]:
    """Return which reference drivers avoid the collision, by the hash of the scenario."""
    found = document["preventability"]
    return {} if found is None else {row["hash"]: row["avoided_by"] for row in found["scenarios"]}


def _notes(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return (run, score, note) of the scores that have notes."""
    return [
        (run["run"], key, "; ".join(found["notes"]))
        for run in runs
        for key, found in run["scores"].items()
        if found["notes"] and found["value"] is not None
    ]


def _progress_lost(document: Document) -> dict[str, dict[str, float | None]]:
    """Return progress without the guard minus progress with it, for drivers with runs of both kinds."""
    tests = [(pair, pair["figures"].get("progress")) for pair in document["comparisons"]]
    return {
        pair["drivers"][1]: {"value": test["difference"], "low": test["low"], "high": test["high"]}
        for pair, test in tests
        if test is not None and len(set(pair["base_drivers"])) == 1 and pair["guard_states"] == ["off", "on"]
    }
