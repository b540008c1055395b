//! Any bytes as what zebra sends by FPM (ATK-60), in pieces of the length of the first byte: see
//! `sixlane_control::judge_fpm` for what must hold.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((&piece, bytes)) = bytes.split_first() else { return };
    sixlane_control::judge_fpm(bytes, usize::from(piece) + 1);
});
