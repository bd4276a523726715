#!/usr/bin/env bash
# Builds the engine for NVIDIA GPUs and puts it beside the one for the CPU; needs neither a GPU nor an installed CUDA.
# Usage: scripts/cuda/build.sh RELEASE_FOLDER TOOLKIT_FOLDER COMPUTE_CAP MODELS — "auto" asks nvidia-smi for the capability; with "all" models
# mistral.rs's kernels are built too, for those that Tektra's own executor does not compute.
set -euo pipefail
cd "$(dirname "$0")/../.."
release=${1:?the folder of the executables} toolkit=${2:?the folder of the CUDA toolkit} capability=${3:-auto} models=${4:-own}

if [ "$capability" = auto ]; then
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null) || capability=
  # The first GPU's; 8.9 is written 89.
  capability=${capability%%$'\n'*}
  capability=${capability//./}
  if [ -z "$capability" ]; then
    echo "There is no NVIDIA GPU here to build for. Say which one is meant: COMPUTE_CAP=90 for an H100 or H200, 89 for an RTX 40, 86 for an RTX 30." >&2
    exit 2
  fi
fi

scripts/cuda/toolkit.sh "$toolkit"
# shellcheck disable=SC1091
. "$toolkit/environment"
export CUDA_COMPUTE_CAP=$capability CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)}
if [ "$models" = all ]; then
  echo "· building the engine for compute capability $capability, for all models (the first time about 60 minutes on two cores)" >&2
  # A folder of its own: with the feature nearly everything is compiled differently, and nothing waits for this build.
  cargo build --release -p tektra-engine --bin tektra-engine-cuda --features cuda --target-dir "$(dirname "$release")/cuda"
  # Renamed in one step: an engine that runs keeps its file.
  cp "$(dirname "$release")/cuda/release/tektra-engine-cuda" "$release/.tektra-engine-cuda.part"
  mv "$release/.tektra-engine-cuda.part" "$release/tektra-engine-cuda"
else
  echo "· building the engine for compute capability $capability (3 minutes on two cores after the other engine)" >&2
  cargo build --release -p tektra-engine --bin tektra-engine-cuda --features nvidia
fi
echo "· $release/tektra-engine-cuda is ready; \`tektra-cli models place NAME\` says what it can do here" >&2
