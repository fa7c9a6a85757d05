#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the DuckDB engine from its Python wheel, without running Python code of the wheel.
# Usage: install-duckdb.sh DEST [WHEEL]    Result: DEST/duckdb/libduckdb.so and DEST/duckdb/libpystubs.so
# The wheel's shared object exports DuckDB's whole C interface. Its undefined Python symbols only have to exist: none is
# called outside the Python module, so a small library defines each of them (functions abort, data is zero).
# Safe to repeat: a complete installation is left alone, an incomplete one is replaced as a whole.
set -eu

version=1.5.5
wheel_sha256=b9b6f86ed85d4ef5e0211eaebf75d057bd8bb520bba438a95dd0f4e42234bbfe

if [ $# -lt 1 ] || [ -z "$1" ]; then
  echo "usage: $0 DEST [WHEEL]" >&2
  exit 2
fi
if [ "$(uname -sm)" != "Linux x86_64" ]; then
  echo "DuckDB is pinned for Linux on x86_64 only, this is $(uname -sm)" >&2
  exit 1
fi
target="$1/duckdb"
marker="$target/.installed-from"

if [ -f "$marker" ] && [ "$(cat "$marker")" = "$wheel_sha256" ] && (cd "$target" && sha256sum --status -c .sha256); then
  echo "DuckDB $version is already installed in $target"
  exit 0
fi

compiler=
for candidate in "${CC:-}" cc gcc clang; do
  if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1; then
    compiler=$candidate
    break
  fi
done
if [ -z "$compiler" ] || ! command -v nm >/dev/null 2>&1; then
  echo "a C compiler and nm are needed (Debian packages gcc, libc6-dev and binutils)" >&2
  exit 1
fi

work=$(mktemp -d)
staged=
trap 'rm -rf "$work" ${staged:+"$staged"}' EXIT INT TERM

if [ $# -ge 2 ]; then
  wheel=$2
else
  python3 -m pip download "duckdb==$version" --no-deps --only-binary=:all: --python-version 3.11 --implementation cp \
    --platform manylinux_2_28_x86_64 --quiet -d "$work"
  wheel=$(echo "$work"/duckdb-"$version"-cp311-*.whl)
fi
found=$(sha256sum "$wheel" | cut -d ' ' -f 1)
if [ "$found" != "$wheel_sha256" ]; then
  echo "$wheel has SHA-256 $found, expected $wheel_sha256: not installed" >&2
  exit 1
fi

mkdir -p "$1"
staged=$(mktemp -d "$1/.duckdb.XXXXXX")
python3 - "$wheel" "$staged" <<'PYTHON'
import os, shutil, sys, zipfile
wheel, staged = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    names = archive.namelist()
    library = [n for n in names if n.startswith("_duckdb") and n.endswith(".so")]
    if len(library) != 1:
        sys.exit(f"{wheel} holds {len(library)} engine libraries, expected one")
    licences = [n for n in names if n.endswith("/LICENSE")]
    for member, name in [(library[0], "libduckdb.so")] + [(n, "LICENSE") for n in licences[:1]]:
        with archive.open(member) as source, open(os.path.join(staged, name), "wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
PYTHON

{
  echo '#include <stdlib.h>'
  nm -D --undefined-only "$staged/libduckdb.so" | sed 's/@.*//' | awk '$2 ~ /^_?Py/ { print $2 }' | LC_ALL=C sort -u |
    while read -r symbol; do
      case "$symbol" in
        PyExc_*) echo "void *$symbol;" ;;
        *_Type | *Struct) echo "char $symbol[1024] __attribute__((aligned(16)));" ;;
        *) echo "void $symbol(void) { abort(); }" ;;
      esac
    done
} >"$work/stubs.c"
"$compiler" -shared -fPIC -fno-builtin -O1 -o "$staged/libpystubs.so" "$work/stubs.c"

cat >"$work/probe.c" <<'C'
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
  if (argc < 3 || !dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL)) return fprintf(stderr, "%s\n", dlerror()), 1;
  void *engine = dlopen(argv[2], RTLD_NOW | RTLD_LOCAL);
  if (!engine) return fprintf(stderr, "%s\n", dlerror()), 1;
  const char *(*version)(void) = (const char *(*)(void))dlsym(engine, "duckdb_library_version");
  if (!version) return fprintf(stderr, "no duckdb_library_version\n"), 1;
  puts(version());
  return 0;
}
C
"$compiler" -o "$work/probe" "$work/probe.c" -ldl
loaded=$("$work/probe" "$staged/libpystubs.so" "$staged/libduckdb.so")
if [ "$loaded" != "v$version" ]; then
  echo "the installed engine reports $loaded, expected v$version: not installed" >&2
  exit 1
fi

(cd "$staged" && sha256sum libduckdb.so libpystubs.so >.sha256)
printf '%s\n' "$wheel_sha256" >"$staged/.installed-from"
chmod -R u+rwX,go+rX "$staged"
rm -rf "$target"
mv "$staged" "$target"
echo "DuckDB $version installed in $target"
