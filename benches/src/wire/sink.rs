//! The sink: a tc program at the ingress of g1. It carries no XDP program, which would double the cost of
//! sending to it.

use std::os::fd::AsFd;

use libbpf_rs::{MapCore, MapFlags, Object, ObjectBuilder, OpenObject, TC_INGRESS, TcHookBuilder};
use sixlane_lab::Host;

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sink.bpf.o"));

/// What is expected: length of the frames of each form, 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Bytes of a native frame.
    pub plain: u32,
    /// Bytes of a frame in the tunnel.
    pub tunnelled: u32,
    /// Whether each number is noted.
    pub numbered: bool,
}

/// What has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Native frames of the expected length.
    pub plain: u64,
    /// Frames in the tunnel of the expected length.
    pub tunnelled: u64,
    /// The rig's frames of another length, or with a number beyond [`NUMBERS`].
    pub damaged: u64,
    /// Numbers that came again (numbered mode).
    pub doubled: u64,
    /// Different numbers that came (numbered mode).
    pub numbers: u64,
}

/// Numbers that a sink tells apart.
pub const NUMBERS: u64 = 65_536 * 64;

/// A sink at work.
#[derive(Debug)]
pub struct Sink {
    object: Object,
}

impl Sink {
    /// Attaches a fresh one to an interface, in the place of the one before.
    ///
    /// # Errors
    /// The kernel refuses program or hook.
    pub fn attach(host: &Host, interface: &str, wish: Wish) -> Result<Self, String> {
        let fail = |error: libbpf_rs::Error| format!("the sink cannot be loaded: {error:#}");
        libbpf_rs::set_print(None);
        let object = ObjectBuilder::default().open_memory(OBJECT).and_then(OpenObject::load).map_err(fail)?;
        let words = [wish.plain, wish.tunnelled, u32::from(wish.numbered), 0];
        put(&object, "wishes", &words.map(u32::to_ne_bytes).concat())?;
        let program = object.progs().find(|program| program.name() == "sink");
        let program = program.ok_or("the sink's object has no program")?;
        let program = program.as_fd();
        let index = host.index(interface).map_err(|error| error.to_string())?;
        let attached = host.within(|| {
            let mut hook = TcHookBuilder::new(program)
                .ifindex(index.cast_signed())
                .replace(true)
                .handle(1)
                .priority(1)
                .hook(TC_INGRESS);
            hook.create().and_then(|mut hook| hook.attach()).map(drop)
        });
        attached
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("the sink cannot be attached to {interface}: {error:#}"))?;
        Ok(Self { object })
    }

    /// What has come so far.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn tally(&self) -> Result<Tally, String> {
        let map = self.object.maps().find(|map| map.name() == "tallies").ok_or("the sink has no tally")?;
        let value = map.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).map_err(|error| format!("{error:#}"))?;
        let value = value.unwrap_or_default();
        let (words, _) = value.as_chunks::<8>();
        let word = |at: usize| words.get(at).map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        Ok(Tally { plain: word(0), tunnelled: word(1), damaged: word(2), doubled: word(3), numbers: word(4) })
    }
}

/// Writes the only value of a map.
pub(crate) fn put(object: &Object, name: &str, value: &[u8]) -> Result<(), String> {
    let map = object.maps().find(|map| map.name() == name).ok_or_else(|| format!("no map {name}"))?;
    map.update(&0u32.to_ne_bytes(), value, MapFlags::ANY).map_err(|error| format!("{name}: {error:#}"))
}
