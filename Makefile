# `make run` and `make test` set up everything that is missing; the rest is for people who work on Tektra.

TARGET := $(or $(CARGO_TARGET_DIR),target)/release
# Two groups, so that nothing of mistral.rs is compiled for the window, nor compiled twice because features were unified.
SHELL_CRATES := --release --workspace --exclude tektra-engine
ENGINE_CRATE := --release -p tektra-engine
# As scripts/setup.sh and the product find the data folder.
DATA = $(or $(TEKTRA_HOME),$(or $(XDG_DATA_HOME),$(HOME)/.local/share)/tektra)
CUDA_FOLDER = $(or $(CUDA),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tektra/cuda)
PAGE_SOURCES := $(shell find ui/src -type f 2>/dev/null) ui/index.html ui/vite.config.ts ui/package-lock.json

.PHONY: run test setup prepare build check lint deny test-rust test-engine test-page test-window bindings format screenshots measure bench-cpu bench-standard engine-cuda pack-gpu lint-cuda test-gpu test-executor miri clean

run: prepare ## Set up, build, open the window; without a display: a terminal chat
	@if [ -n "$$DISPLAY$$WAYLAND_DISPLAY" ]; then exec $(TARGET)/tektra; else exec $(TARGET)/tektra-cli chat; fi

test: ## Set up, then run every check and test
	@bash .ci/run

setup: ## Bring what is missing: system packages, npm packages, the starter model
	@scripts/setup.sh

prepare: setup build

build: ui/dist/index.html ## Build the window, the terminal and the engine
	@echo "· building the window and the terminal (the first time about 7 minutes on two cores)" >&2
	@cargo build $(SHELL_CRATES)
	@echo "· building the engine (the first time about 14 minutes on two cores)" >&2
	@cargo build $(ENGINE_CRATE)

engine-cuda: ## Build the engine for NVIDIA GPUs beside the other one; COMPUTE_CAP=90: for which; MODELS=all: mistral.rs's too; CUDA=FOLDER: where the toolkit is downloaded to
	@scripts/cuda/build.sh $(TARGET) $(CUDA_FOLDER) $(or $(COMPUTE_CAP),auto) $(or $(MODELS),own)

pack-gpu: ## The GPU check as one archive, for a machine with a GPU and no compiler; COMPUTE_CAP=90: for which
	@[ -n "$(COMPUTE_CAP)" ] || { echo "Say which GPU is meant: COMPUTE_CAP=90 for an H100 or H200, 89 for an RTX 40, 86 for an RTX 30." >&2; exit 2; }
	@$(MAKE) --no-print-directory build engine-cuda
	@scripts/cuda/pack.sh $(TARGET) $(CUDA_FOLDER) $(COMPUTE_CAP) $(DATA)/models/SmolLM2-135M-Instruct.Q4_1.gguf $(TARGET)/gpu-check.tar.gz

lint-cuda: ## Lints of what only the engine for NVIDIA GPUs has; needs no GPU
	@scripts/cuda/toolkit.sh $(CUDA_FOLDER)
	@. $(CUDA_FOLDER)/environment && CUDA_COMPUTE_CAP=$(or $(COMPUTE_CAP),90) cargo clippy --quiet --release -p tektra-engine -p tektra-cpu -p tektra-cuda --features tektra-engine/nvidia -- -D warnings

ui/dist/index.html: $(PAGE_SOURCES)
	@echo "· building the page" >&2
	@cd ui && npm run --silent build -- --logLevel warn
	@touch $@

check: lint deny ## Formatting, lints, types, licences

lint:
	cargo fmt --all --check
	cargo clippy --quiet $(SHELL_CRATES) --all-targets -- -D warnings
	cargo clippy --quiet $(ENGINE_CRATE) -- -D warnings
	cd ui && npm run --silent check && npm run --silent format:check

deny:
	@scripts/deny.sh

test-rust: build ## Behaviour with the scripted engine, terminal, store; 1 minute after the build
	cargo test $(SHELL_CRATES) --lib --bins --test bench --test bench_terminal --test bindings --test chat --test chat_terminal --test lifecycle --test metrics --test models --test models_terminal --test profile --test resources --test rooms --test shelf --test store --test terminal
	cargo test $(SHELL_CRATES) --test fetch --test inspect --test scan --test mutations --test fit --test catalogue --test profiles --test broken --test plans --test round_trip

test-engine: build ## The real engine on the starter model
	cargo test $(SHELL_CRATES) --test real_engine -- --test-threads 1

test-executor: build ## The CPU executor on the starter model: the same text whatever is cached, batched or cancelled
	cargo test $(SHELL_CRATES) --test executor -- --test-threads 1

# The exp of a vector's tail is the system's: Miri would otherwise give it last bits at random.
miri: ## The kernels' tests under Miri, which knows undefined behaviour: small cases, plain Rust (needs rustup's nightly toolchain)
	rustup component add --toolchain nightly miri rust-src
	MIRIFLAGS=-Zmiri-deterministic-floats cargo +nightly miri test -p tektra-kernels --lib

test-gpu: ## Answers of an NVIDIA GPU beside the CPU's, on the starter model
	@scripts/cuda/toolkit.sh $(CUDA_FOLDER)
	@. $(CUDA_FOLDER)/environment && CUDA_COMPUTE_CAP=$(or $(COMPUTE_CAP),90) cargo test --release -p tektra-tests --features nvidia --test gpu -- --test-threads 1 --nocapture

test-window: build ## The real window under Xvfb
	cargo test $(SHELL_CRATES) --test window -- --test-threads 1

test-page: ui/dist/index.html ## The page: units, and a browser with a scripted transport
	cd ui && npm run --silent test && npm run --silent test:ui

bindings: ## Write ui/src/bindings.ts anew
	UPDATE_BINDINGS=1 cargo test --quiet $(SHELL_CRATES) --test bindings

format: ## Format everything
	cargo fmt --all
	cd ui && npm run --silent format

screenshots: ui/dist/index.html ## Every view in both themes and three sizes, into ./screenshots
	cd ui && SHOTS="$(CURDIR)/screenshots" npm run --silent screenshots

measure: prepare ## Print the tables of BENCHMARKS.md for this machine
	@python3 scripts/measure.py --target $(TARGET)

bench-cpu: prepare ## Compare the CPU engine with llama.cpp on the same files; ARGS="--quick" for a short one
	@python3 scripts/bench/bench_cpu.py --engine $(TARGET)/tektra-engine $(ARGS)

bench-standard: prepare ## The standard benchmark of tektra-cli, and llama.cpp before and after it on the same file; MODEL=FILE for another
	@python3 scripts/bench/standard.py --cli $(TARGET)/tektra-cli --model $(or $(MODEL),$(DATA)/models/SmolLM2-135M-Instruct.Q4_1.gguf)

clean:
	cargo clean
	rm -rf ui/dist ui/node_modules
