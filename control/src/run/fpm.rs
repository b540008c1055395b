//! Routes by FPM: its socket's events into the source, what the source changed into the tables.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::control::Control;
use crate::alarms::Alarm;
use crate::clock::now_ns;
use crate::config::Checked;
use crate::fpm::{Event, Port, Settings, Source};
use crate::link::FromKeeper;

const SECOND_NS: u64 = 1_000_000_000;
/// How long the alarm about a stranger stands after the last one.
const STRANGER_NS: u64 = 60 * SECOND_NS;

/// How long a control that follows another waits for zebra.
const WAIT: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(50);

/// The source, and what is said of it.
#[derive(Debug)]
pub(super) struct Fpm {
    pub(super) source: Source,
    stranger_ns: u64,
}

impl Fpm {
    /// Without `[fpm]` it stays empty.
    pub(super) fn new(config: &Checked) -> Self {
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let settings = config.fpm.as_ref().map_or(Settings { keep_ns: 0, limits: [0, 0] }, |fpm| Settings {
            keep_ns: u64::from(fpm.keep_seconds) * SECOND_NS,
            limits: [size(fpm.routes4), size(fpm.routes6)],
        });
        Self { source: Source::new(settings), stranger_ns: 0 }
    }
}

/// A control that follows a dead one has nothing of what zebra told that one, and the tables in force do. It
/// waits for zebra, which connects again after 3 s, and until it has told all; then it makes tables. After
/// [`WAIT`] it makes them without.
pub(super) async fn first_told(
    said: &[FromKeeper],
    config: &Checked,
    tables: &[u32],
    port: &mut Port,
) -> Fpm {
    let mut fpm = Fpm::new(config);
    if said.iter().any(|message| matches!(message, FromKeeper::WorkerSegment { .. })) {
        wait_for_zebra(&mut fpm, config, tables, port).await;
    }
    fpm
}

async fn wait_for_zebra(fpm: &mut Fpm, config: &Checked, tables: &[u32], port: &mut Port) {
    let Some(section) = &config.fpm else { return };
    match Port::open(section.listen, &section.user) {
        Ok(opened) => *port = opened,
        // The event loop tries again, and raises the alarm.
        Err(_) => return,
    }
    let until = Instant::now() + WAIT;
    while !fpm.source.told(now_ns()) {
        tokio::select! {
            event = port.event() => match event {
                Event::Caller(caller) => {
                    if port.admit(caller).is_ok() {
                        fpm.source.begin(now_ns());
                    }
                }
                Event::Readable => match port.read(fpm.source.room()) {
                    Some(count) => {
                        let (now, changed) = (now_ns(), &mut BTreeSet::new());
                        if fpm.source.take(now, count, tables, changed).is_err() {
                            port.close();
                            fpm.source.end(now);
                        }
                    }
                    None => fpm.source.end(now_ns()),
                },
            },
            () = sleep(LOOK) => {}
            () = sleep_until(until) => {
                tracing::warn!("zebra has not told its routes in {} s: going on without", WAIT.as_secs());
                return;
            }
        }
    }
}

impl Control {
    /// Opens the socket if it is configured and not open: at the start, and until it works.
    pub(super) fn fpm_open(&mut self, port: &mut Port) {
        let Some(fpm) = self.parts.config.fpm.as_ref().filter(|_| !port.is_open()) else { return };
        match Port::open(fpm.listen, &fpm.user) {
            Ok(opened) => {
                let user = fpm.user.clone();
                *port = opened;
                self.parts.alarms.clear(Alarm::FpmListen);
                if !port.knows_user() {
                    let text = format!(
                        "fpm.user = \"{user}\" is no user of this machine, so only root may tell routes: install \
                         FRR, or name its user, and restart sixlane"
                    );
                    self.alarm(Alarm::FpmListen, text);
                }
            }
            Err(sentence) => self.alarm(Alarm::FpmListen, sentence),
        }
    }

    /// Takes an event of the socket: a caller, or a bounded part of what has come.
    pub(super) fn fpm_says(&mut self, port: &mut Port, event: Event) {
        let now = now_ns();
        match event {
            Event::Caller(caller) => match port.admit(caller) {
                Ok(()) => {
                    tracing::info!("zebra is connected and tells its routes");
                    self.fpm.source.begin(now);
                    self.parts.alarms.clear(Alarm::FpmLost);
                }
                Err(why) => self.fpm_stranger(now, &why),
            },
            Event::Readable => self.fpm_read(port, now),
        }
        self.settle();
    }

    fn fpm_stranger(&mut self, now: u64, why: &str) {
        self.fpm.source.counts.strangers += 1;
        self.fpm.stranger_ns = now;
        let user = self.parts.config.fpm.as_ref().map_or("frr", |fpm| &fpm.user);
        let text = format!(
            "{why} to tell routes by FPM, and is not \"{user}\": find who it is, or name zebra's user in \
             fpm.user"
        );
        self.alarm(Alarm::FpmStranger, text);
    }

    fn fpm_read(&mut self, port: &mut Port, now: u64) {
        let Some(count) = port.read(self.fpm.source.room()) else {
            self.fpm_lost(now, "zebra has closed the connection by which it tells its routes");
            return;
        };
        if count == 0 {
            return;
        }
        let changed = &mut self.follow.pending.nets;
        if let Err(error) = self.fpm.source.take(now, count, &self.parts.tables, changed) {
            port.close();
            self.fpm_lost(now, &format!("the connection of zebra was closed: {error}"));
        }
    }

    fn fpm_lost(&mut self, now: u64, why: &str) {
        self.fpm.source.end(now);
        let keep = self.parts.config.fpm.as_ref().map_or(0, |fpm| fpm.keep_seconds);
        let text = format!("{why}; its routes are kept for {keep} s: see that zebra runs");
        self.alarm(Alarm::FpmLost, text);
    }

    /// Every few milliseconds.
    pub(super) fn fpm_turn(&mut self, port: &mut Port) {
        if self.parts.config.fpm.is_none() {
            return;
        }
        self.fpm_open(port);
        let now = now_ns();
        if self.fpm.source.tick(now, &mut self.follow.pending.nets) {
            port.close();
            self.fpm_lost(now, "there is room again, and zebra is to tell everything anew");
        }
        if now >= self.fpm.stranger_ns.saturating_add(STRANGER_NS) {
            self.parts.alarms.clear(Alarm::FpmStranger);
        }
        if self.fpm.source.over_limit() {
            let [routes4, routes6] = self.fpm.source.routes.counts();
            let text = format!(
                "zebra tells more routes than fpm.routes4 and fpm.routes6 allow; {routes4} and {routes6} are \
                 held, others are passed over: filter what is learned, or raise the limits and restart"
            );
            self.alarm(Alarm::FpmLimit, text);
        } else {
            self.parts.alarms.clear(Alarm::FpmLimit);
        }
    }

    /// Who tells routes, in `show status`.
    pub(super) fn sources(&self) -> Value {
        let [kernel4, kernel6] = self.parts.kernel.routes.counts();
        let fpm = self.parts.config.fpm.as_ref().map_or(Value::Null, |config| {
            let Source { routes, counts, .. } = &self.fpm.source;
            let [routes4, routes6] = routes.counts();
            json!({
                "listen": config.listen.to_string(),
                "connected": self.fpm.source.connected(),
                "routes4": routes4,
                "routes6": routes6,
                "limit4": config.routes4,
                "limit6": config.routes6,
                "connections": counts.connections,
                "strangers": counts.strangers,
                "changes": counts.changes,
                "ignored": counts.ignored,
                "malformed": counts.malformed,
                "over_limit": counts.over_limit,
                "swept": counts.swept,
            })
        });
        json!({ "kernel": { "routes4": kernel4, "routes6": kernel6 }, "fpm": fpm })
    }
}
