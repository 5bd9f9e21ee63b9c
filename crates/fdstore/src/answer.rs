//! What pkramd answers: one packet, or several where one cannot carry everything.

use crate::name::{Name, NameError, join, split};
use crate::request::{MAX_BYTES, MAX_DESCRIPTORS, RequestError, checked};

/// One packet of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done(Part),
    /// It is not done; why.
    Refused(String),
}

/// What one packet lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The names, one for each descriptor of the packet or each size.
    pub names: Vec<Name>,
    /// In answers to a list: bytes, one number a name.
    pub sizes: Vec<u64>,
    /// Another packet follows.
    pub more: bool,
}

/// Why bytes are no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not even a message.
    #[error("pkramd's answer: {0}")]
    Message(#[from] RequestError),
    /// A name.
    #[error("pkramd's answer: FDNAMES: {0}")]
    Name(#[from] NameError),
    /// Something else is missing or wrong.
    #[error(
        "pkramd's answer begins with neither OK=1 nor ERROR=, or one of its lines is no number: {0:?}"
    )]
    Line(String),
    /// There must be as many sizes as names.
    #[error("pkramd's answer has {names} names and {sizes} sizes")]
    Count {
        /// So many.
        names: usize,
        /// So many.
        sizes: usize,
    },
}

impl Answer {
    /// Reads a packet.
    ///
    /// # Errors
    /// What pkramd does not say.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let text = String::from_utf8_lossy(checked(bytes)?);
        let bad = |line: &str| AnswerError::Line(line.chars().take(64).collect());
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        if let Some(why) = first.strip_prefix("ERROR=") {
            return Ok(Self::Refused(why.to_owned()));
        }
        if first != "OK=1" {
            return Err(bad(first));
        }
        let mut part = Part::default();
        for line in lines {
            match line.split_once('=') {
                Some(("FDNAMES", names)) => part.names = split(names)?,
                Some(("FDSIZES", sizes)) => {
                    let sizes = sizes.split(':').map(|n| n.parse().map_err(|_| bad(line)));
                    part.sizes = sizes.collect::<Result<_, _>>()?;
                }
                Some(("MORE", "1")) => part.more = true,
                // What later versions add.
                _ => {}
            }
        }
        let (names, sizes) = (part.names.len(), part.sizes.len());
        match sizes == 0 || sizes == names {
            true => Ok(Self::Done(part)),
            false => Err(AnswerError::Count { names, sizes }),
        }
    }

    /// Writes a packet of at most [`MAX_BYTES`]; a longer reason is cut.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Refused(why) => {
                let mut text = format!("ERROR={why}").replace(['\n', '\r', '\0'], " ");
                while text.len() > MAX_BYTES {
                    text.pop();
                }
                text.into_bytes()
            }
            Self::Done(part) => part.to_bytes(),
        }
    }
}

impl Part {
    fn to_bytes(&self) -> Vec<u8> {
        let mut text = "OK=1\n".to_owned();
        if !self.names.is_empty() {
            text += &format!("FDNAMES={}\n", join(self.names.iter()));
        }
        if !self.sizes.is_empty() {
            let sizes: Vec<_> = self.sizes.iter().map(u64::to_string).collect();
            text += &format!("FDSIZES={}\n", sizes.join(":"));
        }
        if self.more {
            text += "MORE=1\n";
        }
        text.into_bytes()
    }

    /// As few parts as can carry all names, in their order; at least one. Each item is a name and,
    /// for a list, its size.
    #[must_use]
    pub fn split(items: &[(Name, Option<u64>)]) -> Vec<Self> {
        let mut parts = vec![Self::default()];
        let mut bytes = FRAME;
        for (name, size) in items {
            let more = name.as_str().len() + 1 + size.map_or(0, |n| n.to_string().len() + 1);
            let last = parts.len() - 1;
            if parts[last].names.len() == MAX_DESCRIPTORS || bytes + more > MAX_BYTES {
                parts[last].more = true;
                parts.push(Self::default());
                bytes = FRAME;
            }
            if let Some(part) = parts.last_mut() {
                part.names.push(name.clone());
                part.sizes.extend(size);
            }
            bytes += more;
        }
        parts
    }
}

/// Bytes of a packet besides its names and sizes.
const FRAME: usize = "OK=1\nFDNAMES=\nFDSIZES=\nMORE=1\n".len();

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_come_back() {
        let name = |n: &str| Name::new(n).unwrap();
        let part = Part { names: vec![name("a"), name("")], sizes: vec![1, u64::MAX], more: true };
        for answer in [
            Answer::Done(Part::default()),
            Answer::Done(part),
            Answer::Done(Part { names: vec![name("")], ..Part::default() }),
            Answer::Refused("no".to_owned()),
        ] {
            assert_eq!(Answer::parse(&answer.to_bytes()), Ok(answer));
        }
        let long = Answer::Refused("\u{e4}\n".repeat(4000)).to_bytes();
        assert!(long.len() <= MAX_BYTES && !long.contains(&b'\n'));
        assert!(Answer::parse(b"READY=1").is_err());
        assert!(Answer::parse(b"OK=1\nFDNAMES=a:b\nFDSIZES=1").is_err());
    }

    proptest! {
        #[test]
        fn parts_carry_everything_and_fit(
            items in prop::collection::vec(("[ -9;-~]{0,255}", any::<u64>()), 0..600),
            sized: bool,
        ) {
            let size = |n| sized.then_some(n);
            let items: Vec<_> =
                items.iter().map(|(n, s)| (Name::new(n).unwrap(), size(*s))).collect();
            let parts = Part::split(&items);
            for (i, part) in parts.iter().enumerate() {
                let bytes = part.to_bytes();
                prop_assert!(bytes.len() <= MAX_BYTES && part.names.len() <= MAX_DESCRIPTORS);
                prop_assert_eq!(part.more, i + 1 < parts.len());
                prop_assert_eq!(Answer::parse(&bytes), Ok(Answer::Done(part.clone())));
            }
            let names = parts.iter().flat_map(|p| &p.names);
            prop_assert!(names.eq(items.iter().map(|(n, _)| n)));
            let sizes = parts.iter().flat_map(|p| &p.sizes).copied();
            prop_assert!(sizes.eq(items.iter().filter_map(|(_, s)| *s)));
        }

        #[test]
        fn any_bytes_end_in_a_result(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Answer::parse(&bytes);
            let _ = Answer::parse(&[b"OK=1\n", &bytes[..]].concat());
        }
    }
}
