"""llama.cpp's shared libraries: fetching them, the structs and functions of its C interface that a benchmark needs, opening a model.

The libraries are the prebuilt ones of node-llama-cpp, one file for every generation of CPU.
"""

import ctypes
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE_VERSION = "3.22.1"
# The structs below are those of this release's llama.h: another release needs them compared anew.
RELEASE = "v0.5.0"
PACKAGES = {"x86_64": "linux-x64", "aarch64": "linux-arm64"}
BATCH = 512
LOAD_MODE_MMAP, FLASH_ATTENTION_AUTO, TYPE_F16, LOG_ERROR = 1, -1, 1, 4

Pointer, I32, U32, F32, Bool = ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32, ctypes.c_float, ctypes.c_bool
LogCallback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)


class Unusable(Exception):
    """llama.cpp cannot be used or failed; the text says why."""


def fields(kind: type, names: str) -> list[tuple[str, type]]:
    """Fields of one type."""
    return [(name, kind) for name in names.split()]


class ModelParams(ctypes.Structure):
    """llama_model_params"""

    _fields_ = [
        *fields(Pointer, "devices tensor_buft_overrides"),
        *fields(I32, "n_gpu_layers split_mode load_mode lazy_mode main_gpu"),
        *fields(Pointer, "tensor_split progress_callback progress_callback_user_data kv_overrides"),
        *fields(Bool, "vocab_only check_tensors use_extra_bufts no_host no_alloc load_mtp"),
    ]


class ContextParams(ctypes.Structure):
    """llama_context_params"""

    _fields_ = [
        *fields(U32, "n_ctx n_batch n_ubatch n_seq_max n_rs_seq n_outputs_max n_outputs_max_per_seq"),
        *fields(I32, "n_threads n_threads_batch ctx_type rope_scaling_type pooling_type attention_type flash_attn_type"),
        *fields(F32, "rope_freq_base rope_freq_scale yarn_ext_factor yarn_attn_factor yarn_beta_fast yarn_beta_slow"),
        *fields(U32, "yarn_orig_ctx"),
        *fields(F32, "defrag_thold"),
        *fields(Pointer, "cb_eval cb_eval_user_data"),
        *fields(I32, "type_k type_v"),
        *fields(Pointer, "abort_callback abort_callback_data"),
        *fields(Bool, "embeddings offload_kqv no_perf op_offload swa_full kv_unified"),
        *fields(Pointer, "samplers"),
        *fields(ctypes.c_size_t, "n_samplers"),
        *fields(Pointer, "ctx_other"),
    ]


class Batch(ctypes.Structure):
    """llama_batch"""

    _fields_ = [("n_tokens", I32), *fields(Pointer, "token embd pos n_seq_id seq_id logits")]


# Defaults that betray a wrong layout.
MODEL_DEFAULTS = {"n_gpu_layers": -1, "split_mode": 1, "load_mode": -1, "lazy_mode": 1, "main_gpu": 0, "kv_overrides": None,
                  "vocab_only": False, "check_tensors": False, "use_extra_bufts": True, "no_host": False, "load_mtp": False}
CONTEXT_DEFAULTS = {"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_outputs_max_per_seq": 1, "n_threads": 4,
                    "ctx_type": 0, "rope_scaling_type": -1, "flash_attn_type": FLASH_ATTENTION_AUTO, "rope_freq_base": 0.0,
                    "yarn_ext_factor": -1.0, "yarn_orig_ctx": 0, "defrag_thold": -1.0, "cb_eval": None, "type_k": TYPE_F16,
                    "type_v": TYPE_F16, "abort_callback": None, "embeddings": False, "offload_kqv": True, "no_perf": True,
                    "swa_full": True, "kv_unified": False, "samplers": None, "n_samplers": 0, "ctx_other": None}

# Name: result, arguments.
LLAMA_FUNCTIONS = {
    "llama_version": (ctypes.c_char_p, []),
    "llama_log_set": (None, [LogCallback, Pointer]),
    "llama_backend_init": (None, []),
    "llama_model_default_params": (ModelParams, []),
    "llama_context_default_params": (ContextParams, []),
    "llama_model_load_from_file": (Pointer, [ctypes.c_char_p, ModelParams]),
    "llama_model_get_vocab": (Pointer, [Pointer]),
    "llama_vocab_n_tokens": (I32, [Pointer]),
    "llama_vocab_is_eog": (Bool, [Pointer, I32]),
    "llama_init_from_model": (Pointer, [Pointer, ContextParams]),
    "llama_attach_threadpool": (None, [Pointer, Pointer, Pointer]),
    "llama_n_threads": (I32, [Pointer]),
    "llama_n_threads_batch": (I32, [Pointer]),
    "llama_get_memory": (Pointer, [Pointer]),
    "llama_memory_clear": (None, [Pointer, Bool]),
    "llama_decode": (I32, [Pointer, Batch]),
    "llama_synchronize": (None, [Pointer]),
    "llama_get_logits_ith": (Pointer, [Pointer, I32]),
    "llama_tokenize": (I32, [Pointer, ctypes.c_char_p, I32, Pointer, I32, Bool, Bool]),
    "llama_detokenize": (I32, [Pointer, Pointer, I32, Pointer, I32, Bool, Bool]),
    "llama_sampler_init_greedy": (Pointer, []),
    "llama_sampler_sample": (I32, [Pointer, Pointer, I32]),
}
GGML_FUNCTIONS = {
    "ggml_backend_load_all_from_path": (None, [ctypes.c_char_p]),
    "ggml_backend_dev_by_type": (Pointer, [ctypes.c_int]),
}
GGML_BASE_FUNCTIONS = {
    "ggml_backend_dev_backend_reg": (Pointer, [Pointer]),
    "ggml_backend_reg_get_proc_address": (Pointer, [Pointer, ctypes.c_char_p]),
    "ggml_threadpool_params_init": (None, [Pointer, ctypes.c_int]),
}


def default_cache() -> Path:
    """The folder for what benchmarks fetch and generate."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tektra" / "bench"


def install(cache: Path) -> Path:
    """The folder of the shared libraries, fetched with npm the first time."""
    machine = PACKAGES.get(platform.machine()) if platform.system() == "Linux" else None
    if machine is None:
        raise Unusable(f"there is no prebuilt llama.cpp for {platform.system()} on {platform.machine()}")
    folder = cache / f"llama.cpp-{PACKAGE_VERSION}"
    package = f"@node-llama-cpp/{machine}"
    libraries = folder / "node_modules" / package / "bins" / machine
    if libraries.is_dir():
        return libraries
    if missing := [tool for tool in ("node", "npm") if not shutil.which(tool)]:
        raise Unusable(f"{' and '.join(missing)} missing: llama.cpp is fetched with npm (install Node 20 or newer)")
    print(f"· fetching llama.cpp {RELEASE} ({package} {PACKAGE_VERSION}, 30 MiB) into {folder}", file=sys.stderr)
    part = cache / f".{folder.name}.{os.getpid()}.part"
    part.mkdir(parents=True)
    options = ["--ignore-scripts", "--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(["npm", "install", *options, "--prefix", str(part), f"{package}@{PACKAGE_VERSION}"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=part)
        if done.returncode:
            raise Unusable(f"npm could not fetch {package}: {' '.join(done.stderr.split())[-300:]}")
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return libraries


def resident_mib() -> float:
    """The resident memory of this process, mapped file pages included."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


class OpenModel:
    """A loaded model with a context and lasting threads."""

    def __init__(self, libraries: Path, model: Path, threads: int, context: int, all_logits: bool = False) -> None:
        built = json.loads((libraries / "_nlcBuildMetadata.json").read_text())
        self.release = built["buildOptions"]["llamaCpp"]["release"]
        if self.release != RELEASE:
            raise Unusable(f"{libraries} has llama.cpp {self.release}; this script knows the structs of {RELEASE} only")
        self.resident_before = resident_mib()  # The interpreter's own share, not counted as llama.cpp's.
        self.log: list[tuple[int, str]] = []
        self._callback = LogCallback(lambda level, text, _: self.log.append((level, text.decode(errors="replace"))))
        self.base = self._library(libraries, "libggml-base.so", GGML_BASE_FUNCTIONS)
        self.ggml = self._library(libraries, "libggml.v*.so", GGML_FUNCTIONS)
        self.llama = self._library(libraries, "libllama.v*.so", LLAMA_FUNCTIONS)
        self.llama.llama_log_set(self._callback, None)
        # Loads every CPU variant, asks each how well it suits this CPU, and keeps the best.
        self.ggml.ggml_backend_load_all_from_path(os.fsencode(libraries))
        loaded = re.search(r"loaded CPU backend from .*libggml-cpu-?(\w*)\.so", self.messages())
        if not loaded:
            raise Unusable(f"no CPU variant of llama.cpp could be loaded: {self.messages()}")
        self.variant = loaded[1] or "generic"
        self.llama.llama_backend_init()
        self._open(model, threads, context, all_logits)

    @staticmethod
    def _library(folder: Path, name: str, functions: dict) -> ctypes.CDLL:
        found = sorted(folder.glob(name))
        if not found:
            raise Unusable(f"{folder} lacks {name}")
        library = ctypes.CDLL(str(found[0]))
        for function, (result, arguments) in functions.items():
            getattr(library, function).restype, getattr(library, function).argtypes = result, arguments
        return library

    def messages(self, level: int = 0) -> str:
        """What llama.cpp logged so far, of a level and above."""
        return "".join(text for one, text in self.log if one >= level).strip()

    def _open(self, model: Path, threads: int, context: int, all_logits: bool) -> None:
        model_params, params = self.llama.llama_model_default_params(), self.llama.llama_context_default_params()
        for values, defaults in ((model_params, MODEL_DEFAULTS), (params, CONTEXT_DEFAULTS)):
            if wrong := {name: getattr(values, name) for name, value in defaults.items() if getattr(values, name) != value}:
                raise Unusable(f"the layout of {type(values).__doc__} is not the expected one: {wrong}")
        model_params.n_gpu_layers, model_params.load_mode = 0, LOAD_MODE_MMAP
        self.model = self.llama.llama_model_load_from_file(os.fsencode(model), model_params)
        if not self.model:
            raise Unusable(f"llama.cpp cannot load {model}: {self.messages(LOG_ERROR)}")
        self.vocabulary = self.llama.llama_model_get_vocab(self.model)
        self.vocabulary_size = self.llama.llama_vocab_n_tokens(self.vocabulary)
        params.n_ctx, params.n_batch, params.n_ubatch = context, BATCH, BATCH
        if all_logits:
            params.n_outputs_max_per_seq = BATCH
        params.n_threads = params.n_threads_batch = threads
        self.context = self.llama.llama_init_from_model(self.model, params)
        if not self.context:
            raise Unusable(f"llama.cpp cannot open a context for {model}: {self.messages(LOG_ERROR)}")
        # Like llama-bench: threads that last, instead of new ones for every token.
        cpu = self.base.ggml_backend_dev_backend_reg(self.ggml.ggml_backend_dev_by_type(0))
        new = self.base.ggml_backend_reg_get_proc_address(cpu, b"ggml_threadpool_new")
        pool_params = ctypes.create_string_buffer(4096)  # ggml_threadpool_params, with room to spare
        self.base.ggml_threadpool_params_init(pool_params, threads)
        pool = ctypes.CFUNCTYPE(Pointer, Pointer)(new)(ctypes.addressof(pool_params))
        if not pool:
            raise Unusable(f"llama.cpp cannot start {threads} threads")
        self.llama.llama_attach_threadpool(self.context, pool, None)
        used = self.llama.llama_n_threads(self.context), self.llama.llama_n_threads_batch(self.context)
        if used != (threads, threads):
            raise Unusable(f"llama.cpp uses {used} threads instead of {threads}")
