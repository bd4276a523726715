"""Reads the header of a GGUF file: its metadata as raw bytes, and how many bytes every tensor takes."""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

ALIGNMENT = 32
STRING, ARRAY = 8, 9
VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


class NotGguf(Exception):
    """The file is not a GGUF file that can be read; the text says why."""


@dataclass(frozen=True)
class Gguf:
    """The header of a file."""

    metadata: dict[str, bytes]
    """Every value as it stands in the file: its type (u32), then itself."""
    tensor_bytes: dict[str, int]
    """The bytes of every tensor, padding included."""

    def vocabulary_size(self) -> int:
        """The number of tokens."""
        if "tokenizer.ggml.tokens" not in self.metadata:
            raise NotGguf("it has no vocabulary")
        return struct.unpack_from("<IIQ", self.metadata["tokenizer.ggml.tokens"])[2]

    def bytes_per_token(self) -> int:
        """The weights that one decoded token reads, for a dense model.

        That is every tensor, save the token embeddings where the output has a matrix of its own: one row of them is read.
        """
        read = sum(self.tensor_bytes.values())
        return read - self.tensor_bytes["token_embd.weight"] if "output.weight" in self.tensor_bytes else read


class Cursor:
    """A position in the bytes of a file."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def number(self, kind: str) -> int:
        """The next number of a `struct` type."""
        (value,) = struct.unpack_from("<" + kind, self.data, self.at)
        self.at += struct.calcsize("<" + kind)
        return value

    def text(self) -> str:
        """The next string."""
        length = self.number("Q")
        self.at += length
        return self.data[self.at - length : self.at].decode()

    def skip(self, kind: int) -> None:
        """Goes past a value of a metadata type."""
        if kind == STRING:
            length = self.number("Q")
            self.at += length
        elif kind == ARRAY:
            element, count = self.number("I"), self.number("Q")
            if element in VALUE_BYTES:
                self.at += count * VALUE_BYTES[element]
            else:
                for _ in range(count):
                    self.skip(element)
        else:
            self.at += VALUE_BYTES[kind]

    def value(self) -> bytes:
        """The next metadata value with its type in front."""
        start = self.at
        self.skip(self.number("I"))
        return self.data[start : self.at]


def read(path: Path) -> Gguf:
    """The header of a GGUF file of version 2 or 3."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _header(Cursor(data), len(data))
    except (struct.error, KeyError, ValueError) as error:
        raise NotGguf(f"{path} is not a whole GGUF file ({error})") from error


def _header(cursor: Cursor, file_bytes: int) -> Gguf:
    if cursor.data[:4] != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    cursor.at = 4
    if (version := cursor.number("I")) not in (2, 3):
        raise ValueError(f"version {version} is unknown")
    tensor_count, value_count = cursor.number("Q"), cursor.number("Q")
    metadata = {cursor.text(): cursor.value() for _ in range(value_count)}
    offsets: dict[str, int] = {}
    for _ in range(tensor_count):
        name = cursor.text()
        dimensions = cursor.number("I")
        cursor.at += 8 * dimensions + 4  # their sizes, and the type
        offsets[name] = cursor.number("Q")
    alignment = ALIGNMENT
    if "general.alignment" in metadata:
        (alignment,) = struct.unpack_from("<4xI", metadata["general.alignment"])
    data_bytes = file_bytes - -(-cursor.at // alignment) * alignment
    if any(offset >= data_bytes for offset in offsets.values()):
        raise ValueError("it ends before its last tensor")
    names = sorted(offsets, key=lambda name: offsets[name])
    ends = [offsets[name] for name in names[1:]] + [data_bytes]
    return Gguf(metadata, {name: end - offsets[name] for name, end in zip(names, ends)})
