"""XML files of unknown origin: no document types, no entities, no files besides the one that is read."""

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import read_regular

MAX_FILE_BYTES = 64 << 20
MAX_DEPTH = 64


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file.

    Raises:
        InputError: The file cannot be read, is too large or nested too deep, is no XML, or declares a document type,
            through which entities and other files come in.
    """
    try:
        data = read_regular(path, MAX_FILE_BYTES)
        _check(data, path)
        return ElementTree.fromstring(data)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path}: not valid XML ({error})") from error


def _check(data: bytes, path: Path) -> None:
    """Read the file once with the parser that ElementTree has, which stops at a document type and at a great depth."""
    parser, depth = expat.ParserCreate(), 0

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: declares a document type, which is refused")

    def start(*_: object) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"{path}: elements are nested deeper than {MAX_DEPTH}")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.Parse(data, True)
