"""Certification of a suite: one scenario after the other; an interrupted run continues where it was."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alpamayo.certification.certify import certify, verify
from alpamayo.certification.checker import is_solved
from alpamayo.certification.reachability import is_unavoidable
from alpamayo.folders import claimed
from alpamayo.parallel import Progress, Workers, all_in_order
from alpamayo_scenarios.suites import Suite, SuiteEntry
from alpamayo_scenarios.suites.certificates import SuiteCertificates, held_out_families
from alpamayo_sim.datatypes.scenario import Certificate, Scenario, Solvability
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import digest, load_document, save_document

METHOD_VERSION = 3  # of drivers, limits, check and values; a certificate of another version is not taken again


@dataclass(frozen=True)
class Task:
    """One scenario to certify, and the path of its document without a suffix."""

    entry: SuiteEntry
    path: Path


@dataclass(frozen=True, eq=False)
class Certified:
    """The certificate of the scenario with a digest."""

    scenario_sha256: str
    certificate: Certificate


def certify_suite(
    suite: Suite,
    out: Path,
    *,
    workers: Workers = None,
    progress: Progress = lambda what, done, total: None,
) -> SuiteCertificates:
    """Certify the scenarios of a suite; those that are certified in ``out`` already are not driven again.

    Raises:
        InputError: a scenario cannot be made, or the folder cannot be written.
    """
    tasks = [Task(entry, out / f"{k:04d}-{entry.family}-{entry.seed}") for k, entry in enumerate(suite.entries)]
    with claimed(out):
        found = all_in_order(run_task, tasks, workers=workers, what="certify", progress=progress)
    return SuiteCertificates(suite.name, suite.digest, held_out_families(suite), tuple(found))


def certify_scenario(scenario: Scenario, check: bool) -> dict[str, Any]:
    """Certify one scenario, or with ``check`` check the certificate that it has; return JSON values.

    Raises:
        InputError: there is no certificate to check, or the scene has no route.
    """
    if not check:
        return {"scenario": scenario.scene.id} | certificate_row(certify(scenario))
    if scenario.certificate is None:
        raise InputError(f"scenario {scenario.scene.id!r} has no certificate to check")
    return {"scenario": scenario.scene.id, "holds": holds(scenario, scenario.certificate)}


def check_suite(
    suite: Suite,
    found: SuiteCertificates,
    *,
    workers: Workers = None,
    progress: Progress = lambda what, done, total: None,
) -> dict[str, Any]:
    """Replay and check the certificates of a suite; return JSON values: counts, and the scenarios that fail."""
    tasks = list(zip(suite.entries, found.certificates, strict=True))
    right = all_in_order(_holds, tasks, workers=workers, what="check", progress=progress)
    broken = [f"{entry.family}-{entry.seed}" for (entry, _), is_right in zip(tasks, right, strict=True) if not is_right]
    return {"suite": suite.name, "digest": suite.digest, **found.counts(), "broken": broken}


def holds(scenario: Scenario, certificate: Certificate) -> bool:
    """Return whether a certificate is right: its trajectory solves the scenario; a proof that none does, too."""
    if certificate.solvability is Solvability.SOLVED:
        return len(certificate.trajectory) > 0 and is_solved(verify(scenario, certificate))
    return certificate.solvability is Solvability.UNKNOWN or is_unavoidable(scenario)


def certificate_row(certificate: Certificate) -> dict[str, Any]:
    """Return a certificate as JSON values, without its trajectory."""
    return {
        "solvability": certificate.solvability.value,
        "solver": certificate.solver,
        "avoided_by": list(certificate.avoided_by),
        "difficulty": certificate.difficulty,
        "contact_s": certificate.contact_s,
        "critical_s": certificate.critical_s,
        "margins": dict(certificate.margins),
        "effort": dict(certificate.effort),
    }


def _holds(task: tuple[SuiteEntry, Certificate]) -> bool:
    entry, certificate = task
    return holds(entry.make(), certificate)


def run_task(task: Task) -> Certificate:
    """Certify one scenario, or take the certificate of an earlier call for the same scenario."""
    scenario = task.entry.make()
    key = digest(scenario)
    if task.path.with_name(f"{task.path.name}.json").is_file():
        try:
            earlier = load_document(Certified, task.path, METHOD_VERSION)
            if earlier.scenario_sha256 == key:
                return earlier.certificate
        except InputError:
            pass  # torn or of another version: certified again
    certificate = certify(scenario)
    save_document(Certified(key, certificate), task.path, METHOD_VERSION)
    return certificate
