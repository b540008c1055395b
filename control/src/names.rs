//! Numbers of users and groups.

use std::fs;

/// The number of the user called `name`.
pub(crate) fn user(name: &str) -> Option<u32> {
    number(&fs::read_to_string("/etc/passwd").ok()?, name)
}

/// The number of the group called `name`.
pub(crate) fn group(name: &str) -> Option<u32> {
    number(&fs::read_to_string("/etc/group").ok()?, name)
}

/// Looks a name up in the text of `/etc/passwd` or `/etc/group`: both have the number behind a password.
fn number(table: &str, name: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        fields.nth(1)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_found_by_their_whole_name() {
        let text = "root:x:0:\nsixlane-other:x:5:\nsixlane:x:998:alice\n";
        assert_eq!(number(text, "sixlane"), Some(998));
        assert_eq!(number(text, "six"), None);
    }

    #[test]
    fn users_are_found_by_their_whole_name() {
        let text = "root:x:0:0::/root:/bin/sh\nfrr2:x:5:5::/:/bin/false\nfrr:x:105:110::/:/bin/false\n";
        assert_eq!(number(text, "frr"), Some(105));
        assert_eq!(number(text, "fr"), None);
    }
}
