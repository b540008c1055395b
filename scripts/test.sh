#!/usr/bin/env bash
# Everything that must hold. The last line sums all test binaries: N passed, N failed, N skipped.
# A test skips by sixlane_tests::skip(name, reason); only names of tests/skips-allowed.txt may.
set -uo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
skips=$(mktemp)
trap 'rm -f "$log" "$skips"' EXIT
export SIXLANE_SKIPS=$skips
# Generated packets through the worker (TGT-05).
export SIXLANE_PACKETS=${SIXLANE_PACKETS:-100000000}
failed=0

# Runs a step that has no test count of its own; its failure is one.
step() {
    echo "== $1, after $SECONDS s"
    shift
    if ! "$@"; then
        echo "FAILED: $*"
        failed=$((failed + 1))
    fi
}

# Runs a step whose output carries libtest's sums. A binary that dies without a sum, or code that
# does not compile, is one failure.
counted() {
    echo "== $1, after $SECONDS s"
    shift
    local before after
    before=$(grep -c '^test result: FAILED' "$log")
    "$@" 2>&1 | tee -a "$log" | grep -vE '^(test .* \.\.\. ok|running [0-9]+ tests?|test result: ok.*|)$' | grep -vE '^ +(Compiling|Finished|Running|Doc-tests|Downloaded|Downloading) '
    if [ "${PIPESTATUS[0]}" -ne 0 ]; then
        after=$(grep -c '^test result: FAILED' "$log")
        [ "$after" -gt "$before" ] || failed=$((failed + 1))
        echo "FAILED: $*"
    fi
}

loom() {
    RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom LOOM_MAX_PREEMPTIONS=2 \
        cargo test --quiet --package sixlane-tables --test loom
}

# Skips that are not on the committed list are failures.
judge_skips() {
    local name reason
    while IFS=$'\t' read -r name reason; do
        if cut -f 1 tests/skips-allowed.txt | grep -qxF "$name"; then
            echo "skipped: $name: $reason"
        else
            echo "FAILED: $name skipped itself and is not in tests/skips-allowed.txt: $reason"
            failed=$((failed + 1))
        fi
    done < <(sort -u "$skips")
}

step "format" cargo fmt --all -- --check
step "lints" cargo clippy --workspace --all-targets --quiet -- -D warnings
step "the program" cargo build --quiet --package sixlane
counted "tests" cargo test --workspace --no-fail-fast
counted "models" loom
judge_skips

echo "requirements: $(grep -v '^#' docs/conformance/requirements.tsv | cut -f 2 | sort | uniq -c |
    awk '{ count = $1; $1 = ""; printf "%s%d%s", (NR > 1 ? ", " : ""), count, $0 }')"
skipped=$(sort -u "$skips" | wc -l)
passed=$(awk '/^test result:/ { sum += $4 } END { print sum + 0 }' "$log")
failed=$((failed + $(awk '/^test result:/ { sum += $6 } END { print sum + 0 }' "$log")))
# A test that skips itself returns early, which libtest counts as passed.
echo "$((passed - skipped)) passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
