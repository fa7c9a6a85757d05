#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tests/Fuzz/run.sh TARGET SECONDS SEED: one reader under the address sanitizer, from its samples. The same seed tries the same bytes in the same
# order. What ends it is kept in .build-fuzz/found, and read again by `Tests/Fuzz/run.sh TARGET FILE`.
set -euo pipefail
cd "$(dirname "$0")/../.."
export FUZZ_TARGET=$1 SWIFT_BACKTRACE=enable=no SWIFT_DETERMINISTIC_HASHING=1 ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=0:allocator_may_return_null=1}
found=.build-fuzz/found
mkdir -p "$found"
common=(-timeout=25 -rss_limit_mb=3000 "-artifact_prefix=$found/$1-")
if [ -f "$2" ]; then exec .build-fuzz/release/fuzz "${common[@]}" "$2"; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export FUZZ_CORPUS=$work/corpus
mkdir "$FUZZ_CORPUS"
: >"$FUZZ_CORPUS.words"
.build-fuzz/release/fuzz "${common[@]}" -max_len=8192 -print_final_stats=1 "-seed=$3" "-max_total_time=$2" "-dict=$FUZZ_CORPUS.words" "$FUZZ_CORPUS"
