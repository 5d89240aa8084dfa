"""Plain data in files, without loss: ``NAME.json`` for the structure, ``NAME.npz`` for the arrays.

Any frozen dataclass of plain data can be a document. The JSON names the kind and its version; each array
is a reference to a member of the npz, whose SHA-256 the JSON holds, so that files of two documents are never read as
one. Reading executes nothing: there is no pickle, sizes are checked before memory is allocated, and a file of another
kind or version is refused.
"""

import dataclasses
import enum
import functools
import hashlib
import io
import json
import math
import types
import typing
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import jaxtyped

from alpamayo_sim.errors import InputError, is_machine_fault, shown
from alpamayo_sim.io.files import read_regular, replacing

MAX_JSON_BYTES = 32 << 20
MAX_PACKED_BYTES = 256 << 20
MAX_ARRAY_BYTES = 256 << 20
STORED_BYTES = 1024  # of an array that is not packed: packing costs more time than it saves space
NOT_FINITE = ("nan", "inf", "-inf")  # floats that JSON does not know are written as these words
T = TypeVar("T")


def save_document(value: Any, path: Path, version: int) -> None:
    """Write a dataclass as ``path``.json and ``path``.npz (``path`` has no suffix), replacing both at once.

    Raises:
        InputError: The folder cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    body = _encode(value, arrays)
    binary, text = (path.with_name(path.name + suffix) for suffix in (".npz", ".json"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(binary) as whole_binary, replacing(text) as whole_text:
            packed = _packed(arrays)
            whole_binary.write_bytes(packed)
            arrays_sha256 = hashlib.sha256(packed).hexdigest()
            document = {
                "kind": type(value).__name__,
                "version": version,
                "arrays_sha256": arrays_sha256,
                "body": body,
            }
            whole_text.write_text(_text(document), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {text}: {error.strerror or error}") from error


def load_document(kind: type[T], path: Path, version: int) -> T:
    """Read a document of ``save_document``.

    Raises:
        InputError: A file is missing, truncated, of another kind, version or document, or does not follow the schema.
    """
    where = path.with_name(path.name + ".json")
    document = _read_json(where)
    if document.get("kind") != kind.__name__:
        raise InputError(f"{where}: holds a {document.get('kind')!r}, expected a {kind.__name__!r}")
    if document.get("version") != version:
        raise InputError(
            f"{where}: {kind.__name__} version {document.get('version')!r}, this release reads version {version}"
        )
    arrays = _read_arrays(path.with_name(path.name + ".npz"), str(document.get("arrays_sha256")), where)
    try:
        return typing.cast(T, _decode(document["body"], kind, arrays))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    except Exception as error:  # a document from outside can break the checks of any noun
        if is_machine_fault(error):
            raise
        raise InputError(f"{where}: not a valid {kind.__name__}: {error!r}") from error


def kind_of(path: Path) -> str | None:
    """Return the name of the noun that a document's JSON file holds; None for other JSON.

    Raises:
        InputError: The file cannot be read or is not JSON.
    """
    kind = _read_json(path).get("kind")
    return kind if isinstance(kind, str) else None


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a dataclass; it is equal for two values exactly if their documents are equal."""
    arrays: dict[str, np.ndarray] = {}
    text = json.dumps([type(value).__name__, _encode(value, arrays)], allow_nan=False, ensure_ascii=False)
    total = hashlib.sha256(text.encode())
    for array in arrays.values():
        total.update(f"{array.dtype.str}{array.shape}".encode())
        total.update(np.asarray(array, order="C").tobytes())
    return total.hexdigest()


def _packed(arrays: dict[str, np.ndarray]) -> bytes:
    """Return an npz with fixed time stamps, so that the same arrays give the same bytes; small arrays are not packed.

    It is made in memory: an archive on disk goes back to the header of each array, which costs more than the data.
    """
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for name, array in arrays.items():
            ordered = np.asarray(array, order="C")
            data = _npy_header(ordered.dtype, ordered.shape) + ordered.tobytes()
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED if len(data) > STORED_BYTES else zipfile.ZIP_STORED
            archive.writestr(member, data, compresslevel=4)
    return whole.getvalue()


@functools.lru_cache(maxsize=4096)
def _npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the first bytes of an npy file of an array in C order."""
    header = io.BytesIO()
    npy: Any = np.lib.format
    npy.write_array_header_1_0(header, {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    return header.getvalue()


def _text(document: dict[str, Any]) -> str:
    """Return a document as JSON: one line for each field, and one for each item of a field that is a list."""
    body = document["body"]
    lines = [f" {_compact(name)}: {_compact(value)}" for name, value in document.items() if name != "body"]
    if isinstance(body, dict):
        fields = [f"  {_compact(name)}: {_lines(value)}" for name, value in body.items()]
        lines.append(' "body": {\n' + ",\n".join(fields) + "\n }")
    else:
        lines.append(f' "body": {_compact(body)}')
    return "{\n" + ",\n".join(lines) + "\n}"


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return _compact(value)
    return "[\n" + ",\n".join(f"   {_compact(item)}" for item in value) + "\n  ]"


def _compact(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_regular(path, MAX_JSON_BYTES))
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: not a document of this project")
    return document


def _read_arrays(path: Path, sha256: str, owner: Path) -> dict[str, np.ndarray]:
    try:
        data = read_regular(path, MAX_PACKED_BYTES)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise InputError(f"{path}: does not belong to {owner}, or one of the two is damaged")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_ARRAY_BYTES:
                raise InputError(f"{path}: unpacks to more than {MAX_ARRAY_BYTES >> 20} MiB")
            return {member.filename.removesuffix(".npy"): _read_array(archive, member) for member in archive.infolist()}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged archive or header can raise nearly anything
        if is_machine_fault(error):
            raise
        raise InputError(f"{path}: damaged or not an npz ({type(error).__name__}: {error})") from error


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Return one array; its header must agree with the member's size before memory is allocated."""
    npy: Any = np.lib.format
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{member.filename} has npy version {version}")
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read(file)
        size = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or any(side < 0 for side in shape) or file.tell() + size != member.file_size:
            raise ValueError(f"{member.filename} does not hold the {dtype} array of shape {shape} that it says")
        data = np.frombuffer(bytearray(file.read(size)), dtype)
        return data.reshape(shape, order="F" if fortran else "C")


def _encode(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _encode(getattr(value, f.name), arrays) for f in dataclasses.fields(value)}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("a document cannot hold an array of objects")
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, (tuple, list)):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, dict):
        return {str(key): _encode(item, arrays) for key, item in value.items()}
    if isinstance(value, (np.generic,)):
        return _encode(value.item(), arrays)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a document cannot hold a {type(value).__name__}")


def _decode(value: Any, kind: Any, arrays: dict[str, np.ndarray]) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return None if value is None else _decode(value, _option(value, arguments), arrays)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(value, typing.cast(type, kind), arrays)
    if origin is tuple:
        return _decode_tuple(value, arguments, arrays)
    if origin is dict:
        return {_scalar(key, str): _decode(item, arguments[1], arrays) for key, item in dict(value).items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind[value]
    if isinstance(value, dict) and set(value) == {"array"}:
        return _checked(arrays.pop(value["array"]), kind)  # each array has one place, so sharing cannot multiply work
    return _scalar(value, kind)


def _option(value: Any, options: tuple[Any, ...]) -> Any:
    """Return the type of a union that a value belongs to: the only one, or the dataclass with the value's fields."""
    known = [option for option in options if option is not type(None)]
    for option in known[1:]:
        if dataclasses.is_dataclass(option) and {f.name for f in dataclasses.fields(option)} == set(value):
            return option
    return known[0]


def _decode_dataclass(value: Any, kind: type, arrays: dict[str, np.ndarray]) -> Any:
    hints = typing.get_type_hints(kind)
    names = {f.name for f in dataclasses.fields(kind)}
    required = {f.name for f in dataclasses.fields(kind) if not _has_default(f)}
    if not required <= set(value) <= names:
        raise ValueError(f"{kind.__name__} has fields {sorted(names)}, found {sorted(value)}")
    given = [f.name for f in dataclasses.fields(kind) if f.name in value]
    with jaxtyped("context"):  # the shapes of one noun's arrays have to fit each other
        return kind(**{name: _decode(value[name], hints[name], arrays) for name in given})


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    """Return whether a document may lack a field, as documents of earlier releases do."""
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _decode_tuple(value: Any, arguments: tuple[Any, ...], arrays: dict[str, np.ndarray]) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(_decode(item, arguments[0], arrays) for item in value)
    return tuple(_decode(item, inner, arrays) for item, inner in zip(value, arguments, strict=True))


def _checked(array: np.ndarray, kind: Any) -> np.ndarray:
    """Return an array after a check against the type and shape of its field."""
    if not isinstance(array, kind):
        shape = " ".join(map(str, array.shape))
        raise TypeError(f"expected {getattr(kind, '__name__', kind)}, found {array.dtype}[{shape}]")
    return array


def _scalar(value: Any, kind: Any) -> Any:
    if kind is float and (value in NOT_FINITE or (isinstance(value, (int, float)) and not isinstance(value, bool))):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        if kind is str:
            value.encode()  # half a surrogate pair, which JSON can spell, is text that no file can hold
        return value
    raise TypeError(f"expected {kind}, found {shown(value)}")
