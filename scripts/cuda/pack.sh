#!/usr/bin/env bash
# Packs all that the GPU check needs, so that a machine with a GPU and neither a compiler nor this repository runs it with one command.
# Usage: scripts/cuda/pack.sh RELEASE_FOLDER TOOLKIT_FOLDER COMPUTE_CAP STARTER ARCHIVE — after `make build engine-cuda`.
set -euo pipefail
cd "$(dirname "$0")/../.."
release=${1:?the folder of the executables} toolkit=${2:?the folder of the CUDA toolkit} capability=${3:?which GPU is meant, 90 for an H100 or H200}
starter=${4:?the starter model} archive=${5:?the archive to write}
if [ ! -f "$starter" ]; then
  echo "The starter model is missing: run \`make setup\` first." >&2
  exit 2
fi

# shellcheck disable=SC1091
. "$toolkit/environment"
echo "· building the tests for a GPU" >&2
test=$(CUDA_COMPUTE_CAP=$capability cargo test --quiet --release -p tektra-tests --features nvidia --test gpu --no-run --message-format=json |
  python3 -c 'import json, sys; print(*(m["executable"] for m in map(json.loads, sys.stdin) if m.get("executable") and m["target"]["name"] == "gpu"))')

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder/bin" "$folder/scripts/cuda" "$folder/scripts/bench"
for executable in tektra-cli tektra-engine tektra-engine-cuda; do strip -o "$folder/bin/$executable" "$release/$executable"; done
strip -o "$folder/bin/gpu-test" "$test"
cp scripts/cuda/check.py "$folder/scripts/cuda"
cp scripts/bench/{random_gguf,gguf}.py "$folder/scripts/bench"
cp "$starter" "$folder"
cat > "$folder/check.sh" <<'CHECK'
#!/usr/bin/env bash
# Everything that Tektra promises of an NVIDIA GPU: tests to the last bit, then one table. More arguments go to scripts/cuda/check.py.
cd "$(dirname "$0")" || exit 1
TEKTRA_STARTER_FOLDER=$PWD bin/gpu-test --test-threads 1 --nocapture
tests=$?
python3 scripts/cuda/check.py --folder bin --starter ./*.gguf "$@"
check=$?
exit $((tests ? tests : check))
CHECK
chmod +x "$folder/check.sh"
mkdir -p "$(dirname "$archive")"
tar -C "$folder" -czf "$archive.part" .
mv "$archive.part" "$archive"
echo "· $archive is ready ($(du -m "$archive" | cut -f1) MiB). On a machine with the GPU: mkdir check && tar -C check -xf $(basename "$archive") && check/check.sh" >&2
