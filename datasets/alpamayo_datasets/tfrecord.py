"""TFRecord files without TensorFlow: length, masked CRC-32C of the length, data, masked CRC-32C of the data.

Format: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
"""

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt32

from alpamayo_sim.errors import InputError

Array = np.ndarray

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
MAX_RECORD_BYTES = 128 << 20
CASTAGNOLI = 0x82F63B78  # the polynomial of CRC-32C, bits reversed
LANE_BYTES = 1024  # of a record that are summed in one lane; all lanes of a record advance together


def is_tfrecord(head: bytes) -> bool:
    """Return whether these first bytes are the header of a TFRecord file: a length and its checksum."""
    if len(head) < HEADER.size:
        return False
    _, checksum = HEADER.unpack_from(head)
    return checksum == masked_crc32c(head[:8])


def records(path: Path, check: bool = True) -> Iterator[bytes]:
    """Yield the records of a file one by one; ``check`` False leaves the sums of their data unchecked.

    Raises:
        InputError: The file cannot be read, is cut short, or a checksum does not fit.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            number = 0
            while header := file.read(HEADER.size):
                yield _record(file.read, header, size - file.tell(), f"{path}: record {number}", check)
                number += 1
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def masked_crc32c(data: bytes) -> int:
    """Return the checksum that TFRecord files store: CRC-32C, rotated by 15 bits, plus a constant."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes.

    A CRC is linear over GF(2), so that the data is cut into lanes of equal length which advance side by side. Lanes
    are then joined in pairs: the left one is moved on by the length of the right one and added to it.
    """
    if len(data) < 4 * LANE_BYTES:
        crc = 0xFFFFFFFF
        table = _table().tolist()
        for byte in data:
            crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
        return crc ^ 0xFFFFFFFF
    levels = int(np.ceil(np.log2(len(data) / LANE_BYTES)))
    padded = np.zeros(LANE_BYTES << levels, np.uint8)  # zeros in front do not change the sum
    padded[-len(data) :] = np.frombuffer(data, np.uint8)
    padded[-len(data) :][:4] ^= 255
    sums = _advance(np.zeros(1 << levels, np.uint32), padded.reshape(1 << levels, LANE_BYTES))
    for operator in _operators(levels):
        sums = _apply(operator, sums[0::2]) ^ sums[1::2]
    return int(sums[0]) ^ 0xFFFFFFFF


def frame(data: bytes) -> bytes:
    """Return a record as it stands in a file."""
    length = struct.pack("<Q", len(data))
    return length + FOOTER.pack(masked_crc32c(length)) + data + FOOTER.pack(masked_crc32c(data))


def _record(read: object, header: bytes, left: int, where: str, check: bool) -> bytes:
    if len(header) < HEADER.size:
        raise InputError(f"{where}: the file is cut short in the record's header")
    length, checksum = HEADER.unpack(header)
    if checksum != masked_crc32c(header[:8]):
        raise InputError(f"{where}: the checksum of its length does not fit; the file is damaged or no TFRecord file")
    if length > MAX_RECORD_BYTES:
        raise InputError(f"{where}: has {length} bytes, must be at most {MAX_RECORD_BYTES}")
    if length + FOOTER.size > left:
        raise InputError(f"{where}: has {length} bytes, of which the file holds {max(left - FOOTER.size, 0)}")
    data: bytes = read(length)  # type: ignore[operator]
    (checksum,) = FOOTER.unpack(read(FOOTER.size))  # type: ignore[operator]
    if check and checksum != masked_crc32c(data):
        raise InputError(f"{where}: the checksum of its data does not fit; the file is damaged")
    return data


@cache
def _table() -> UInt32[Array, "256"]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(CASTAGNOLI), table >> 1)
    return table.astype(np.uint32)


def _advance(crc: UInt32[Array, " lanes"], data: Array) -> UInt32[Array, " lanes"]:
    """Return the sums after the bytes of each lane, without the inversions at both ends."""
    table = _table()
    for column in np.ascontiguousarray(data.T):
        crc = table[(crc ^ column) & 255] ^ crc >> 8
    return crc


@cache
def _operators(levels: int) -> list[UInt32[Array, "32"]]:
    """Return the matrices that move a sum on by LANE_BYTES, twice as many, four times as many, ... zero bytes."""
    basis = np.uint32(1) << np.arange(32, dtype=np.uint32)
    operators = [_advance(basis, np.zeros((32, LANE_BYTES), np.uint8))]
    for _ in range(levels - 1):
        operators.append(_apply(operators[-1], operators[-1]))
    return operators[:levels]


def _apply(operator: UInt32[Array, "32"], sums: UInt32[Array, " n"]) -> UInt32[Array, " n"]:
    """Return the matrix times each of the vectors, over GF(2)."""
    out = np.zeros_like(sums)
    for bit in range(32):
        out ^= np.where(sums >> np.uint32(bit) & 1, operator[bit], np.uint32(0)).astype(np.uint32)
    return out
