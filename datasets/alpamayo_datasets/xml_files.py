"""XML files of unknown origin: no document types, no entities, no files besides the one that is read."""

from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import read_regular

MAX_FILE_BYTES = 64 << 20
MAX_DEPTH = 64
LINE = "#line"  # the attribute that holds the line of an element; no file can have one of this name


def read_xml(path: Path) -> ElementTree.Element:
    """Return the root of an XML file; ``line_of`` tells the line of each of its elements.

    Raises:
        InputError: The file cannot be read, is too large or nested too deep, is no XML, or declares a document type,
            through which entities and other files come in.
    """
    try:
        data = read_regular(path, MAX_FILE_BYTES)
        return _parsed(data, path)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (expat.ExpatError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path}: not valid XML ({error})") from error


def line_of(element: ElementTree.Element) -> int:
    """Return the line of the file that an element of ``read_xml`` begins in."""
    return int(element.get(LINE, 0))


def _parsed(data: bytes, path: Path) -> ElementTree.Element:
    """Build the tree; stop at a document type and at a great depth."""
    parser, builder, depth = expat.ParserCreate(), ElementTree.TreeBuilder(), 0

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: declares a document type, which is refused")

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise InputError(f"{path}: elements are nested deeper than {MAX_DEPTH}")
        builder.start(tag, attributes | {LINE: str(parser.CurrentLineNumber)})

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.Parse(data, True)
    return builder.close()
