"""llama.cpp's tokenizer, from the shared libraries that the benchmarks use."""

import ctypes
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "bench"))
import llama_library  # noqa: E402


class Tokenizer:
    """The tokenizer of a GGUF file, which may lack its tensors."""

    def __init__(self, model: Path) -> None:
        libraries = llama_library.install(llama_library.default_cache())
        self._log: list[str] = []
        self._callback = llama_library.LogCallback(lambda _, text, __: self._log.append(text.decode(errors="replace")))
        # Of this library, only what llama.cpp's own opening of a model does not need: the structs and the functions.
        library = llama_library.OpenModel._library
        library(libraries, "libggml-base.so", {})
        ggml = library(libraries, "libggml.v*.so", llama_library.GGML_FUNCTIONS)
        self.llama = library(libraries, "libllama.v*.so", llama_library.LLAMA_FUNCTIONS)
        self.llama.llama_log_set(self._callback, None)
        ggml.ggml_backend_load_all_from_path(os.fsencode(libraries))
        params = self.llama.llama_model_default_params()
        params.vocab_only = True
        self.model = self.llama.llama_model_load_from_file(os.fsencode(model), params)
        if not self.model:
            raise llama_library.Unusable(f"llama.cpp cannot load {model}: {''.join(self._log)[-500:]}")
        self.vocabulary = self.llama.llama_model_get_vocab(self.model)

    def encode(self, text: str, specials: bool = False) -> list[int]:
        """The tokens of the text, without BOS."""
        data = text.encode()
        ids = (ctypes.c_int32 * (len(data) + 16))()
        count = self.llama.llama_tokenize(self.vocabulary, data, len(data), ids, len(ids), False, specials)
        if count < 0:
            raise llama_library.Unusable(f"llama.cpp wants room for {-count} tokens")
        return ids[:count]
