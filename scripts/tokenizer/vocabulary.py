"""A vocabulary as GGUF files describe it, and how it is written to one that holds nothing else.

Names of the metadata: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from dataclasses import dataclass, field
from pathlib import Path

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9


@dataclass
class Vocabulary:
    """The tokenizer's part of a GGUF file's metadata."""

    name: str
    model: str
    """"gpt2" for byte-level BPE, "llama" for SentencePiece BPE."""
    pre: str
    tokens: list[str]
    kinds: list[int]
    merges: list[str] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    bos: int | None = None
    eos: int | None = None
    unknown: int | None = None
    add_bos: bool = False
    add_space_prefix: bool | None = None
    chat_template: str | None = None
    reference: dict | None = None
    """The published tokenizer.json."""

    def write(self, path: Path) -> None:
        """Writes a GGUF file without tensors."""
        values = [_text("general.architecture", "llama"), _text("general.name", self.name)]
        values.append(_text("tokenizer.ggml.model", self.model))
        values.append(_text("tokenizer.ggml.pre", self.pre))
        values.append(_array("tokens", STRING, [_bytes(token) for token in self.tokens]))
        values.append(_array("token_type", I32, [struct.pack("<i", kind) for kind in self.kinds]))
        if self.scores:
            values.append(_array("scores", F32, [struct.pack("<f", score) for score in self.scores]))
        if self.merges:
            values.append(_array("merges", STRING, [_bytes(merge) for merge in self.merges]))
        for name, token in (("bos", self.bos), ("eos", self.eos), ("unknown", self.unknown)):
            if token is not None:
                values.append(_value(f"tokenizer.ggml.{name}_token_id", U32, struct.pack("<I", token)))
        values.append(_value("tokenizer.ggml.add_bos_token", BOOL, struct.pack("<?", self.add_bos)))
        if self.add_space_prefix is not None:
            values.append(_value("tokenizer.ggml.add_space_prefix", BOOL, struct.pack("<?", self.add_space_prefix)))
        if self.chat_template:
            values.append(_text("tokenizer.chat_template", self.chat_template))
        data = struct.pack("<4sIQQ", b"GGUF", 3, 0, len(values)) + b"".join(values)
        path.write_bytes(data + bytes(-len(data) % 32))


def _bytes(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(name: str, kind: int, data: bytes) -> bytes:
    return _bytes(name) + struct.pack("<I", kind) + data


def _text(name: str, text: str) -> bytes:
    return _value(name, STRING, _bytes(text))


def _array(name: str, kind: int, items: list[bytes]) -> bytes:
    return _value(f"tokenizer.ggml.{name}", ARRAY, struct.pack("<IQ", kind, len(items)) + b"".join(items))


def byte_letters() -> list[str]:
    """The printable character by which byte-level vocabularies write each byte: itself, or one from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {byte: chr(byte) for byte in printable} | {byte: chr(0x100 + n) for n, byte in enumerate(others)}
    return [letters[byte] for byte in range(256)]
