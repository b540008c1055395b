//! `sixlane explain`: what an address says, and what the relay would do with a packet.

mod address;
mod describe;
mod packet;

use std::net::IpAddr;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::run::DEFAULT_RUNTIME;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// An IPv4 or IPv6 address, or the bytes of a packet in hexadecimal (blanks are ignored)
    #[arg(required = true, value_name = "ADDRESS|PACKET-HEX")]
    what: Vec<String>,
    /// Port at which the packet arrives; the first one that fits when absent
    #[arg(long, value_name = "NAME")]
    port: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Directory of the relay
    #[arg(long, value_name = "DIR", default_value = DEFAULT_RUNTIME)]
    runtime: PathBuf,
}

/// A packet has at least the bytes of an IPv4 header.
const PACKET_MIN: usize = 20;

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let text = arguments.what.concat();
    if let Ok(address) = text.parse::<IpAddr>() {
        return address::run(address, arguments.json);
    }
    match bytes(&text) {
        Some(bytes) if bytes.len() >= PACKET_MIN => packet::run(&bytes, arguments),
        Some(bytes) => Err(Failure::usage(format!(
            "{} bytes are too few for a packet: give at least the {PACKET_MIN} of an IPv4 header",
            bytes.len()
        ))),
        None => Err(Failure::usage(format!(
            "`{}` is neither an address nor hexadecimal bytes: give one such as 2002:c001:203::1, or a packet such as 6000000000003b40…",
            text.chars().take(40).collect::<String>()
        ))),
    }
}

/// Reads pairs of hexadecimal digits, with blanks, colons and a leading `0x` as people paste them.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let digits: Vec<u32> = text
        .strip_prefix("0x")
        .unwrap_or(text)
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_as_people_paste_it() {
        assert_eq!(bytes("0x45 00:00fF"), Some(vec![0x45, 0, 0, 0xff]));
        for bad in ["", "4", "450", "zz", "45 0g"] {
            assert_eq!(bytes(bad), None, "{bad}");
        }
    }
}
