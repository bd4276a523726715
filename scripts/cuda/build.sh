#!/usr/bin/env bash
# Builds the engine for NVIDIA GPUs and puts it beside the one for the CPU; needs neither a GPU nor an installed CUDA.
# Usage: scripts/cuda/build.sh RELEASE_FOLDER TOOLKIT_FOLDER COMPUTE_CAP — "auto" asks nvidia-smi for the capability.
set -euo pipefail
cd "$(dirname "$0")/../.."
release=${1:?the folder of the executables} toolkit=${2:?the folder of the CUDA toolkit} capability=${3:-auto}

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
echo "· building the engine for compute capability $capability (the first time about 40 minutes on two cores)" >&2
# A folder of its own: with the feature nearly everything is compiled differently, and nothing waits for this build.
CUDA_COMPUTE_CAP=$capability CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)} \
  cargo build --release -p tektra-engine --features cuda --target-dir "$(dirname "$release")/cuda"
# Renamed in one step: an engine that runs keeps its file.
cp "$(dirname "$release")/cuda/release/tektra-engine" "$release/.tektra-engine-cuda.part"
mv "$release/.tektra-engine-cuda.part" "$release/tektra-engine-cuda"
echo "· $release/tektra-engine-cuda is ready; \`tektra-cli models place NAME\` says what it can do here" >&2
