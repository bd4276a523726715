#!/usr/bin/env python3
"""Writes a GGUF file of Llama architecture with random weights, to measure speed without a download.

The speed of a dense model depends on its shape and on the types of its tensors, not on their values. The blocks are random bits under
scales that give the weights a standard deviation of about 0.02, so that activations stay finite.
"""

import argparse
import os
import random
import shutil
import signal
import statistics
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, NamedTuple, Optional

import gguf

DEVIATION = 0.02
PATTERN_BYTES = 8 << 20
SPARE_BYTES = 64 << 20
PROGRESS_BYTES = 256 << 20
TEXT, U32, F32 = 8, 4, 6


class CannotWrite(Exception):
    """The file cannot be written; the text says why."""


class Shape(NamedTuple):
    """The sizes of a Llama model."""

    layers: int
    dim: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int


class Type(NamedTuple):
    """A tensor type: its numbers in the format, its block, and what makes random bits of a block small weights."""

    id: int
    file_type: int
    elements: int
    bytes: int
    scale_at: int = 0
    """Where the block's scale d lies (F16)."""
    deviation: float = 1.0
    """The standard deviation of the weights under d = 1, all other bits being random."""
    minimum_at: Optional[int] = None
    """Where the block's minimum lies (F16), in types that have one."""
    minimum: float = 0.0
    """The minimum that gives the weights a mean of 0, in units of d."""


SHAPES = {
    "135m": Shape(layers=30, dim=576, heads=9, kv_heads=3, head_dim=64, ffn=1536),
    "1b": Shape(layers=16, dim=2048, heads=32, kv_heads=8, head_dim=64, ffn=8192),
    "3b": Shape(layers=28, dim=3072, heads=24, kv_heads=8, head_dim=128, ffn=8192),
    "8b": Shape(layers=32, dim=4096, heads=32, kv_heads=8, head_dim=128, ffn=14336),
}
TYPES = {
    "F16": Type(1, 1, 1, 2),
    "Q4_0": Type(2, 2, 32, 18, 0, 4.64),
    "Q4_1": Type(3, 3, 32, 20, 0, 4.61, 2, -7.5),
    "Q5_0": Type(6, 8, 32, 22, 0, 9.25),
    "Q5_1": Type(7, 9, 32, 24, 0, 9.23, 2, -15.5),
    "Q8_0": Type(8, 7, 32, 34, 0, 73.9),
    "Q2_K": Type(10, 10, 256, 84, 80, 13.9, 82, 1.5),
    "Q3_K": Type(11, 11, 256, 110, 108, 43.3),
    "Q4_K": Type(12, 14, 256, 144, 0, 258.0, 2, 7.5),
    "Q5_K": Type(13, 16, 256, 176, 0, 527.0, 2, 15.5),
    "Q6_K": Type(14, 18, 256, 210, 208, 1366.0),
}
F32_TYPE = Type(0, 0, 1, 4)
# What llama.cpp's quantization takes for rows that are no multiple of 256.
FALLBACKS = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


@dataclass(frozen=True)
class Tensor:
    """A tensor: `columns` is its contiguous dimension, `rows` is `None` for a vector."""

    name: str
    type: Type
    columns: int
    rows: Optional[int] = None

    def bytes(self) -> int:
        """Its size without padding."""
        return self.columns * (self.rows or 1) // self.type.elements * self.type.bytes


def tensors(shape: Shape, type_name: str, vocabulary: int, untied: bool) -> Iterator[Tensor]:
    """All tensors in the order of the file."""

    def matrix(name: str, columns: int, rows: int) -> Tensor:
        fits = columns % TYPES[type_name].elements == 0
        return Tensor(f"{name}.weight", TYPES[type_name if fits else FALLBACKS[type_name]], columns, rows)

    def norm(name: str) -> Tensor:
        return Tensor(f"{name}.weight", F32_TYPE, shape.dim)

    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield matrix("token_embd", shape.dim, vocabulary)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        yield norm(block + "attn_norm")
        yield matrix(block + "attn_q", shape.dim, queries)
        yield matrix(block + "attn_k", shape.dim, keys)
        yield matrix(block + "attn_v", shape.dim, keys)
        yield matrix(block + "attn_output", queries, shape.dim)
        yield norm(block + "ffn_norm")
        yield matrix(block + "ffn_gate", shape.dim, shape.ffn)
        yield matrix(block + "ffn_up", shape.dim, shape.ffn)
        yield matrix(block + "ffn_down", shape.ffn, shape.dim)
    yield norm("output_norm")
    if untied:
        yield matrix("output", shape.dim, vocabulary)


def header(name: str, shape: Shape, type_name: str, vocabulary: gguf.Gguf, all_tensors: list[Tensor]) -> bytes:
    """Everything in front of the tensors' data, padding included."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    def u32(value: int) -> bytes:
        return struct.pack("<II", U32, value)

    def f32(value: float) -> bytes:
        return struct.pack("<If", F32, value)

    metadata = {
        "general.architecture": struct.pack("<I", TEXT) + text("llama"),
        "general.name": struct.pack("<I", TEXT) + text(f"Random weights, {name}"),
        "general.file_type": u32(TYPES[type_name].file_type),
        "general.quantization_version": u32(2),
        "llama.block_count": u32(shape.layers),
        "llama.context_length": u32(8192),
        "llama.embedding_length": u32(shape.dim),
        "llama.feed_forward_length": u32(shape.ffn),
        "llama.attention.head_count": u32(shape.heads),
        "llama.attention.head_count_kv": u32(shape.kv_heads),
        "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
        "llama.rope.dimension_count": u32(shape.head_dim),
        "llama.rope.freq_base": f32(500_000.0),
        "llama.vocab_size": u32(vocabulary.vocabulary_size()),
        **{key: value for key, value in vocabulary.metadata.items() if key.startswith("tokenizer.")},
    }
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(all_tensors), len(metadata))]
    parts += [text(key) + value for key, value in metadata.items()]
    offset = 0
    for tensor in all_tensors:
        sizes = (tensor.columns,) if tensor.rows is None else (tensor.columns, tensor.rows)
        parts.append(text(tensor.name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, tensor.type.id, offset))
        offset += padded(tensor.bytes())
    joined = b"".join(parts)
    return joined.ljust(padded(len(joined)), b"\0")


def padded(size: int) -> int:
    """The next multiple of the alignment."""
    return -(-size // gguf.ALIGNMENT) * gguf.ALIGNMENT


def pattern(kind: Type, source: random.Random) -> memoryview:
    """Some MiB of valid blocks of a type."""
    if kind == F32_TYPE:  # Only norms: all ones.
        return memoryview(struct.pack("<f", 1.0) * 65536)
    blocks = PATTERN_BYTES // kind.bytes
    data = bytearray(source.randbytes(blocks * kind.bytes))
    if kind == TYPES["F16"]:
        # The upper byte (sign, exponent, first bits of the fraction) follows a normal distribution, the lower is random.
        normal = statistics.NormalDist(0.0, DEVIATION)
        upper = bytes(struct.pack("<e", normal.inv_cdf((step + 0.5) / 256))[1] for step in range(256))
        data[1::2] = data[1::2].translate(upper)
        return memoryview(data)
    scale = DEVIATION / kind.deviation
    fields = [(kind.scale_at, scale)] + ([] if kind.minimum_at is None else [(kind.minimum_at, kind.minimum * scale)])
    for at, value in fields:
        low, high = struct.pack("<e", value)
        data[at :: kind.bytes] = bytes([low]) * blocks
        data[at + 1 :: kind.bytes] = bytes([high]) * blocks
    return memoryview(data)


def write(out: Path, shape_name: str, type_name: str, vocabulary: Path, untied: bool = False) -> bool:
    """Writes a file, or keeps the complete one of an earlier call; tells whether it was written."""
    shape, words = SHAPES[shape_name], gguf.read(vocabulary)
    all_tensors = list(tensors(shape, type_name, words.vocabulary_size(), untied))
    start = header(f"{shape_name} {type_name}", shape, type_name, words, all_tensors)
    size = len(start) + sum(padded(tensor.bytes()) for tensor in all_tensors)
    if out.is_file() and out.stat().st_size == size:
        with open(out, "rb") as file:
            if file.read(len(start)) == start:
                return False
    out.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(out.parent).free) < size + SPARE_BYTES:
        raise CannotWrite(f"{out} needs {size >> 20} MiB, but {out.parent} has {free >> 20} MiB free")
    part = out.with_name(f".{out.name}.part")
    try:
        with open(part, "wb", buffering=0) as file:
            _write_all(file.fileno(), out.name, start, all_tensors, size)
            os.fsync(file.fileno())  # Nothing is left to be written back while something is measured.
        os.replace(part, out)
    except OSError as error:
        raise CannotWrite(f"{out} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return True


def _write_all(file: int, name: str, start: bytes, all_tensors: list[Tensor], size: int) -> None:
    source = random.Random(0)
    patterns = {kind: pattern(kind, source) for kind in {tensor.type: None for tensor in all_tensors}}
    written = reported = 0
    live = sys.stderr.isatty()

    def put(data: memoryview) -> None:
        nonlocal written
        while data:
            count = os.write(file, data)
            data, written = data[count:], written + count

    put(memoryview(start))
    for tensor in all_tensors:
        data, left = patterns[tensor.type], tensor.bytes()
        while left:
            # Another offset every time, so that rows differ between tensors.
            at = source.randrange(len(data) // tensor.type.bytes) * tensor.type.bytes
            put(data[at : at + left])
            left -= min(left, len(data) - at)
        put(memoryview(bytes(padded(tensor.bytes()) - tensor.bytes())))
        if live and written >= reported + PROGRESS_BYTES:
            reported = written
            print(f"\r· writing {name}: {written * 100 // size} %", end="", file=sys.stderr, flush=True)
    print(f"{chr(13) if live else ''}· wrote {name}: {size >> 20} MiB", file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes a GGUF file of Llama architecture with random weights.")
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--type", choices=TYPES, required=True, help="of all matrices; norms are F32")
    parser.add_argument("--vocabulary", type=Path, required=True, metavar="FROM.gguf", help="the file whose tokenizer is copied")
    parser.add_argument("--untied", action="store_true", help="with a matrix of its own for the output")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # The unfinished file is removed then, too.
    try:
        if not write(options.out, options.shape, options.type, options.vocabulary, options.untied):
            print(f"· {options.out} is complete already", file=sys.stderr)
    except (CannotWrite, gguf.NotGguf, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
