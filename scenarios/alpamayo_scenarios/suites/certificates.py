"""The certificates of a suite: one for each scenario, in a document beside the suite's list."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from alpamayo_scenarios.families import get_family
from alpamayo_scenarios.suites.suite import Suite
from alpamayo_sim.datatypes.scenario import Certificate, Solvability
from alpamayo_sim.errors import InputError
from alpamayo_sim.io.document import load_document, save_document

FOLDER = Path(__file__).parent / "certified"
CERTIFICATES_VERSION = 1


@dataclass(frozen=True, eq=False)
class SuiteCertificates:
    """The certificates of a suite in the order of its entries; ``digest`` is that of its list."""

    suite: str
    digest: str
    held_out: tuple[str, ...]
    certificates: tuple[Certificate, ...]

    def counts(self) -> dict[str, int]:
        """Return how many scenarios are solved, unavoidable and unknown."""
        found = Counter(certificate.solvability for certificate in self.certificates)
        return {each.value: found[each] for each in Solvability}


def held_out_families(suite: Suite) -> tuple[str, ...]:
    """Return the families of a suite that no training may use, in alphabetical order."""
    return tuple(sorted({entry.family for entry in suite.entries if get_family(entry.family).held_out}))


def save_certificates(certificates: SuiteCertificates, folder: Path | str = FOLDER) -> Path:
    """Write the certificates of a suite as ``SUITE.json`` and ``SUITE.npz`` into a folder; return the first file.

    Raises:
        InputError: The folder cannot be written.
    """
    path = Path(folder) / certificates.suite
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    save_document(certificates, path, CERTIFICATES_VERSION)
    return path.with_name(f"{path.name}.json")


def load_certificates(suite: Suite, folder: Path | str = FOLDER) -> SuiteCertificates:
    """Read the certificates of a suite.

    Raises:
        InputError: There are none, they are damaged, or they belong to another list.
    """
    path = Path(folder) / suite.name
    found = load_document(SuiteCertificates, path, CERTIFICATES_VERSION)
    if found.digest != suite.digest or len(found.certificates) != len(suite):
        raise InputError(f"{path}.json: not the certificates of suite {suite.name!r} ({suite.digest[:12]})")
    return found


def has_certificates(suite: Suite, folder: Path | str = FOLDER) -> bool:
    """Return whether a folder has certificates of a suite."""
    return (Path(folder) / f"{suite.name}.json").is_file()
