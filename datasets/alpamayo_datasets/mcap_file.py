"""Records of MCAP files, read one chunk at a time. Format: https://mcap.dev/spec."""

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from alpamayo_sim.errors import InputError
from alpamayo_sim.io.files import check_regular

MAGIC = b"\x89MCAP0\r\n"
SCHEMA, CHANNEL, MESSAGE, CHUNK, METADATA, DATA_END = 0x03, 0x04, 0x05, 0x06, 0x0C, 0x0F
MAX_FILE_BYTES = 1 << 40
MAX_RECORD_BYTES = 256 << 20  # of a record, and of a chunk when it is decompressed
MAX_GROWTH, MIN_BUDGET_BYTES = 64, 1 << 30  # all chunks decompress to at most this many times the file, or these bytes
MAX_CHANNELS = 65_536


@dataclass(frozen=True)
class Topic:
    """A channel: its topic, the name of its schema, and how its messages are encoded."""

    name: str
    schema: str
    encoding: str


@dataclass(frozen=True)
class Place:
    """Where a message's data lies: the offset of its chunk in the file (0 for none), then the offset in the chunk."""

    chunk: int
    begin: int
    size: int


@dataclass(frozen=True, eq=False)
class TopicMessage:
    """A message: its topic, log time (ns), encoded data and place."""

    topic: Topic
    log_time_ns: int
    data: bytes
    place: Place


@dataclass(frozen=True)
class Metadata:
    """A metadata record: its name, and its words by their keys."""

    name: str
    words: dict[str, str]


def records(path: Path, wanted: Callable[[Topic], bool]) -> Iterator[TopicMessage | Metadata]:
    """Yield the messages of the wanted topics, in the order of the file, and all metadata records.

    Raises:
        InputError: The file is no MCAP file, cut short, damaged, or would decompress to far more than its size.
    """
    size = check_regular(path, MAX_FILE_BYTES)
    budget = max(MIN_BUDGET_BYTES, MAX_GROWTH * size)
    state = _Channels(str(path), wanted)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise InputError(f"{path}: is no MCAP file")
        for opcode, at, length in _frames(file, size, str(path)):
            if opcode == CHUNK:
                data = _decompressed(_read(file, length, str(path)), f"{path}: chunk at byte {at}")
                budget -= len(data)
                if budget < 0:
                    raise InputError(f"{path}: decompresses to more than {MAX_GROWTH} times its size")
                yield from state.chunk(data, at)
            elif opcode in (SCHEMA, CHANNEL, MESSAGE, METADATA):
                yield from state.record(opcode, _read(file, length, str(path)), 0, at)
            else:
                file.seek(length, 1)


class MessageReader:
    """Data of messages by their places; the last chunk is kept."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: tuple[int, bytes] = (0, b"")

    def data(self, place: Place) -> bytes:
        """Return the data of a message.

        Raises:
            InputError: The file was changed or removed.
        """
        try:
            with self.path.open("rb") as file:
                if not place.chunk:
                    file.seek(place.begin)
                    return _read(file, place.size, str(self.path))
                if self._kept[0] != place.chunk:
                    file.seek(place.chunk - 8)
                    (length,) = struct.unpack("<Q", file.read(8))
                    where = f"{self.path}: chunk at byte {place.chunk}"
                    self._kept = place.chunk, _decompressed(_read(file, length, str(self.path)), where)
        except (OSError, struct.error) as error:
            raise InputError(f"cannot read {self.path}: {error}") from error
        return self._kept[1][place.begin : place.begin + place.size]


class _Channels:
    """The schemas and channels that a file has named so far, and what its records say by them."""

    def __init__(self, where: str, wanted: Callable[[Topic], bool]) -> None:
        self.where, self.wanted = where, wanted
        self.schemas: dict[int, str] = {0: ""}
        self.topics: dict[int, Topic | None] = {}  # None for a topic that is not wanted

    def chunk(self, data: bytes, at: int) -> Iterator[TopicMessage | Metadata]:
        i = 0
        while i < len(data):
            if i + 9 > len(data):
                raise InputError(f"{self.where}: chunk at byte {at} is cut short")
            opcode, length = struct.unpack_from("<BQ", data, i)
            i += 9
            if i + length > len(data):
                raise InputError(f"{self.where}: chunk at byte {at}: a record is longer than the chunk")
            if opcode in (SCHEMA, CHANNEL, MESSAGE):
                yield from self.record(opcode, data[i : i + length], at, i)
            i += length

    def record(self, opcode: int, data: bytes, chunk: int, begin: int) -> Iterator[TopicMessage | Metadata]:
        cursor = _Cursor(data, f"{self.where}: record at byte {begin}" + (f" of chunk {chunk}" if chunk else ""))
        if opcode == SCHEMA:
            number = cursor.number("H")
            self.schemas[number] = cursor.text()
        elif opcode == CHANNEL:
            self._channel(cursor)
        elif opcode == METADATA:
            name = cursor.text()
            yield Metadata(name, cursor.words())
        else:
            channel, _, log_time, _ = (cursor.number(kind) for kind in "HIQQ")
            if channel not in self.topics:
                raise InputError(f"{cursor.where}: a message of channel {channel}, which the file does not name before")
            topic = self.topics[channel]
            if topic is not None:
                place = Place(chunk, begin + cursor.at, len(data) - cursor.at)
                yield TopicMessage(topic, log_time, data[cursor.at :], place)

    def _channel(self, cursor: "_Cursor") -> None:
        number, schema = cursor.number("H"), cursor.number("H")
        if schema not in self.schemas:
            raise InputError(f"{cursor.where}: channel {number} has schema {schema}, which the file does not name")
        name = cursor.text()
        topic = Topic(name, self.schemas[schema], cursor.text())
        self.topics[number] = topic if self.wanted(topic) else None


class _Cursor:
    """Values of a record, one after the other."""

    def __init__(self, data: bytes, where: str) -> None:
        self.data, self.where, self.at = data, where, 0

    def number(self, kind: str) -> int:
        """Return an unsigned integer of struct's kind ``H``, ``I`` or ``Q``."""
        (value,) = struct.unpack("<" + kind, self.take(struct.calcsize("<" + kind)))
        return int(value)

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise InputError(f"{self.where}: is cut short")
        self.at += size
        return self.data[self.at - size : self.at]

    def text(self) -> str:
        return self.take(self.number("I")).decode("utf-8", "replace")

    def words(self) -> dict[str, str]:
        part = _Cursor(self.take(self.number("I")), self.where)
        found: dict[str, str] = {}
        while part.at < len(part.data):
            key = part.text()
            found[key] = part.text()
        return found


def _frames(file: BinaryIO, size: int, where: str) -> Iterator[tuple[int, int, int]]:
    """Yield opcode, offset and length of the records up to the end of the data, each with the file at its content."""
    while True:
        head = file.read(9)
        if len(head) < 9:
            raise InputError(f"{where}: is cut short: it has no end of data")
        opcode, length = struct.unpack("<BQ", head)
        if opcode == DATA_END:
            return
        at = file.tell()
        if at + length > size:
            raise InputError(f"{where}: the record at byte {at} is longer than the file")
        yield opcode, at, length
        file.seek(at + length)


def _read(file: BinaryIO, length: int, where: str) -> bytes:
    if length > MAX_RECORD_BYTES:
        raise InputError(f"{where}: a record has {length} bytes, must be at most {MAX_RECORD_BYTES >> 20} MiB")
    return file.read(length)


def _decompressed(data: bytes, where: str) -> bytes:
    """Return the records of a chunk, decompressed no further than to the size that it names."""
    cursor = _Cursor(data, where)
    _, _, size, checksum = (cursor.number(kind) for kind in "QQQI")
    compression = cursor.text()
    packed = cursor.take(cursor.number("Q"))
    if size > MAX_RECORD_BYTES:
        raise InputError(f"{where}: names {size} bytes, must be at most {MAX_RECORD_BYTES >> 20} MiB")
    unpacked = _unpacked(packed, compression, size, where)
    if len(unpacked) != size:
        raise InputError(f"{where}: does not hold the {size} bytes that it names")
    if checksum and zlib.crc32(unpacked) != checksum:
        raise InputError(f"{where}: its checksum is wrong")
    return unpacked


def _unpacked(packed: bytes, compression: str, size: int, where: str) -> bytes:
    """Return at most ``size`` + 1 decompressed bytes."""
    if compression not in UNPACK:
        raise InputError(f"{where}: its compression is {compression[:20]!r}, must be zstd, lz4 or none")
    try:
        return UNPACK[compression](packed, size + 1)
    except ImportError as error:
        raise InputError("compressed MCAP files need more; install it with: pip install 'alpamayo[mcap]'") from error
    except ValueError as error:
        raise InputError(f"{where}: is no {compression} data") from error


def _unpack_zstd(packed: bytes, limit: int) -> bytes:
    import zstandard

    try:
        return bytes(zstandard.ZstdDecompressor().stream_reader(packed).read(limit))
    except zstandard.ZstdError as error:
        raise ValueError from error


def _unpack_lz4(packed: bytes, limit: int) -> bytes:
    import lz4.frame

    try:
        return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed, limit))
    except RuntimeError as error:
        raise ValueError from error


UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    "": lambda packed, limit: packed[:limit],
    "zstd": _unpack_zstd,
    "lz4": _unpack_lz4,
}
