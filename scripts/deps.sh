#!/usr/bin/env bash
# Installs what the named purposes (build, demo, test, bench) need. Says nothing when all is there.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=(
    [build]="gcc libc6-dev make pkg-config clang libelf-dev zlib1g-dev linux-libc-dev"
    [demo]="nftables iproute2 ethtool iputils-ping traceroute user-mode-linux busybox-static kmod bpftool"
    [test]="valgrind frr bird2 radvd qemu-system-x86 xz-utils strace"
    [bench]="valgrind"
)

fail() {
    printf 'sixlane: %s\n' "$@" >&2
    exit 1
}

installed() {
    [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
    local wanted=() package
    command -v dpkg-query >/dev/null ||
        fail "this is not Debian; install what these packages contain: $*"
    for package; do
        installed "$package" || wanted+=("$package")
    done
    [ ${#wanted[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] ||
        fail "these Debian packages are missing: ${wanted[*]}" "run 'make deps' as root, or: apt-get install ${wanted[*]}"
    echo "installing ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update
    apt-get -qq install --no-install-recommends "${wanted[@]}" >/dev/null
}

# The kernel of the test machine (tests/lab/src/guest/machine.rs), unpacked and not installed, and the newest
# that this Debian or its backports have: Debian 12's own is too old for sixlane.
guest_kernel() {
    local target=${CARGO_TARGET_DIR:-target}
    [ "$(dpkg --print-architecture)" = amd64 ] || return 0
    [ -e "$target/guest-kernel/complete" ] && return 0
    echo "fetching the kernel of the test machine"
    rm -rf "$target/guest-kernel"
    mkdir -p "$target/guest-kernel/apt/lists/partial" "$target/guest-kernel/apt/cache/archives/partial"
    (
        cd "$target/guest-kernel"
        codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
        archive=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
            awk -v codename="$codename" '$2 == codename { print $1; exit }')
        for suite in "$codename" "$codename-backports"; do
            echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main"
        done >apt/sources
        cat >apt/preferences <<-END
		Package: *
		Pin: release n=$codename-backports
		Pin-Priority: 500
		END
        lists="$PWD/apt"
        set -- -o Dir::Etc::SourceList="$lists/sources" -o Dir::Etc::SourceParts=/dev/null \
            -o Dir::Etc::Preferences="$lists/preferences" -o Dir::Etc::PreferencesParts=/dev/null \
            -o Dir::State::Lists="$lists/lists" -o Dir::Cache="$lists/cache" -o APT::Sandbox::User=root
        apt-get -qq "$@" update
        package=$(apt-cache "$@" depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p' | head -n 1)
        apt-get -qq "$@" download "$package"
        dpkg --extract "$package"_*.deb .
        rm -rf "$package"_*.deb apt
        touch complete
    ) || fail "the kernel of the test machine could not be fetched: see above, and run 'make deps-test' again"
}

# Debian 12 has no Rust that is new enough. Where apt has rustup, it brings the pinned toolchain.
rust() {
    local pinned
    pinned=$(sed -n 's/^channel = "\(.*\)"/\1/p' rust-toolchain.toml)
    export PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    if ! command -v cargo >/dev/null && [ -n "$(apt-cache show rustup 2>/dev/null)" ]; then
        install_packages rustup
    fi
    command -v cargo >/dev/null ||
        fail "Rust $pinned is missing: install rustup from https://rustup.rs, or put cargo $pinned into PATH" \
            "(rustup then fetches the version of rust-toolchain.toml by itself)"
    if command -v rustup >/dev/null; then
        rustup run "$pinned" rustc --version >/dev/null 2>&1 ||
            rustup toolchain install "$pinned" --profile minimal --component rustfmt,clippy
    elif [ "$(rustc --version | cut -d ' ' -f 2)" != "$pinned" ]; then
        fail "rustc is $(rustc --version | cut -d ' ' -f 2), the project is built with $pinned: install rustup, or that version"
    fi
}

wanted=()
for purpose; do
    read -r -a more <<<"${packages[$purpose]}"
    wanted+=("${more[@]}")
done
install_packages "${wanted[@]}"
for purpose; do
    if [ "$purpose" = test ]; then guest_kernel; fi
done
rust
