//! Any bytes as a line to the admin sockets (ATK-55): taken or refused by one line of JSON with one
//! sentence, never a crash.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|line: &[u8]| {
    for answer in sixlane_control::judge_line(line) {
        assert_eq!(answer.matches('\n').count(), 1, "one line");
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer["v"], 1);
        assert!(answer["error"].as_str().is_some_and(|sentence| sentence.contains(": ")), "{answer}");
        assert!(answer.to_string().len() < 1024, "{answer}");
    }
});
