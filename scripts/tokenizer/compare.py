#!/usr/bin/env python3
"""Makes a folder in which Tektra's tokenizer can be compared with the references, on whole vocabularies.

For every family: a GGUF file with its vocabulary and nothing else, and the reference's tokens of one long text. The
reference is the published tokenizer.json where there is one, run by the `tokenizers` package, otherwise llama.cpp. The
table says where llama.cpp gives other tokens than the published tokenizer.

    pip install tokenizers
    scripts/tokenizer/compare.py FOLDER [--model FILE.gguf]...
    TEKTRA_VOCABULARIES=FOLDER cargo test --release -p tektra-cpu -- --ignored whole_vocabularies
"""

import argparse
import json
import random
import sys
from pathlib import Path

import llama_cpp
import sources
from tokenizers import Tokenizer

TEXT = Path(__file__).resolve().parents[2] / "src-tauri/cpu/src/tokenizer/fixtures/text.txt"
RANDOM_WORDS, RANDOM_LETTERS = 12_000, 6_000
# Where the letters of a random text come from: most scripts, marks, numbers, symbols, emoji.
RANGES = [(0x20, 0x7E), (0xA0, 0x52F), (0x590, 0x6FF), (0x900, 0xDFF), (0xE00, 0xEFF), (0x1000, 0x10FF), (0x1200, 0x137F),
          (0x1780, 0x17FF), (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x4FFF), (0xAC00, 0xADFF),
          (0xFF00, 0xFFEF), (0x1D400, 0x1D4FF), (0x1F300, 0x1F6FF)]


def long_text() -> str:
    """The text of the tests, then its pieces in random order with random letters between them."""
    text = TEXT.read_bytes().decode()
    source = random.Random(20)
    cuts = sorted(source.sample(range(1, len(text)), len(text) // 4))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    parts = [source.choice(pieces) for _ in range(RANDOM_WORDS)]
    parts += ["".join(chr(source.randint(*source.choice(RANGES))) for _ in range(source.randint(1, 6)))
              + source.choice(["", " ", "\n", "  ", "1", "23"]) for _ in range(RANDOM_LETTERS)]
    source.shuffle(parts)
    return text + "".join(parts)


def main() -> int:
    """Writes the folder and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, action="append", default=[], help="also compare this GGUF file's vocabulary")
    parser.add_argument("--family", action="append", choices=sources.FAMILIES, help="only this one")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    text = long_text()
    (folder / "text.txt").write_bytes(text.encode())
    print(f"{'vocabulary':20} {'tokens':>8} {'reference':>14}  llama.cpp")
    for family in arguments.family or sources.FAMILIES:
        vocabulary = sources.read(family, folder / "packages")
        path = folder / f"{family}.gguf"
        vocabulary.write(path)
        ids = llama = llama_cpp.Tokenizer(path).encode(text, specials=True)
        if vocabulary.reference:
            ids = Tokenizer.from_str(json.dumps(vocabulary.reference)).encode(text, add_special_tokens=False).ids
        path.with_suffix(".json").write_text(json.dumps(ids))
        same = "the reference" if not vocabulary.reference else "equal" if llama == ids else f"differs ({len(llama)} tokens)"
        print(f"{family:20} {len(ids):>8} {'tokenizer.json' if vocabulary.reference else 'llama.cpp':>14}  {same}")
    for model in arguments.model:
        path = folder / model.name
        data = model.read_bytes()
        # Files without tensors often end where their header does, short of the alignment that they promise.
        path.write_bytes(data + bytes(-len(data) % 32))
        ids = llama_cpp.Tokenizer(path).encode(text, specials=True)
        path.with_suffix(".json").write_text(json.dumps(ids))
        print(f"{model.stem:20} {len(ids):>8} {'llama.cpp':>14}  the reference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
