#!/usr/bin/env bash
# Lists what sixlane and its tests leave on a machine, one thing a line.
#   clean-check.sh --snapshot   only lists
#   clean-check.sh [FILE]       fails, naming each thing that is not in the snapshot FILE
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

namespaces() {
    ip netns list 2>/dev/null | awk '$1 ~ /^sx/ { print "network namespace " $1 }'
}

# A process is named with its start time, so that a reused number is a new one. One reader for all of them:
# a process that ends meanwhile is only a file that cannot be read.
processes() {
    cat /proc/[0-9]*/stat 2>/dev/null | awk '{
        name = rest = $0
        sub(/^[0-9]+ \(/, "", name); sub(/\) [A-Za-z] .*/, "", name)
        sub(/.*\) /, "", rest); split(rest, field, " ")
        if (name ~ /^(sixlane|linux\.uml)/ && field[1] != "Z")
            print "process " $1 " (" name ", started at " field[20] ")"
    }'
}

programs() {
    if command -v bpftool >/dev/null; then
        bpftool prog list 2>/dev/null | awk '/ name sixlane/ { sub(":", "", $1); print "BPF program " $1 " " $4 }'
        # Links do not have names: ours are those of our programs.
        local ours
        ours=" $(bpftool prog list 2>/dev/null | awk '/ name sixlane/ { sub(":", "", $1); printf "%s ", $1 }')"
        bpftool link list 2>/dev/null | awk -v ours="$ours" '
            / prog / { for (i = 1; i < NF; i++) if ($i == "prog" && index(ours, " " $(i + 1) " "))
                { sub(":", "", $1); print "BPF link " $1 " of program " $(i + 1) } }'
    fi
}

# Segments live as long as somebody holds or maps them; whoever does is named.
segments() {
    local pid segment name
    find /proc/[0-9]*/fd /proc/[0-9]*/map_files -lname '/memfd:sixlane*' -printf '%h %l\n' 2>/dev/null |
        sed -E 's,^/proc/([0-9]+)/[a-z_]+ (/memfd:[^ ]*).*,\1 \2,' | sort -u |
        while read -r pid segment; do
            name=$(cat "/proc/$pid/comm" 2>/dev/null) || continue
            echo "memory segment $segment held by process $pid ($name)"
        done
}

network() {
    nft list tables 2>/dev/null | awk '/^table inet sixlane$/ { print "nftables " $0 }'
    { ip -4 route show table all proto 73; ip -6 route show table all proto 73; } 2>/dev/null |
        awk '{ print "route " $0 }'
    ip -o link show 2>/dev/null | awk -F ': ' '$2 ~ /^(sixlane|sx[0-9a-f]{6})/ { print "interface " $2 }'
}

directories() {
    find /run/sixlane /run/sixlane-lab "${TMPDIR:-/tmp}" -maxdepth 1 \
        \( -path '/run/sixlane' -o -path '/run/sixlane-lab/*' -o -path "${TMPDIR:-/tmp}/sixlane*" \) \
        -printf 'directory %p\n' 2>/dev/null
}

list() {
    # A process that ends while it is looked at, or a tool that is not there, is no failure of the rest.
    for part in namespaces processes programs segments network directories; do
        "$part" || true
    done | LC_ALL=C sort -u
}

if [ "${1:-}" = --snapshot ]; then
    list
    exit
fi

before=${1:-/dev/null}
# The kernel takes namespaces and programs apart a little after their owners have gone.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    left=$(LC_ALL=C comm -13 "$before" <(list))
    [ -n "$left" ] || break
    sleep 0.5
done
if [ -n "$left" ]; then
    printf 'left behind: %s\n' "${left//$'\n'/$'\n'left behind: }" >&2
    exit 1
fi
echo "clean: nothing of sixlane is left behind"
