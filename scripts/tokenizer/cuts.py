"""Where llama.cpp's pre-tokenizers cut a text, found out with vocabularies that merge whatever stands side by side.

A boundary between two bytes shows in that they do not become one token. Merges must not compete for a byte, so each
vocabulary merges only bytes of one half of all with bytes of the other half: for every bit of the byte's number, those
where it is 0 before those where it is 1, and the reverse. Runs of one byte get a vocabulary of their own.
"""

import tempfile
from itertools import groupby
from pathlib import Path

import llama_cpp
from vocabulary import NORMAL, Vocabulary, byte_letters

LETTERS = byte_letters()


def cuts(pre: str, text: str) -> list[int]:
    """The bytes in each word."""
    data = text.encode()
    joined = [False] * len(data)  # Whether the byte belongs to the same word as the one before it.
    pairs = {(one, two) for one, two in zip(data, data[1:], strict=False) if one != two}
    for bit in range(8):
        for low in (0, 1):
            merges = [f"{LETTERS[one]} {LETTERS[two]}" for one, two in sorted(pairs)
                      if one >> bit & 1 == low and two >> bit & 1 != low]
            _join(pre, text, merges, joined)
    runs: dict[int, int] = {}
    for byte, run in groupby(data):
        runs[byte] = max(runs.get(byte, 1), len(list(run)))
    merges = [f"{LETTERS[byte] * left} {LETTERS[byte] * (whole - left)}" for byte, longest in runs.items()
              for whole in range(2, longest + 1) for left in range(1, whole)]
    _join(pre, text, merges, joined)
    starts = [at for at, same in enumerate(joined) if not same]
    return [end - start for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def _join(pre: str, text: str, merges: list[str], joined: list[bool]) -> None:
    tokens = LETTERS + list(dict.fromkeys(merge.replace(" ", "") for merge in merges))
    vocabulary = Vocabulary(pre, "gpt2", pre, tokens, [NORMAL] * len(tokens), merges=merges)
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        vocabulary.write(Path(file.name))
        ids = llama_cpp.Tokenizer(Path(file.name)).encode(text)
    at = 0
    for token in ids:
        count = len(tokens[token])
        joined[at + 1 : at + count] = [True] * (count - 1)
        at += count
    if at != len(joined):
        raise ValueError(f"llama.cpp lost {len(joined) - at} bytes of the text")
