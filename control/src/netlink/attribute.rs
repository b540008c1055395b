//! Walks over netlink's two containers: messages in a datagram, attributes in a message. Both are
//! length-prefixed and padded to four bytes; a length that lies ends the walk.

use zerocopy::FromBytes;

use super::uapi::{ATTRIBUTE_KIND, AttributeHeader, MessageHeader};

/// Rounds up to the alignment of messages and attributes.
const fn padded(length: usize) -> usize {
    (length + 3) & !3
}

/// Splits one length-prefixed item off: its payload after `header` bytes, and what follows it.
fn split(bytes: &[u8], length: usize, header: usize) -> Option<(&[u8], &[u8])> {
    let payload = bytes.get(header..length)?;
    // The last item may lack its padding.
    let rest = bytes.get(padded(length)..).unwrap_or(&[]);
    Some((payload, rest))
}

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawMessage<'a> {
    pub(crate) header: MessageHeader,
    pub(crate) payload: &'a [u8],
}

/// The messages of one datagram, in order.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = RawMessage<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = MessageHeader::read_from_prefix(bytes).ok()?;
        let length = usize::try_from(header.length).ok()?;
        let (payload, rest) = split(bytes, length, size_of::<MessageHeader>())?;
        bytes = rest;
        Some(RawMessage { header, payload })
    })
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attribute<'a> {
    /// Its number, without the flag bits.
    pub(crate) kind: u16,
    pub(crate) value: &'a [u8],
}

impl Attribute<'_> {
    /// The value as a number of four bytes; `None` if it has another length.
    pub(crate) fn u32(&self) -> Option<u32> {
        Some(u32::from_ne_bytes(self.value.try_into().ok()?))
    }

    /// The value as six bytes of a MAC address.
    pub(crate) fn mac(&self) -> Option<[u8; 6]> {
        self.value.try_into().ok()
    }

    /// The value as a zero-terminated name of an interface.
    pub(crate) fn name(&self) -> Option<String> {
        let end = self.value.iter().position(|&byte| byte == 0).unwrap_or(self.value.len());
        let text = std::str::from_utf8(self.value.get(..end)?).ok()?;
        Some(text.to_owned())
    }
}

/// The attributes of a message, in order.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    std::iter::from_fn(move || {
        let (header, _) = AttributeHeader::read_from_prefix(bytes).ok()?;
        let (value, rest) = split(bytes, usize::from(header.length), size_of::<AttributeHeader>())?;
        bytes = rest;
        Some(Attribute { kind: header.kind & ATTRIBUTE_KIND, value })
    })
}
