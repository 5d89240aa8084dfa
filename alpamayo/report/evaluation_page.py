"""The evidence as one HTML file that needs nothing else."""

from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING, Any

from alpamayo.report.html import (
    Raw,
    bar,
    cell,
    folded,
    interval,
    number,
    percent,
    score,
    section,
    table,
    without,
    words,
)
from alpamayo.validator.scores import SCORE_MAXIMUM, TITLES

if TYPE_CHECKING:
    from alpamayo.evaluation.rescoring import Evidence

Document = Mapping[str, Any]
MISSING_SHOWN = 40
SHORT = 12  # characters of a hash that are shown; the whole is in the title and in evidence.json


def page(evidence: "Evidence") -> str:
    """The page of a document, with the pictures of the failures."""
    document = evidence.document
    parts = [
        _headlines(document),
        _comparisons(document),
        _failures(document, evidence.pictures),
        _preventability(document),
        _coverage(document),
        _families(document),
        _rules(document),
        _scores(document),
        _guard(document),
        _excluded(document),
        _records(document),
        _reading(document),
    ]
    style = resources.files("alpamayo.report").joinpath("evaluation_page.css").read_text(encoding="utf-8")
    title = cell(_title(document))
    head = f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Evidence: {title}</title>'
    view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "".join(part for part in parts if part)
    main = f"{_header(document, title)}<main>{body}</main>"
    return f"{head}{view}<style>{style}</style></head>\n<body>{main}</body></html>\n"


def _title(document: Document) -> str:
    suite = document["suite"]
    digest = f" ({suite['suite_digest'][:12]})" if suite and "suite_digest" in suite else ""
    return ", ".join(document["drivers"]) + (f" on {suite['suite']}{digest}" if suite and "suite" in suite else "")


def _header(document: Document, title: str) -> str:
    runs, left = document["runs"], len(document["excluded"])
    failed = sum(bool(run["failures"]) for run in document["records"])
    marks = [
        ("", f"{runs} runs judged again from their records"),
        ("bad" if failed else "good", f"{failed} with a failure"),
        ("warn" if left else "good", f"{left} excluded"),
        ("", f"{100 * document['confidence']:g} % intervals"),
    ]
    badges = "".join(f'<span class="badge {kind}">{cell(text)}</span>' for kind, text in marks)
    code = sorted({run["hashes"]["code"] for run in document["records"]})
    who = f"driven by code {', '.join(code)} · validated by {document['validated_by']}"
    return f'<header><h1>Evidence: {title}</h1><div>{badges}</div><p class="note">{cell(who)}</p></header>\n'


def _headlines(document: Document) -> str:
    rows = []
    for name, row in document["drivers"].items():
        rules = row["rules"]
        rows.append(
            (
                Raw(f"<b>{cell(name)}</b><span class='n'>n = {row['n']}</span>"),
                percent(rules["at_fault_collision"]["broken"]),
                percent(rules["drivable_area"]["broken"]),
                percent(row["failed"]),
                percent(row["arrived"], good=True),
                _per_incident(row),
                _score(row["scores"], "pdms"),
                _score(row["scores"], "alpamayo_score"),
            )
        )
    heads = ["driver", "at-fault collisions", "off the road", "any failure", "arrived"]
    heads += ["km per incident", "PDM score", "alpamayo score"]
    note = (
        "Rates with Clopper-Pearson's interval, scores with the bootstrap that draws scenarios (of fewer than ten with "
        "Hoeffding's bound), kilometres per incident with Garwood's. An incident is an at-fault collision or leaving "
        "the road; what a run drives after its first does not count. A failure is a breach of a hard rule (see Rules)."
    )
    return section("Headlines", table(heads, rows), note=note) + _suite(document)


def _per_incident(row: Document) -> Raw:
    count = row["incidents"]
    of = f"{count} incident{'' if count == 1 else 's'} in {row['kilometres_before_incident']:.2f} km"
    return Raw(f'{interval(row["kilometres_per_incident"], 2, " km").text}<span class="n">{of}</span>')


def _score(scores: Document, name: str) -> Raw:
    """A score's mean with its interval, and the parts that it lacks."""
    if name not in scores:
        return Raw("n/a")
    row = scores[name]
    lacks = f'<span class="n">{cell(without(row))}</span>' if row["missing"] else ""
    return Raw(score(row, SCORE_MAXIMUM.get(name, 1.0)).text + lacks)


def _suite(document: Document) -> str:
    suite = document["suite"]
    if not suite:
        return ""
    return section(
        "Suite", table(("what", "value"), [(words(key), _plain(suite[key])) for key in sorted(suite) if suite[key]])
    )


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)


def _comparisons(document: Document) -> str:
    rows = []
    for pair in document["comparisons"]:
        for name, test in pair["figures"].items():
            if test is None:
                continue
            scale, digits, unit = (100.0, 1, " pp") if test["rate"] else (1.0, 3, "")
            gap = {k: None if test[v] is None else scale * test[v] for k, v in _BOUNDS.items()}
            label = TITLES.get(name, words(name))
            rows.append(
                (
                    f"{pair['drivers'][0]} − {pair['drivers'][1]}",
                    label,
                    interval(gap, digits, unit),
                    _p(test["p"]),
                    _p(test["p_holm"]),
                    test["n"],
                    test["discordant"],
                    test["test"],
                )
            )
    if not rows:
        return ""
    heads = ("drivers", "figure", "difference", "p", "p (Holm)", "pairs", "that differ", "test")
    note = (
        "On the scenarios that both drove; several runs of a driver in one count as their mean. Holm's p is corrected "
        "for all pairs of drivers of the same figure."
    )
    return section("Drivers compared", table(heads, rows), note=note)


_BOUNDS = {"value": "difference", "low": "low", "high": "high"}


def _p(value: float) -> Raw:
    text = "< 0.001" if value < 0.001 else f"{value:.3f}"
    return Raw(f"<b>{text}</b>" if value < 0.05 else text)


def _failures(document: Document, pictures: Mapping[str, list[dict[str, Any]]]) -> str:
    prevented = _avoided(document)
    cards = [
        _card(run, pictures.get(run["run"], []), prevented.get(run["hashes"]["scenario"]))
        for run in document["records"]
        if run["failures"]
    ]
    note = (
        "Every run that broke a hard rule, with the world from above at the moment of the first violation: the ego is "
        "blue, so is its route, paler; the plan is green, where the drive went on after that moment. Thin lines are "
        "velocities, and lanes that a light governs have its colour."
    )
    return section(
        "Failures", f'<div class="cards">{"".join(cards)}</div>' if cards else '<p class="none">None.</p>', note=note
    )


def _card(run: Mapping[str, Any], pictures: list[dict[str, Any]], avoided: Mapping[str, bool] | None) -> str:
    shown = "".join(
        f'<figure><img alt="" src="{picture["image"]}"><figcaption>{picture["time"]:.1f} s, frame {picture["step"]}: '
        f"{cell(', '.join(words(rule) for rule in picture['rules']))}</figcaption></figure>"
        for picture in pictures
    )
    rows = "".join(
        f"<li><b>{cell(words(row['rule']))}</b> "
        f"{'at ' + format(row['violation_time'], '.1f') + ' s' if row['violation_time'] is not None else ''}"
        f"{', margin ' + format(row['margin'], '.2f') + ' ' + row['unit'] if row['margin'] is not None else ''}: "
        f"{cell(row['reason'])}</li>"
        for row in run["failures"]
    )
    who = ""
    if avoided is not None and run["collided"]:
        names = [name for name, fine in avoided.items() if fine]
        by = f"Preventable by {cell(', '.join(names))}" if names else "Prevented by none of the reference drivers"
        who = f"<p>{by}.</p>"
    again = f"<code>{cell(run['reproduce'])}</code>" if run["reproduce"] else ""
    return (
        f'<article id="{cell(run["run"])}">'
        f'<h3>{cell(run["scenario"])} <span class="n">{cell(run["driver"])}</span></h3>'
        f"{shown}<ul>{rows}</ul>{who}{again}</article>\n"
    )


def _avoided(document: Document) -> dict[str, dict[str, bool]]:
    found = document["preventability"]
    return {} if found is None else {row["hash"]: row["avoided_by"] for row in found["scenarios"]}


def _preventability(document: Document) -> str:
    found = document["preventability"]
    if found is None:
        return section("Preventability", '<p class="none">Not looked at: validate was told not to drive again.</p>')
    shares = [
        (name, *(percent(row[by], good=True) if by in row else "n/a" for by in found["by"]))
        for name, row in found["at_fault_collisions"].items()
    ]
    scenarios = [
        (row["scenario"], ", ".join(row["collided"]), *(_mark(row["avoided_by"].get(by)) for by in found["by"]))
        for row in found["scenarios"]
    ]
    note = (
        "Each scenario in which a driver collided was driven again, from its record, by the reference drivers of UN "
        "R157. Preventable by one of them means that it comes through without touching anybody. The share is of the "
        "driver's at-fault collisions."
    )
    every = folded(f"{len(scenarios)} scenarios", table(("scenario", "who collided", *found["by"]), scenarios))
    return section("Preventability", table(("driver", *found["by"]), shares), every, note=note)


def _mark(fine: bool | None) -> Raw:
    text = {
        True: '<span class="good">avoids it</span>',
        False: '<span class="bad">collides</span>',
        None: "cannot drive",
    }
    return Raw(text[fine])


def _coverage(document: Document) -> str:
    found, total = document["coverage"], document["coverage"]["scenarios"]
    families = table(
        ("family", "scenarios"), [(name, bar(row["scenarios"], total)) for name, row in found["families"].items()]
    )
    axes = "".join(
        table((axis, "scenarios"), [(level, bar(count, total)) for level, count in row.items()])
        for axis, row in found["axes"].items()
    )
    shares = table(
        ("combinations of", "covered", "share"),
        [
            (f"{t} axes", f"{row['covered']} of {row['of']}", number(100 * row["share"], 1, "%"))
            for t, row in found["t_wise"].items()
        ],
    )
    missing = found["missing_pairs"]
    gaps = table(("never driven", "together with"), missing[:MISSING_SHOWN])
    more = (
        f"<p class='note'>and {len(missing) - MISSING_SHOWN} more in evidence.json</p>"
        if len(missing) > MISSING_SHOWN
        else ""
    )
    ranges = [
        (family, words(name), f"{low:.4g}", f"{high:.4g}")
        for family, row in found["families"].items()
        for name, (low, high) in row["ranges"].items()
    ]
    note = (
        f"{total} different scenarios. The share of combinations is of all that the levels allow, whether or not "
        "they can happen together. Levels are defined in the validator's definitions."
    )
    return section(
        "Coverage",
        f'<div class="grid">{families}{axes}{shares}</div>',
        folded(f"{len(missing)} pairs that were never driven", gaps + more),
        folded("Ranges of the families' parameters", table(("family", "parameter", "least", "most"), ranges)),
        note=note,
    )


def _families(document: Document) -> str:
    rows = []
    for name, driver in document["drivers"].items():
        for family, row in driver["families"].items():
            rules, scores = row["rules"], row["scores"]
            rows.append(
                (
                    name,
                    family,
                    row["n"],
                    percent(rules["at_fault_collision"]["broken"]),
                    percent(row["failed"]),
                    percent(row["arrived"], good=True),
                    _score(scores, "pdms"),
                )
            )
    heads = ("driver", "family", "n", "at-fault collisions", "any failure", "arrived", "PDM score")
    return section("Families", table(heads, rows))


def _rules(document: Document) -> str:
    parts = []
    for name, driver in document["drivers"].items():
        rows = [
            (
                Raw(f"<b>{cell(words(rule))}</b>" if row["hard"] else cell(words(rule))),
                percent(row["broken"]),
                number(row["value"], 3),
                number(row["margin"]["least"], 2, row["unit"]),
                number(row["margin"]["median"], 2, row["unit"]),
                row["not_applicable"] or "",
                row["raised"] or "",
            )
            for rule, row in driver["rules"].items()
        ]
        heads = ("rule", "broken", "mean value", "least margin", "median margin", "not applicable", "raised")
        parts.append(f"<h3>{cell(name)}</h3>" + table(heads, rows))
    note = (
        "Hard rules in bold: breaking one is a failure. A margin is what was left to the limit, negative beyond it. "
        "A rule that raised counts as broken."
    )
    raised = [(words(row["rule"]), row["runs"], row["error"]) for row in document["raised"]]
    errors = "<h3>Rules that raised</h3>" + table(("rule", "runs", "error"), raised) if raised else ""
    return section("Rules", *parts, errors, note=note)


def _scores(document: Document) -> str:
    parts = []
    for name, driver in document["drivers"].items():
        rows: list[tuple[Any, ...]] = []
        for key, row in driver["scores"].items():
            why = "; ".join(f"{count} × n/a: {text}" for text, count in row["not_applicable"].items())
            rows.append((Raw(f"<b>{cell(TITLES.get(key, words(key)))}</b>"), _score(driver["scores"], key), "", why))
            rows += [
                (Raw(f"&emsp;{cell(words(part))}"), number(found["value"], 3), found["n"], "")
                for part, found in row["parts"].items()
            ]
        parts.append(folded(name, table(("score and its parts", "mean", "n", ""), rows)))
    note = (
        "A part that does not apply to a run is left out there, with its weight. Bench2Drive's score is out of 100, "
        "rater feedback out of 10, all others out of 1; of infractions the mean is how many a run has."
    )
    noted = [
        (run["run"], TITLES.get(key, words(key)), "; ".join(found["notes"]))
        for run in document["records"]
        for key, found in run["scores"].items()
        if found["notes"] and found["value"] is not None
    ]
    told = folded(f"{len(noted)} notes on runs", table(("run", "score", "what was counted"), noted)) if noted else ""
    return section("Scores and their parts", *parts, told, note=note)


def _guard(document: Document) -> str:
    rows = []
    paired = _progress_paired(document)
    for name, driver in document["drivers"].items():
        row = driver["guard"]
        if row is None:
            continue
        alarms = {key: None if x is None else 100.0 * x for key, x in row["false_alarms"].items()}
        of = f'<span class="n">{row["false_alarms"]["count"]} of {row["interventions"]}</span>'
        rows.append(
            (
                name,
                row["runs"],
                row["interventions"],
                _ratio(row["interventions_per_km"], ""),
                _ratio(row["progress_lost_m_per_km"], " m"),
                Raw(f"{_ratio(alarms, ' %').text}{of}"),
                percent(row["missed"]),
                paired.get(name, ""),
                number(row["latency_ms"]["p50"], 1, "ms"),
                number(row["latency_ms"]["p99"], 1, "ms"),
            )
        )
    if not rows:
        return ""
    heads = (
        "driver",
        "runs",
        "interventions, in steps",
        "per km",
        "progress lost per km",
        "false alarms",
        "missed at-fault collisions",
        "progress without less with it",
        "median p50",
        "worst p99",
    )
    note = (
        "Each step of 0.1 s in which the guard did not take the driver's choice is an intervention. "
        "A false alarm is an intervention where the driver's choice, among the others as they really moved, would have "
        "been fine for 4 s; a miss is an at-fault collision without an intervention in the 2 s before. Both are "
        "estimates: the others might have moved differently. Progress lost is by how much further the driver's choices "
        "would have gone in the steps of interventions. Intervals are those of the bootstrap that draws scenarios; "
        "of fewer than ten there is none. Times are of the machine that drove."
    )
    return section("Guard", table(heads, rows), note=note)


def _ratio(row: Mapping[str, Any], unit: str) -> Raw:
    return interval(row if row["value"] is not None else None, 1, unit)


def _progress_paired(document: Document) -> dict[str, Raw]:
    """What the guard costs by the end: progress without it less progress with it, where the driver drove both ways."""
    out = {}
    for pair in document["comparisons"]:
        (bare, guarded), test = pair["drivers"], pair["figures"]["progress"]
        if guarded == f"{bare}+guard" and test is not None:
            out[guarded] = interval({key: test[name] for key, name in _BOUNDS.items()}, 3)
    return out


def _excluded(document: Document) -> str:
    rows = [(row["run"], row["reason"]) for row in document["excluded"]]
    note = "No figure above counts these runs."
    return section(
        "Excluded runs", table(("run", "reason"), rows, empty="None: every run of the suite was judged."), note=note
    )


def _records(document: Document) -> str:
    rows = [
        (
            run["run"],
            run["driver"],
            f"{run['seeds']['scenario']} / {run['seeds']['driver']}",
            *tuple(
                _hash(run["hashes"][name])
                for name in ("scenario", "config", "model", "code", "episode.json", "episode.npz")
            ),
            Raw(f"<code>{cell(run['reproduce'])}</code>" if run["reproduce"] else ""),
        )
        for run in document["records"]
    ]
    heads = (
        "run",
        "driver",
        "seed: scenario / driver",
        "scenario",
        "config",
        "model",
        "code",
        "episode.json",
        "episode.npz",
        "to drive it again",
    )
    note = (
        "SHA-256, shortened; in full in evidence.json. Config is the scenario with the driver, its seed, its weights "
        "and whether the guard was on."
    )
    return section("Records", folded(f"{len(rows)} records with seeds and hashes", table(heads, rows)), note=note)


def _hash(text: str) -> Raw:
    return Raw(f'<code title="{cell(text)}">{cell(text if "+" in text else text[:SHORT])}</code>' if text else "none")


def _reading(document: Document) -> str:
    lines = (
        "Everything here was computed again from episode.json and episode.npz; stored verdicts were not read.",
        "The same records and the same code give the same bytes of this page and of evidence.json.",
        f"Intervals hold at {100 * document['confidence']:g} % each, not all together.",
        "Scenarios are drawn from families, not from the road: a rate is one in these families, not in traffic.",
        "Where nothing failed, “under” is the one-sided bound 1 − (1 − confidence)^(1/n).",
    )
    return section("How to read this", "<ul>" + "".join(f"<li>{cell(line)}</li>" for line in lines) + "</ul>")
