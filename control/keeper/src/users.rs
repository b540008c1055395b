//! Who the children become: users by name, or fixed numbers where the name does not exist.

use std::fs;

/// Numbers that are used when a user is missing.
pub const FALLBACK_CONTROL: u32 = 64_610;
/// See [`FALLBACK_CONTROL`].
pub const FALLBACK_DATA_PLANE: u32 = 64_611;
/// See [`FALLBACK_CONTROL`].
pub const FALLBACK_OBSERVER: u32 = 64_612;

/// A user, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// User id, never 0.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// A group beside it: the one of the admin socket.
    pub extra_group: Option<u32>,
}

/// The user called `name`, else `fallback` with a sentence for the log.
///
/// A user with uid 0 counts as missing: children are never root.
pub fn resolve(name: &str, fallback: u32) -> (Identity, Option<String>) {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    resolve_in(&passwd, name, fallback)
}

/// The number of the group called `name`.
pub fn group(name: &str) -> Option<u32> {
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    fields_of(&groups, name)?.get(2)?.parse().ok()
}

fn resolve_in(passwd: &str, name: &str, fallback: u32) -> (Identity, Option<String>) {
    let found = fields_of(passwd, name).and_then(|fields| {
        let uid = fields.get(2)?.parse().ok().filter(|uid| *uid != 0)?;
        let gid = fields.get(3)?.parse().ok()?;
        Some((uid, gid))
    });
    let (uid, gid) = found.unwrap_or((fallback, fallback));
    let identity = Identity { uid, gid, extra_group: None };
    let warning = found.is_none().then(|| {
        format!("user {name} does not exist, its process runs as uid {fallback}: create it with `useradd --system {name}`")
    });
    (identity, warning)
}

fn fields_of<'a>(table: &'a str, name: &str) -> Option<Vec<&'a str>> {
    table.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        sixlane-data:x:998:997::/:/usr/sbin/nologin\nbroken:x\ntoor:x:0:5::/:/bin/sh\n";

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let (identity, warning) = resolve_in(PASSWD, "sixlane-data", 64_611);
        assert_eq!((identity.uid, identity.gid, warning), (998, 997, None));
        let (identity, warning) = resolve_in(PASSWD, "sixlane-dat", 64_611);
        assert_eq!((identity.uid, identity.gid), (64_611, 64_611));
        assert!(warning.is_some_and(|text| text.contains("useradd")));
    }

    #[test]
    fn broken_lines_and_root_count_as_missing() {
        for name in ["broken", "toor", "root", ""] {
            let (identity, warning) = resolve_in(PASSWD, name, 7);
            assert_eq!(identity.uid, 7, "{name}");
            assert!(warning.is_some());
        }
    }
}
