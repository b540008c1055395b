//! The anti-spoofing, bogon, loop and header rules, in one list.
