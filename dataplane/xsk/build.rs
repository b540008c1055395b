//! Compiles `bpf/relay.bpf.c` with clang, by way of libbpf-cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libbpf_cargo::SkeletonBuilder;

fn main() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!(
                "the XDP program was not built (clang and linux-libc-dev are needed, see `make deps`): {error}"
            );
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../bpf");
    let source = root.join("relay.bpf.c");
    for name in ["relay.bpf.c", "abi.h", "maps.h", "parse.h", "classify.h"] {
        println!("cargo::rerun-if-changed={}", root.join(name).display());
    }
    let object = Path::new(&env::var("OUT_DIR")?).join("relay.bpf.o");
    // The kernel's headers include <asm/...>, which Debian keeps in a directory per architecture.
    let headers = format!("/usr/include/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH")?);
    SkeletonBuilder::new()
        .source(&source)
        .obj(&object)
        .clang_args(["-Wall", "-Wextra", "-Werror", "-I", &headers])
        .build()
        .map_err(|error| format!("{error:#}"))?;
    Ok(())
}
