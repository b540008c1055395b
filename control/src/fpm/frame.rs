//! Frames of the Forwarding Plane Manager's protocol (FRR, `fpm/fpm.h`): a stream of bytes becomes
//! netlink messages. A frame that has not come in full waits for the rest, and is forgotten with its
//! connection.

/// Version, kind and length.
const HEADER: usize = 4;
/// `FPM_PROTO_VERSION`.
const VERSION: u8 = 1;
/// `FPM_MSG_TYPE_NETLINK`.
const NETLINK: u8 = 1;
/// `FPM_MSG_TYPE_PROTOBUF`.
const PROTOBUF: u8 = 2;
/// Bytes that are read at once at most; more than the longest frame (65,535).
pub(super) const BUFFER: usize = 128 << 10;

/// Why a stream is no FPM stream, or none that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("it speaks version {0} of the FPM protocol, and this is version 1")]
    Version(u8),
    #[error("it sends protocol buffers: start zebra with `-M dplane_fpm_nl` or `-M fpm:netlink`")]
    Protobuf,
    #[error("it sends frames of the unknown kind {0}")]
    Kind(u8),
    #[error("it sends a frame of {0} bytes, shorter than its header")]
    Length(u16),
}

/// What has come and is not read yet.
#[derive(Debug)]
pub(crate) struct Frames {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Frames {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; BUFFER].into(), filled: 0 }
    }

    /// Room for nothing: a stand-in while the frames are read.
    pub(super) fn empty() -> Self {
        Self { bytes: Box::default(), filled: 0 }
    }

    /// Where the next bytes go; never empty after [`Frames::take`].
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }

    /// `count` bytes have been put into [`Frames::room`]: calls `each` with the body of every frame that
    /// is whole.
    ///
    /// # Errors
    /// The stream cannot be followed any further.
    pub(super) fn take(&mut self, count: usize, mut each: impl FnMut(&[u8])) -> Result<(), FrameError> {
        self.filled = (self.filled + count).min(self.bytes.len());
        let mut rest = self.bytes.get(..self.filled).unwrap_or_default();
        while let Some(body) = next(&mut rest)? {
            each(body);
        }
        let left = rest.len();
        self.bytes.copy_within(self.filled - left..self.filled, 0);
        self.filled = left;
        Ok(())
    }
}

/// Splits one whole frame off. `None`: its rest has not come yet.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, FrameError> {
    let Some(&[version, kind, high, low]) = rest.first_chunk::<HEADER>() else { return Ok(None) };
    let length = u16::from_be_bytes([high, low]);
    match (version, kind) {
        (VERSION, NETLINK) => {}
        (VERSION, PROTOBUF) => return Err(FrameError::Protobuf),
        (VERSION, _) => return Err(FrameError::Kind(kind)),
        _ => return Err(FrameError::Version(version)),
    }
    if usize::from(length) < HEADER {
        return Err(FrameError::Length(length));
    }
    let Some((frame, behind)) = rest.split_at_checked(usize::from(length)) else { return Ok(None) };
    *rest = behind;
    Ok(frame.get(HEADER..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + HEADER).unwrap();
        [&[VERSION, NETLINK][..], &length.to_be_bytes(), body].concat()
    }

    /// Gives a stream in pieces, and collects the bodies.
    fn read(stream: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let (mut frames, mut bodies) = (Frames::new(), Vec::new());
        for piece in stream.chunks(piece) {
            frames.room()[..piece.len()].copy_from_slice(piece);
            frames.take(piece.len(), |body| bodies.push(body.to_vec()))?;
        }
        Ok(bodies)
    }

    #[test]
    fn what_is_no_frame_of_netlink_ends_the_stream() {
        assert_eq!(read(&[2, 1, 0, 4], 9), Err(FrameError::Version(2)));
        assert_eq!(read(&[1, 2, 0, 4], 9), Err(FrameError::Protobuf));
        assert_eq!(read(&[1, 7, 0, 4], 9), Err(FrameError::Kind(7)));
        assert_eq!(read(&[1, 1, 0, 3], 9), Err(FrameError::Length(3)));
        assert_eq!(read(&[1, 1, 0, 4], 1), Ok(vec![vec![]]));
    }

    #[test]
    fn the_longest_frame_fits() {
        let body = vec![7; usize::from(u16::MAX) - HEADER];
        let stream = [frame(&body), frame(&body), frame(b"end")].concat();
        assert_eq!(read(&stream, 60_000), Ok(vec![body.clone(), body, b"end".to_vec()]));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
            piece in 1_usize..100,
        ) {
            let stream: Vec<u8> = bodies.iter().flat_map(|body| frame(body)).collect();
            prop_assert_eq!(read(&stream, piece), Ok(bodies));
        }
    }
}
