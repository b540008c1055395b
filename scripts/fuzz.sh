#!/usr/bin/env bash
# Runs each fuzz target (or the named ones) for SECONDS_EACH, with AddressSanitizer. Needs no nightly
# toolchain: the pinned one is told to accept the sanitizer's flag. A crash is kept under
# tests/fuzz/artifacts/ and fails the run; it becomes a named test before it is mended.
set -euo pipefail
cd "$(dirname "$0")/../tests/fuzz"

seconds=${SECONDS_EACH:-60}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(admin_line config_in fpm_in packet_in teredo_in)

# Without --target the flags would reach build scripts and procedural macros too.
target=$(rustc -vV | sed -n 's/^host: //p')
export RUSTC_BOOTSTRAP=1
export CXX=${CXX:-clang++}
export RUSTFLAGS="-Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Cforce-frame-pointers=yes"

build() {
    cargo build --quiet --release --target "$target" --target-dir target --bin "$1"
}

for name in "${targets[@]}"; do
    build "$name"
    mkdir -p "corpus/$name" "artifacts/$name"
    if [ "$name" = packet_in ] || [ "$name" = teredo_in ]; then
        build seeds
        "target/$target/release/seeds" "corpus/$name"
    else
        cp "seeds/$name"/* "corpus/$name"
    fi
    echo "== $name, $seconds s"
    log="artifacts/$name/log"
    if ! "target/$target/release/$name" -max_total_time="$seconds" -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="artifacts/$name/" "corpus/$name" >"$log" 2>&1; then
        tail -n 60 "$log"
        echo "FAILED: $name; the input is in tests/fuzz/artifacts/$name/"
        exit 1
    fi
    grep -E '^stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)|DONE' "$log"
done
