#!/usr/bin/env python3
"""Writes the tokenizer's test fixtures: vocabularies reduced to what occurs in the test text, and the tokens that the
reference gives for it with the whole vocabulary.

Also, for every pre-tokenizer, the words into which llama.cpp cuts the text.

    pip install tokenizers
    scripts/tokenizer/fixtures.py PACKAGES --starter SmolLM2-135M-Instruct.Q4_1.gguf
"""

import argparse
import json
import sys
import tempfile
import unicodedata
from dataclasses import replace
from pathlib import Path

import llama_cpp
import sources
from cuts import cuts
from llama_cpp import llama_library
from tokenizers import Tokenizer, pre_tokenizers
from vocabulary import BYTE, CONTROL, NORMAL, UNKNOWN, USER_DEFINED, Vocabulary, byte_letters

FOLDER = Path(__file__).resolve().parents[2] / "src-tauri/cpu/src/tokenizer/fixtures"
CHATML = "<|im_start|>user\nHi 12<|im_end|>\n<|im_start|>assistant\n"
# A text with special tokens, and the other names of the same pre-tokenizer.
REAL = {
    "llama-3.1": ("<|start_header_id|>user<|end_header_id|>\n\nHi 12<|eot_id|> x", ["llama-bpe"]),
    "qwen2.5": (CHATML + "<tool_call>{ <s>x</s>", ["qwen2"]),
    "gpt-2": ("Hi 12<|endoftext|> x", ["gpt-2", "phi-2"]),
    "gpt-4": ("<|fim_prefix|>Hi 12<|endoftext|> x", ["dbrx"]),
    "gpt-oss": ("<|start|>user<|message|>Hi 12<|end|> x", ["gpt-4o"]),
    "mistral-nemo": ("<s>[INST]Hi 12[/INST] x</s>", ["tekken"]),
    "deepseek-v3": ("<｜begin▁of▁sentence｜><｜User｜>Hi 12<｜Assistant｜> x", ["deepseek-v3"]),
    "mistral-7b": ("<s>[INST] Hi 12 [/INST] x</s>\n y", ["default"]),
    "phi-3": ("<|user|>\n Hi 12<|end|>\n\n<|assistant|>\n x<|endoftext|> y<|placeholder1|>", ["default"]),
}
# All that Tektra knows but those that llama.cpp is known to cut wrongly: the families of `cased` in pre.rs, qwen2 and, before
# U+A640, afmoe.
LLAMA_CPP = """default llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 dbrx smaug-bpe glm4 chatglm-bpe minicpm5
    deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2 qwen35 laguna ufakzeka jais-2 gpt-2 phi-2 gigachat
    a.x-4.0 mellum modern-bert exaone4 mpt olmo jais trillion granite-docling starcoder refact command-r smollm codeshell exaone
    minerva-7b mellum2 falcon deepseek-llm deepseek-coder deepseek-v3 hunyuan-dense joyai-llm hy_v4 youtu tiny_aya
    cohere2moe superbpe poro-chat bloom gpt3-finnish viking bailingmoe bailingmoe2 llada-moe seed-coder exaone-moe
    chameleon""".split()
SPM_BASE = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]


def letters(text: str) -> str:
    """The text as byte-level vocabularies write it."""
    table = byte_letters()
    return "".join(table[byte] for byte in text.encode())


def reduced(vocabulary: Vocabulary, text: str, marked: str) -> Vocabulary:
    """The vocabulary without the tokens that cannot occur in the two texts."""
    both = "\n".join([text, marked, unicodedata.normalize("NFC", text)])
    specials = [(token, kind) for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True)
                if kind in (UNKNOWN, CONTROL, USER_DEFINED) and token in both]
    if vocabulary.model == "llama":
        both = "▁" + both.replace(" ", "▁").replace("\n", "\n▁")
        specials = [special for special in specials if special[0] not in SPM_BASE]
        pieces = [(token, score) for token, score, kind in zip(vocabulary.tokens, vocabulary.scores, vocabulary.kinds, strict=True)
                  if kind == NORMAL and token in both]
        tokens = SPM_BASE + [piece for piece, _ in pieces]
        kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + [NORMAL] * len(pieces)
        scores = [0.0] * len(SPM_BASE) + [score for _, score in pieces] + [0.0] * len(specials)
        merges = []
    else:
        both = letters(both)
        merges = [merge for merge in vocabulary.merges if merge.replace(" ", "", 1) in both]
        tokens = byte_letters() + list(dict.fromkeys(merge.replace(" ", "", 1) for merge in merges))
        kinds, scores = [NORMAL] * len(tokens), []
    return replace(vocabulary, tokens=tokens + [token for token, _ in specials], scores=scores, merges=merges,
                   kinds=kinds + [kind for _, kind in specials], bos=None, eos=None, unknown=None, reference=None)


def words(reference: dict, text: str) -> list[int]:
    """The bytes in each word that the published pre-tokenizer cuts."""
    tokenizer = Tokenizer.from_str(json.dumps(reference))
    if tokenizer.normalizer:
        text = tokenizer.normalizer.normalize_str(text)
    return [len(word) for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def llama(vocabulary: Vocabulary, pre: str, text: str, specials: bool) -> list[int]:
    """llama.cpp's tokens."""
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        replace(vocabulary, pre=pre).write(Path(file.name))
        return llama_cpp.Tokenizer(Path(file.name)).encode(text, specials)


def store(vocabulary: Vocabulary, pres: list[str], marked: str, ids: list[int], marked_ids: list[int], cut: list[int]) -> None:
    """Writes a fixture, and prints how llama.cpp agrees with it."""
    text = (FOLDER / "text.txt").read_bytes().decode()
    agree = {pre: (llama(vocabulary, pre, text, False) == ids, llama(vocabulary, pre, marked, True) == marked_ids) for pre in pres}
    specials = [(token, kind) for token, kind in zip(vocabulary.tokens, vocabulary.kinds, strict=True)
                if kind in (UNKNOWN, CONTROL, USER_DEFINED) and (vocabulary.model == "gpt2" or token not in SPM_BASE)]
    fixture = {"family": vocabulary.name, "pre": pres, "specials": specials, "ids": ids, "marked": (marked, marked_ids)}
    if cut:
        fixture["words"] = cut
    if vocabulary.model == "llama":
        base, count = len(SPM_BASE), len(vocabulary.tokens) - len(specials)
        fixture["pieces"] = list(zip(vocabulary.tokens[base:count], vocabulary.scores[base:count], strict=True))
        fixture["add_space_prefix"] = vocabulary.add_space_prefix
    else:
        fixture["merges"] = vocabulary.merges
    path = FOLDER / f"{vocabulary.name}.json"
    path.write_text(json.dumps(fixture, ensure_ascii=False, separators=(",", ":")) + "\n")
    print(f"{vocabulary.name:18} {len(ids):5} tokens {len(cut):5} words {path.stat().st_size:7} bytes  llama.cpp: {agree}")


def main() -> int:
    """Writes all fixtures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path)
    parser.add_argument("--starter", type=Path, required=True)
    arguments = parser.parse_args()
    text = (FOLDER / "text.txt").read_bytes().decode()
    for name, (marked, pres) in REAL.items():
        whole = sources.read(name, arguments.packages)
        small = reduced(whole, text, marked)
        numbers = {token: number for number, token in reversed(list(enumerate(small.tokens)))}
        tokenizer = Tokenizer.from_str(json.dumps(whole.reference))
        encode = lambda text: [numbers[whole.tokens[token]] for token in tokenizer.encode(text, add_special_tokens=False).ids]  # noqa: E731,B023
        cut = words(whole.reference, text) if whole.model == "gpt2" else []
        store(small, pres, marked, encode(text), encode(marked), cut)
    starter(arguments.starter, text)
    cut_as_llama_cpp(text)
    return 0


def cut_as_llama_cpp(text: str) -> None:
    """Writes down where llama.cpp cuts the text, names that cut alike together."""
    names: dict[tuple[int, ...], list[str]] = {}
    for name in LLAMA_CPP:
        try:
            names.setdefault(tuple(cuts(name, text)), []).append(name)
        except llama_library.Unusable as error:
            print(f"{name}: {error}")
    path = FOLDER / "words.json"
    path.write_text(json.dumps([{"pre": pres, "words": cut} for cut, pres in names.items()], separators=(",", ":")) + "\n")
    print(f"words.json: {len(LLAMA_CPP)} names, {len(names)} ways to cut, {path.stat().st_size} bytes")


def starter(path: Path, text: str) -> None:
    """The starter model's own vocabulary; its words are cut as published for SmolLM and StarCoder."""
    whole = sources.gguf(path)
    tokenizer = llama_cpp.Tokenizer(path)
    small = replace(reduced(whole, text, CHATML), name="smollm")
    numbers = {token: number for number, token in reversed(list(enumerate(small.tokens)))}
    encode = lambda text, specials: [numbers[whole.tokens[token]] for token in tokenizer.encode(text, specials)]  # noqa: E731
    published = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    cut = [len(word) for word, _ in published.pre_tokenize_str(text)]
    store(small, ["smollm", "starcoder", "refact"], CHATML, encode(text, False), encode(CHATML, True), cut)


if __name__ == "__main__":
    sys.exit(main())
