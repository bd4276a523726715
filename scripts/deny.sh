#!/usr/bin/env bash
# Licences, sources and duplicate versions of every dependency; advisories where their database can be fetched.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v cargo-deny >/dev/null; then
  echo "· installing cargo-deny (about 5 minutes, once)" >&2
  # In a target folder of its own: its dependencies are not the product's.
  CARGO_TARGET_DIR="${TMPDIR:-/tmp}/cargo-deny-build" cargo install --quiet --locked cargo-deny
fi
cargo deny --log-level error check licenses bans sources
if timeout 60 cargo deny --log-level error fetch db >/dev/null 2>&1; then
  cargo deny --log-level error check advisories
else
  echo "· the advisory database cannot be fetched here: advisories were not checked" >&2
fi
