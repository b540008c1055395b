//! How a relay gets to know a client (RFC 4380 §5.4.1), without a memory of who has not proved himself
//! (decision 0018): bubbles by the client's server, and packets that wait for the answer.
//!
//! Nothing that a stranger makes us remember outlives the packets that wait for him, but for counters of
//! fixed size. A peer is made by [`SetUp::proved`] alone, which is called for a bubble that
//! `sixlane_tunnel::teredo::relay::leaving` has taken for a proof.

mod budget;

use std::collections::{HashMap, VecDeque};

use sixlane_tunnel::embed::{Teredo, teredo};
use sixlane_tunnel::teredo::Endpoint;
use sixlane_tunnel::teredo::bubble::{self, Path};
use sixlane_tunnel::teredo::cookie::Cookies;
use sixlane_wire::ipv6::{self, Address};

use super::sketch::Sketch;
use super::waiting::{ALL_MAX, Packet, Place, Waiting};
use budget::Budget;

const SECOND_NS: u64 = 1_000_000_000;
/// How long an answer is waited for (RFC 4380 §5.4.1).
pub const ANSWER_NS: u64 = 2 * SECOND_NS;
/// How many bubbles a client gets that does not answer, at once and in [`SILENCE_NS`] (RFC 4380 §5.2.6).
pub const BUBBLES_MAX: u32 = 4;
/// How long a client that did not answer is left alone, at least (RFC 4380 §5.2.6).
pub const SILENCE_NS: u64 = 300 * SECOND_NS;
/// How many packets wait for one client.
pub const PACKETS_MAX: usize = 4;
/// The longest packet that may enter the tunnel, in bytes.
const PACKET_LEN_MAX: usize = sixlane_tunnel::teredo::outer::MTU as usize;
/// Counters of a row of the sketch that remembers [`SILENCE_NS`]: 4 MiB in all.
const SILENCE_ROW_LEN: usize = 1 << 19;
/// The same for [`ANSWER_NS`]: 128 KiB in all.
const ANSWER_ROW_LEN: usize = 1 << 14;

/// With so many timers those of attempts that are over are taken out: there are at most [`ALL_MAX`] others.
const TIMERS_MAX: usize = 4 * ALL_MAX;

/// The settings of the set-up.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The first half of the addresses that carry cookies.
    pub cookie_prefix: u64,
    /// Whether a direct bubble goes out too, because the relay itself is behind a NAT.
    pub direct_bubbles: bool,
    /// How many bubbles a second there are in all.
    pub bubbles_per_second: u32,
    /// How many bubbles a second one source /64 may cause.
    pub bubbles_per_source: u32,
    /// Secret of this start, for budgets and memories.
    pub key: [u64; 2],
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// A bubble is to be sent.
    Bubble {
        /// Where to.
        to: Endpoint,
        /// The bubble.
        packet: [u8; ipv6::HEADER_LEN],
    },
    /// The client is a peer, and trusted from now on.
    Publish(Address),
    /// A packet that waited goes to the client, which is a peer now.
    Inject(Box<[u8]>),
    /// The client did not answer: the source of the packet may be told (ICMPv6 1/3).
    Unreachable(Box<[u8]>),
}

/// Why a packet does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many packets wait for the client as may.
    Peer,
    /// As many packets of its source /64 wait as may.
    Source,
    /// The client has had its bubbles and did not answer.
    Silent,
    /// It is longer than the tunnel's MTU, or no packet.
    Length,
}

/// What has happened, in numbers that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Bubbles sent.
    pub bubbles: u64,
    /// Bubbles that a budget did not allow (`bubble_limit`).
    pub limited: u64,
    /// Clients that became peers while packets waited for them.
    pub set_up: u64,
    /// Clients that did not answer.
    pub silent: u64,
    /// Packets that made room for others.
    pub displaced: u64,
}

/// A client for which packets wait.
#[derive(Debug)]
struct Attempt {
    /// Which attempt this is, for its timer.
    serial: u64,
    /// Turns taken: a bubble each, if the budgets allow it.
    turns: u32,
    /// Packets in the order of arrival.
    places: VecDeque<Place>,
    /// The first half of the source of the first packet, whose budget the bubbles are in.
    source: u64,
}

/// The machine.
#[derive(Debug)]
pub struct SetUp {
    settings: Settings,
    cookies: Cookies,
    /// `HashMap` is keyed: strangers choose clients. At most as many as packets wait.
    attempts: HashMap<Address, Attempt>,
    /// When the attempts have their next turn; all wait equally long, so this is in order.
    timers: VecDeque<(u64, u64, Address)>,
    serial: u64,
    waiting: Waiting,
    /// Bubbles without an answer.
    silence: Sketch,
    /// Clients that have had a bubble a moment ago.
    recent: Sketch,
    budget: Budget,
    outputs: VecDeque<Output>,
    figures: Figures,
}

impl SetUp {
    /// The machine, which knows nobody.
    #[must_use]
    pub fn new(settings: Settings, cookies: Cookies) -> SetUp {
        SetUp {
            settings,
            cookies,
            attempts: HashMap::new(),
            timers: VecDeque::new(),
            serial: 0,
            waiting: Waiting::new(),
            silence: Sketch::new(settings.key, SILENCE_ROW_LEN, SILENCE_NS),
            recent: Sketch::new(settings.key, ANSWER_ROW_LEN, ANSWER_NS),
            budget: Budget::new(&settings),
            outputs: VecDeque::new(),
            figures: Figures::default(),
        }
    }

    /// A packet for a client that is no trusted peer: after
    /// `sixlane_tunnel::teredo::relay::entering`, which gave what its destination says. `now_ns` is of a clock
    /// that does not go backward.
    ///
    /// # Errors
    /// Why it does not wait; then nothing of it is kept.
    pub fn packet(&mut self, now_ns: u64, packet: &[u8], client: Teredo) -> Result<(), Refused> {
        self.turn(now_ns);
        let (header, payload) = ipv6::parse(packet).map_err(|_| Refused::Length)?;
        let bytes = packet.get(..ipv6::HEADER_LEN + payload.len()).unwrap_or_default();
        if bytes.len() > PACKET_LEN_MAX {
            return Err(Refused::Length);
        }
        let (address, source) = (client.address(), header.source().hi);
        let is_new = match self.attempts.get(&address) {
            Some(attempt) if attempt.places.len() >= PACKETS_MAX => return Err(Refused::Peer),
            Some(_) => false,
            None if self.silence.count(address) >= BUBBLES_MAX => return Err(Refused::Silent),
            None => true,
        };
        if self.waiting.is_full_for(source) {
            return Err(Refused::Source);
        }
        self.make_room();
        let packet = Packet { client: address, source, bytes: bytes.into() };
        let Some(place) = self.waiting.put(packet) else { return Err(Refused::Source) };
        // Whoever made room may have been the client itself.
        if is_new || !self.attempts.contains_key(&address) {
            self.begin(now_ns, address, source);
        }
        if let Some(attempt) = self.attempts.get_mut(&address) {
            attempt.places.push_back(place);
        }
        Ok(())
    }

    /// A client has proved that it is where its address says. Whoever does becomes a peer, whether anything
    /// waits for it or not; what waits goes out in the order in which it came.
    pub fn proved(&mut self, now_ns: u64, client: Address) {
        self.turn(now_ns);
        self.outputs.push_back(Output::Publish(client));
        self.silence.forget(client);
        let Some(attempt) = self.attempts.remove(&client) else { return };
        for place in attempt.places {
            if let Some(packet) = self.waiting.take(place) {
                self.outputs.push_back(Output::Inject(packet.bytes));
            }
        }
        self.figures.set_up += 1;
    }

    /// What is to be done next, if there is anything at this time.
    pub fn poll(&mut self, now_ns: u64) -> Option<Output> {
        self.turn(now_ns);
        while let Some(&(at_ns, serial, client)) = self.timers.front() {
            if at_ns > now_ns {
                break;
            }
            self.timers.pop_front();
            self.next_turn(now_ns, serial, client);
        }
        self.outputs.pop_front()
    }

    /// When [`SetUp::poll`] has something to do next, if nobody calls before.
    #[must_use]
    pub fn wake_at(&self) -> Option<u64> {
        if self.outputs.is_empty() { self.timers.front().map(|&(at_ns, ..)| at_ns) } else { Some(0) }
    }

    /// What has happened so far.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// How many packets wait, and for how many clients.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.waiting.len(), self.attempts.len())
    }

    fn turn(&mut self, now_ns: u64) {
        self.silence.turn(now_ns);
        self.recent.turn(now_ns);
    }

    /// Makes room for a packet. A client for which nothing waits any more is forgotten; that it had bubbles
    /// is not.
    fn make_room(&mut self) {
        let Some((place, packet)) = self.waiting.make_room() else { return };
        self.figures.displaced += 1;
        if let Some(attempt) = self.attempts.get_mut(&packet.client) {
            attempt.places.retain(|&there| there != place);
            if attempt.places.is_empty() {
                self.attempts.remove(&packet.client);
            }
        }
    }

    fn begin(&mut self, now_ns: u64, client: Address, source: u64) {
        self.serial += 1;
        let serial = self.serial;
        let attempt = Attempt { serial, turns: 0, places: VecDeque::new(), source };
        self.attempts.insert(client, attempt);
        // One that was forgotten a moment ago has had its bubble.
        if self.recent.count(client) == 0 {
            self.next_turn(now_ns, serial, client);
        } else {
            self.wait(now_ns, serial, client);
        }
    }

    /// An attempt's turn: a bubble, or the end.
    fn next_turn(&mut self, now_ns: u64, serial: u64, client: Address) {
        let Some(attempt) = self.attempts.get(&client).filter(|attempt| attempt.serial == serial) else {
            return;
        };
        if attempt.turns >= BUBBLES_MAX {
            self.give_up(client);
            return;
        }
        let source = attempt.source;
        self.bubble(now_ns, client, source);
        if let Some(attempt) = self.attempts.get_mut(&client) {
            attempt.turns += 1;
        }
        self.wait(now_ns, serial, client);
    }

    /// Sets an attempt's timer. Timers of attempts that are over run out by themselves, unless there are many.
    fn wait(&mut self, now_ns: u64, serial: u64, client: Address) {
        if self.timers.len() >= TIMERS_MAX {
            let attempts = &self.attempts;
            let is_live = |serial, client| attempts.get(&client).is_some_and(|it| it.serial == serial);
            self.timers.retain(|&(_, serial, client)| is_live(serial, client));
        }
        self.timers.push_back((now_ns + ANSWER_NS, serial, client));
    }

    /// Sends a client a bubble, if it has not had too many and the budgets allow it.
    fn bubble(&mut self, now_ns: u64, client: Address, source: u64) {
        let Some(fields) = teredo(client) else { return };
        if self.silence.count(client) >= BUBBLES_MAX {
            return;
        }
        if !self.budget.take(now_ns, source, fields.server) {
            self.figures.limited += 1;
            return;
        }
        self.silence.note(client);
        self.recent.note(client);
        let paths: &[Path] =
            if self.settings.direct_bubbles { &[Path::Direct, Path::Indirect] } else { &[Path::Indirect] };
        let minute = now_ns / (60 * SECOND_NS);
        for &path in paths {
            let (to, packet) =
                bubble::of_relay(fields, path, &self.cookies, self.settings.cookie_prefix, minute);
            self.outputs.push_back(Output::Bubble { to, packet });
            self.figures.bubbles += 1;
        }
    }

    fn give_up(&mut self, client: Address) {
        let Some(attempt) = self.attempts.remove(&client) else { return };
        for place in attempt.places {
            if let Some(packet) = self.waiting.take(place) {
                self.outputs.push_back(Output::Unreachable(packet.bytes));
            }
        }
        self.figures.silent += 1;
    }
}

#[cfg(test)]
mod tests;
