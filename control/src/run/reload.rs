//! Another configuration while packets flow: all of it, or nothing.
//!
//! What can refuse comes first. Then the fence and the program's sets take what is ours under either
//! configuration; then one store publishes the generation, from which on every batch of packets meets the
//! new one; then, once all workers have left the old one behind, what is not ours any more goes. Whatever
//! fails before that store is taken back. The keeper hands the new text to the next control only when it is
//! told that it is in force: a control that dies in between is followed by one with the old configuration,
//! and never by a mixture.

use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sixlane_tables::{TableError, TableWriter};
use tokio::sync::oneshot;

use super::control::{Control, Parts};
use crate::admin;
use crate::alarms::Alarm;
use crate::clock::now_ns;
use crate::compile::{self, Before, Input, Sets};
use crate::config::{self, BYTES_MAX, Checked, fixed};
use crate::figures::read_from_start;
use crate::link::ToKeeper;
use crate::publish::Readers;

/// The fence is narrowed when there was no reload for so long: each time costs a run of `nft`.
const FENCE_REST_NS: u64 = 1_000_000_000;

/// A configuration's text, as `show status` tells it.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The keeper's memory file.
    file: OwnedFd,
    /// Seconds since 1970.
    at: u64,
    bytes: usize,
    sha256: String,
}

impl Loaded {
    /// The text that is in force from now on.
    pub(super) fn now(text: &str, file: OwnedFd) -> Self {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let sha256 = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { file, at, bytes: text.len(), sha256 }
    }
}

/// What of an earlier configuration is still there.
#[derive(Debug)]
struct Leaving {
    /// The program's sets may still hold these.
    sets: Sets,
    /// The workers pass this mark when they have left it.
    mark: u64,
}

/// Reloads: who waits for one, what the last ones left behind.
#[derive(Debug, Default)]
pub(super) struct Reload {
    /// The last order's number.
    last_order: u64,
    waiting: Vec<(u64, oneshot::Sender<admin::Done>)>,
    leaving: Option<Leaving>,
    /// When the last one was done.
    done_ns: u64,
    accepted: u64,
    refused: u64,
}

/// Orders, and what the keeper answers.
impl Control {
    /// Somebody orders a reload: the keeper reads the file.
    pub(super) fn reload_ordered(&mut self, outcome: oneshot::Sender<admin::Done>) {
        self.reload.last_order += 1;
        let order = self.reload.last_order;
        // Those who have gone wait for nothing.
        self.reload.waiting.retain(|(_, outcome)| !outcome.is_closed());
        self.reload.waiting.push((order, outcome));
        self.parts.messages.push_back(ToKeeper::ReloadWanted { order });
    }

    /// The keeper has gone: nobody reads the file.
    pub(super) fn reload_in_vain(&mut self) {
        for (_, outcome) in std::mem::take(&mut self.reload.waiting) {
            let sentence = "the keeper has died, and nobody else may read the configuration: start `sixlane run` \
                            again, which takes over, and reload then";
            let _ = outcome.send(Err(sentence.to_owned().into()));
        }
    }

    /// The file's text has come.
    pub(super) fn reload_text(&mut self, order: u64, number: u32, text: OwnedFd) {
        let name = self.parts.path.display().to_string();
        let mut read = String::new();
        let done = text
            .try_clone()
            .and_then(|copy| read_from_start(copy, BYTES_MAX, &mut read))
            .map_err(|error| {
                let sentence = format!("{name} cannot be read as text: {error}: TOML is always UTF-8");
                admin::Refused { report: Some(sentence.clone()), sentence }
            })
            .and_then(|()| self.reload(&read));
        match &done {
            Ok(()) => {
                self.parts.loaded = Loaded::now(&read, text);
                self.parts.messages.push_back(ToKeeper::Accepted { number });
            }
            Err(refused) => {
                let sentence = refused.sentence.clone();
                self.parts.messages.push_back(ToKeeper::NotAccepted { number, sentence });
            }
        }
        self.reloaded(order, done);
    }

    /// The keeper could not read the file.
    pub(super) fn reload_unreadable(&mut self, order: u64, sentence: String) {
        self.reloaded(order, Err(admin::Refused { report: Some(sentence.clone()), sentence }));
    }

    /// A reload was refused before this control started, and none was done since.
    pub(super) fn reload_refused_before(&mut self, sentence: String) {
        self.alarm(Alarm::ReloadRefused, sentence);
    }

    /// A keeper has taken over: it hears which text is in force.
    pub(super) fn tell_configuration(&mut self) {
        match self.parts.loaded.file.try_clone() {
            Ok(text) => self.parts.messages.push_back(ToKeeper::Configuration { text }),
            Err(error) => tracing::warn!("the configuration cannot be handed out: {error}"),
        }
    }

    fn reloaded(&mut self, order: u64, done: Result<(), admin::Refused>) {
        let generation = self.parts.publisher.writer().number();
        match &done {
            Ok(()) => {
                self.reload.accepted += 1;
                self.parts.alarms.clear(Alarm::ReloadRefused);
                tracing::info!("the configuration is reloaded: generation {generation} of the tables");
            }
            Err(refused) => {
                self.reload.refused += 1;
                tracing::warn!("reload refused: {}", refused.sentence);
                self.parts.alarms.raise(Alarm::ReloadRefused, refused.sentence.clone());
            }
        }
        if let Some(at) = self.reload.waiting.iter().position(|(waiting, _)| *waiting == order) {
            let answer = done.map(|()| [("generation".to_owned(), json!(generation))].into_iter().collect());
            // A client that has gone does not want its answer.
            let _ = self.reload.waiting.swap_remove(at).1.send(answer);
        }
    }

    /// What `show status` says about the configuration.
    pub(super) fn configuration(&self) -> Value {
        let Loaded { at, bytes, sha256, .. } = &self.parts.loaded;
        json!({
            "loaded_at": at,
            "bytes": bytes,
            "sha256": sha256,
            "reloads": self.reload.accepted,
            "reloads_refused": self.reload.refused,
        })
    }
}

/// The reload itself.
impl Control {
    /// Puts a configuration in force, or leaves everything as it is.
    ///
    /// # Errors
    /// Why it was refused.
    pub(super) fn reload(&mut self, text: &str) -> Result<(), admin::Refused> {
        let config = self.judge(text)?;
        // What was heard of the kernel until now belongs to the generation before.
        self.publish_followed();
        let old = std::mem::replace(&mut self.parts.config, config);
        if let Err(sentence) = self.take_over(&old) {
            self.parts.config = old;
            return Err(sentence.into());
        }
        for warning in &self.parts.config.warnings {
            tracing::warn!("{warning}");
        }
        Ok(())
    }

    /// Checks a text as far as that is possible without touching anything.
    fn judge(&self, text: &str) -> Result<Checked, admin::Refused> {
        let name = self.parts.path.display().to_string();
        let config = config::parse(&name, text).map_err(|report| admin::Refused {
            sentence: report.sentences().join("; "),
            report: Some(report.to_string()),
        })?;
        config::refuse_unbuilt(&config).map_err(|unbuilt| admin::Refused {
            sentence: unbuilt.to_string(),
            report: Some(unbuilt.to_string()),
        })?;
        if let Some(key) = fixed::differs(&self.parts.config, &config) {
            return Err(format!(
                "{name}: {key} is fixed at the start: restart sixlane to change it, or put the old value back"
            )
            .into());
        }
        let Parts { plan, kernel, tables, neighbours, hash_key, .. } = &self.parts;
        let (failed, fpm) = (neighbours.lost(), &self.fpm.source.routes);
        let input = Input { config: &config, plan, kernel, tables, failed, hash_key: *hash_key, fpm };
        compile::refuse(input).map_err(|sentence| format!("{name}: {sentence}"))?;
        Ok(config)
    }

    /// The configuration is `parts.config`; everything else is of `old`.
    fn take_over(&mut self, old: &Checked) -> Result<(), String> {
        let Parts { config, plan, kernel, tables, hash_key, desired, neighbours, .. } = &mut self.parts;
        let (failed, fpm) = (neighbours.lost(), &self.fpm.source.routes);
        let input = Input { config, plan, kernel, tables, failed, hash_key: *hash_key, fpm };
        let (changes, before) = desired.reconfigure(input);
        if let Err(sentence) = self.prepare(&before.sets) {
            self.restore(old, before);
            return Err(sentence);
        }
        let Parts { publisher, desired, neighbours, workers, .. } = &mut self.parts;
        let epochs = workers.epochs();
        let readers = epochs.as_deref().map_or(Readers::Unknown, Readers::Workers);
        match publisher.replace(&changes, desired, neighbours, readers) {
            Ok(mark) => {
                let sets = match self.reload.leaving.take() {
                    Some(leaving) => leaving.sets.union(&before.sets),
                    None => before.sets,
                };
                self.reload.leaving = Some(Leaving { sets, mark });
            }
            Err(error) => {
                self.restore(old, before);
                if matches!(error, TableError::ArenaFull) {
                    self.more_memory();
                }
                return Err(format!(
                    "the tables have no room for another generation: {error}; try again, or raise [limits] and \
                     restart sixlane"
                ));
            }
        }
        self.reload.done_ns = now_ns();
        self.state_alarms();
        self.leave_old();
        Ok(())
    }

    /// The fence and the program's sets take in what the new configuration serves too.
    fn prepare(&mut self, before: &Sets) -> Result<(), String> {
        let Parts { fence, desired, program, alarms, .. } = &mut self.parts;
        let stood = fence.stands();
        match fence.widen(&desired.sets.relay4) {
            Ok(()) => alarms.clear(Alarm::FenceMissing),
            Err(error) if stood => return Err(error.to_string()),
            // There was none before: the alarm that says so stands.
            Err(error) => alarms.raise(Alarm::FenceMissing, error.to_string()),
        }
        program.unite(before, desired).map_err(|error| error.to_string())
    }

    /// Takes everything back but what is on its way out anyway.
    fn restore(&mut self, old: &Checked, before: Before) {
        let tried = self.parts.desired.sets.clone();
        let Parts { plan, kernel, tables, hash_key, desired, neighbours, .. } = &mut self.parts;
        let (failed, fpm) = (neighbours.lost(), &self.fpm.source.routes);
        desired
            .restore(Input { config: old, plan, kernel, tables, failed, hash_key: *hash_key, fpm }, before);
        let done = self.parts.program.narrow(&tried, &self.parts.desired.sets);
        self.sets_written(done);
        let done = self.parts.program.widen(&self.parts.desired.sets, &self.parts.desired);
        self.sets_written(done);
        // The fence stays wide until the next quiet second.
        self.reload.done_ns = now_ns();
    }

    /// Takes what only earlier configurations served out of the program's sets, once every worker has left
    /// them behind.
    pub(super) fn leave_old(&mut self) {
        let Some(Leaving { mark, .. }) = &self.reload.leaving else { return };
        let passed = self.parts.workers.epochs().is_some_and(|all| TableWriter::passed(*mark, &all));
        if !passed {
            return;
        }
        let Some(Leaving { sets, .. }) = self.reload.leaving.take() else { return };
        let Parts { program, desired, .. } = &self.parts;
        let done = program.narrow(&sets, &desired.sets).and_then(|()| program.widen(&desired.sets, desired));
        self.sets_written(done);
    }

    /// Once a second: takes the relays of earlier configurations out of the fence.
    pub(super) fn narrow_fence(&mut self, now: u64) {
        let Parts { fence, desired, alarms, .. } = &mut self.parts;
        let quiet = now >= self.reload.done_ns.saturating_add(FENCE_REST_NS);
        if self.reload.done_ns == 0 || self.reload.leaving.is_some() || !quiet {
            return;
        }
        match fence.narrow(&desired.sets.relay4) {
            Ok(()) => {
                self.reload.done_ns = 0;
                alarms.clear(Alarm::FenceMissing);
            }
            Err(error) => alarms.raise(Alarm::FenceMissing, error.to_string()),
        }
    }
}
