#!/usr/bin/env python3
"""Measures llama.cpp on the CPU through its shared libraries, as its own llama-bench does: no language binding costs time per token.

Prints one JSON object a line and repetition. A repetition is a prefill from an empty context, then single-token decoding at the depth that
the prefill reached. Further modes: the perplexity of a text, and a greedy continuation, as references for quality.
"""

import argparse
import ctypes
import json
import math
import os
import random
import sys
import time
from pathlib import Path
from typing import Iterator

from llama_library import BATCH, F32, I32, LOG_ERROR, Batch, OpenModel, Unusable, default_cache, install, resident_mib

WINDOW = 512


class LlamaCpp(OpenModel):
    """A model and what is measured of it."""

    def clear(self) -> None:
        """Empties the context."""
        self.llama.llama_memory_clear(self.llama.llama_get_memory(self.context), False)

    def decode(self, tokens: ctypes.Array, all_logits: bool = False) -> None:
        """Appends tokens, at most a batch at once, and waits until they are computed."""
        for start in range(0, len(tokens), BATCH):
            count = min(BATCH, len(tokens) - start)
            outputs = (ctypes.c_int8 * count)(*[1] * count) if all_logits else None  # None: of the last token only.
            first = ctypes.addressof(tokens) + start * ctypes.sizeof(I32)
            batch = Batch(count, first, None, None, None, None, ctypes.addressof(outputs) if outputs else None)
            if code := self.llama.llama_decode(self.context, batch):
                raise Unusable(f"llama_decode ended with code {code}: {self.messages(LOG_ERROR)}")
        self.llama.llama_synchronize(self.context)

    def tokens(self, text: str, special: bool) -> list[int]:
        """The tokens of a text; `special` adds the leading token and reads control tokens in the text."""
        data = text.encode()
        room = (I32 * (len(data) + 8))()
        return room[: self.llama.llama_tokenize(self.vocabulary, data, len(data), room, len(room), special, special)]

    def bench(self, prefill: int, decode: int, repetitions: int) -> Iterator[dict]:
        """Speeds, a repetition at a time. Tokens are random, as in llama-bench: no sampling is measured."""
        source = random.Random(0)
        prompt = (I32 * prefill)(*(source.randrange(self.vocabulary_size) for _ in range(prefill)))
        singles = [(I32 * 1)(source.randrange(self.vocabulary_size)) for _ in range(decode)]
        for _ in range(repetitions):
            self.clear()
            started = time.perf_counter()
            self.decode(prompt)
            filled = time.perf_counter()
            for single in singles:
                self.decode(single)
            ended = time.perf_counter()
            yield {"prefill_tokens": prefill, "prefill_tokens_per_second": round(prefill / (filled - started), 3),
                   "decode_tokens": decode, "decode_tokens_per_second": round(decode / (ended - filled), 3),
                   "resident_mib": round(resident_mib() - self.resident_before, 1)}

    def perplexity(self, text: str) -> dict:
        """Perplexity over whole windows of 512 tokens; each window's first token is context only."""
        tokens = self.tokens(text, special=False)
        windows = len(tokens) // WINDOW
        if not windows:
            raise Unusable(f"the text has {len(tokens)} tokens; {WINDOW} are needed")
        loss = 0.0
        for window in range(windows):
            part = tokens[window * WINDOW : (window + 1) * WINDOW]
            self.clear()
            self.decode((I32 * WINDOW)(*part), all_logits=True)
            for at, following in enumerate(part[1:]):
                logits = (F32 * self.vocabulary_size).from_address(self.llama.llama_get_logits_ith(self.context, at))[:]
                loss += math.log(sum(map(math.exp, logits))) - logits[following]
            print(f"· window {window + 1} of {windows}: {math.exp(loss / (window + 1) / (WINDOW - 1)):.4f}", file=sys.stderr)
        counted = windows * (WINDOW - 1)
        return {"windows": windows, "counted_tokens": counted, "perplexity": round(math.exp(loss / counted), 5)}

    def greedy(self, prompt: str, count: int) -> dict:
        """The most probable continuation of a prompt, until its end or `count` tokens."""
        sampler, given, written = self.llama.llama_sampler_init_greedy(), self.tokens(prompt, special=True), []
        self.clear()
        self.decode((I32 * len(given))(*given))
        while len(written) < count:
            token = self.llama.llama_sampler_sample(sampler, self.context, -1)
            if self.llama.llama_vocab_is_eog(self.vocabulary, token):
                break
            written.append(token)
            self.decode((I32 * 1)(token))
        room = ctypes.create_string_buffer(64 * len(written) + 64)
        ids = (I32 * len(written))(*written)
        length = self.llama.llama_detokenize(self.vocabulary, ids, len(written), room, len(room), False, True)
        return {"prompt_tokens": given, "tokens": written, "text": room.raw[: max(length, 0)].decode(errors="replace")}


def main() -> int:
    parser = argparse.ArgumentParser(description="Measures llama.cpp on the CPU.")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--prefill", type=int, default=512, metavar="TOKENS")
    parser.add_argument("--decode", type=int, default=128, metavar="TOKENS")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--perplexity", type=Path, metavar="TEXTFILE", help="instead: the perplexity of a text")
    parser.add_argument("--greedy", nargs=2, metavar=("PROMPT", "TOKENS"), help="instead: the greedy continuation of a prompt")
    parser.add_argument("--libraries", type=Path, metavar="FOLDER", help="llama.cpp's shared libraries (default: fetched with npm)")
    options = parser.parse_args()
    try:
        libraries = options.libraries or install(default_cache())
        context = options.prefill + options.decode
        if options.perplexity:
            context = WINDOW
        elif options.greedy:
            context = len(options.greedy[0].encode()) + 8 + int(options.greedy[1])
        llama_cpp = LlamaCpp(libraries, options.model, options.threads, context, all_logits=bool(options.perplexity))
        print(f"· llama.cpp {llama_cpp.release}, CPU variant {llama_cpp.variant}, {options.threads} threads", file=sys.stderr)
        if options.perplexity:
            results = iter([llama_cpp.perplexity(options.perplexity.read_text(encoding="utf-8"))])
        elif options.greedy:
            results = iter([llama_cpp.greedy(options.greedy[0], int(options.greedy[1]))])
        else:
            results = llama_cpp.bench(options.prefill, options.decode, options.repetitions)
        about = {"variant": llama_cpp.variant, "release": llama_cpp.release}
        for result in results:
            print(json.dumps({"file": options.model.name, "threads": options.threads, **result, **about}), flush=True)
    except (Unusable, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
