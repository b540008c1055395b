//! Who has how many connections: nobody but root can keep the others out.

use std::sync::{Arc, Mutex, PoisonError};

use super::CLIENTS_MAX;

/// Most connections of one user other than root.
const OF_ONE_USER: usize = CLIENTS_MAX / 2;
/// Most connections of all users but root: the rest is root's.
const OF_OTHERS: usize = CLIENTS_MAX - 4;

/// The users of the connections that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<Vec<u32>>>);

/// A connection's place; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    uid: u32,
}

impl Seats {
    /// A place for one more connection of `uid`, if there is one.
    pub(super) fn take(&self, uid: u32) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.iter().filter(|&&other| other == uid).count();
        let others = taken.iter().filter(|&&other| other != 0).count();
        let full = taken.len() >= CLIENTS_MAX || uid != 0 && (own >= OF_ONE_USER || others >= OF_OTHERS);
        if full {
            return None;
        }
        taken.push(uid);
        drop(taken);
        Some(Seat { seats: self.clone(), uid })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = taken.iter().position(|&uid| uid == self.uid) {
            taken.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_all_and_root_always_gets_in() {
        let seats = Seats::default();
        let mut held: Vec<Seat> = std::iter::from_fn(|| seats.take(1000)).collect();
        assert_eq!(held.len(), OF_ONE_USER);
        held.extend(std::iter::from_fn(|| seats.take(1001)));
        assert_eq!(held.len(), OF_OTHERS, "two users together");
        held.extend(std::iter::from_fn(|| seats.take(0)));
        assert_eq!(held.len(), CLIENTS_MAX);
        held.clear();
        assert!(seats.take(1000).is_some(), "what is left is free again");
    }
}
