//! Compiles generator and sink of rig V with clang, by way of libbpf-cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libbpf_cargo::SkeletonBuilder;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=bpf");
    for name in ["generator", "sink"] {
        if let Err(error) = build(name) {
            eprintln!(
                "{name}.bpf.c was not built (clang and linux-libc-dev are needed, see `make deps`): {error}"
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn build(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("bpf");
    let object = Path::new(&env::var("OUT_DIR")?).join(format!("{name}.bpf.o"));
    // The kernel's headers include <asm/...>, which Debian keeps in a directory per architecture.
    let headers = format!("/usr/include/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH")?);
    SkeletonBuilder::new()
        .source(folder.join(format!("{name}.bpf.c")))
        .obj(&object)
        .clang_args(["-Wall", "-Wextra", "-Werror", "-I", &headers])
        .build()
        .map_err(|error| format!("{error:#}"))?;
    Ok(())
}
