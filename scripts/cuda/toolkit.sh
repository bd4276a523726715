#!/usr/bin/env bash
# Brings the CUDA compiler and libraries from PyPI into a folder of their own; needs no GPU, no driver and no root.
# Usage: scripts/cuda/toolkit.sh FOLDER — and then `. FOLDER/environment`.
set -euo pipefail

folder=$(realpath -m "${1:?the folder for the toolkit}")
# 13.0 is the newest that mistral.rs 0.8.1 accepts and PyPI carries whole.
packages=(
  nvidia-cuda-nvcc==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85
  nvidia-curand==10.4.0.35 nvidia-cuda-nvrtc==13.0.88 nvidia-cuda-profiler-api==13.0.85 nvidia-cublas==13.0.2.14
)
home=$folder/nvidia/cu13
# Says that everything in the folder is this script's.
marker=.tektra-cuda

if [ ! -f "$folder/complete" ] || [ "$(cat "$folder/complete")" != "${packages[*]}" ]; then
  # Somebody else's folder, an installed CUDA for example, is never deleted. Folders from before the marker have `complete`.
  if [ -f "$folder/$marker" ] || grep -qs '^nvidia-cuda-nvcc==' "$folder/complete"; then
    rm -rf "$folder"
  elif [ -e "$folder" ] && [ -n "$(ls -A "$folder")" ]; then
    echo "$folder is not empty and was not made by this script: nothing was changed. Name an empty or a new folder." >&2
    exit 2
  fi
  echo "· bringing the CUDA toolkit (about 1.3 GB) into $folder" >&2
  mkdir -p "$folder"
  touch "$folder/$marker"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --no-deps --target "$folder" "${packages[@]}"
  ln -s lib "$home/lib64"
  # The linker wants names without versions, which the packages leave out, and a driver, which only a GPU machine has:
  # a library of the driver's name whose functions are never called.
  mkdir "$home/lib/stubs"
  for library in cublas cublasLt cudart curand nvrtc; do
    ln -s "$(basename "$(ls "$home/lib/lib$library.so."*)")" "$home/lib/lib$library.so"
    ln -s "../lib$library.so" "$home/lib/stubs/lib$library.so"
  done
  grep -oE '\bcu[A-Z][A-Za-z0-9_]*' "$home/include/cuda.h" | sort -u | sed 's/.*/void &(void) {}/' |
    gcc -shared -fPIC -w -Wl,-soname,libcuda.so.1 -o "$home/lib/stubs/libcuda.so" -x c -
  echo "${packages[*]}" >"$folder/complete"
fi

cat >"$folder/environment" <<END
export CUDA_HOME="$home" CUDA_PATH="$home" CUDA_ROOT="$home" CUDA_TOOLKIT_ROOT_DIR="$home"
export PATH="$home/bin:$home/nvvm/bin:\$PATH" LIBRARY_PATH="$home/lib/stubs\${LIBRARY_PATH:+:\$LIBRARY_PATH}"
END
