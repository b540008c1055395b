//! Writes the golden packets as seeds of `packet_in` and `teredo_in` into the folder that is named.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("name a folder")?);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dataplane/tests/golden.json");
    let list: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(golden)?)?;
    for vector in list.as_array().ok_or("a list")? {
        let text = |name: &str| vector[name].as_str().ok_or("a text");
        let hex = text("hex")?;
        let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
        let how = match text("layer")? {
            "ip4" => 0b111,
            "ip6" => 0b010,
            _ => 0b000,
        };
        let mut seed = vec![how];
        seed.extend(bytes.collect::<Result<Vec<u8>, _>>()?);
        std::fs::write(folder.join(text("id")?), seed)?;
    }
    Ok(())
}
