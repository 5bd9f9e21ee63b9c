//! What a service says: the lines of one message.
//!
//! ```text
//! bytes ─► Lines ─► Request      alleged ─► well-formed: at most 4096 bytes, no NUL, names by the rules
//! ```

use crate::name::{Name, NameError};

/// Bytes in a message: `NOTIFY_BUFFER_MAX` of systemd's `src/core/manager.c`, which is `PIPE_BUF`
/// of `include/uapi/linux/limits.h`.
pub const MAX_BYTES: usize = 4096;

/// Descriptors in a message: `SCM_MAX_FD`, `include/net/scm.h`.
pub const MAX_DESCRIPTORS: usize = 253;

/// What a message asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Keep the descriptors that came with it.
    Store(Name),
    /// Drop all of this name.
    Remove(Name),
    /// Give back those of this name, or all.
    Take(Option<Name>),
    /// Tell names and sizes.
    List,
    /// Close the descriptor that came with it, when everything before it is done.
    Barrier,
    /// Nothing of the store's: `READY=1` and what else services tell systemd.
    Other,
}

/// Why bytes are no message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Too many bytes.
    #[error("the message has more than {MAX_BYTES} bytes")]
    Long,
    /// Text has no NUL.
    #[error("the message has a NUL byte at {0}")]
    Nul(usize),
    /// Not a name.
    #[error("FDNAME: {0}")]
    Name(#[from] NameError),
    /// Not even text.
    #[error("FDNAME: not ASCII")]
    NotText,
    /// What to remove must be said.
    #[error("FDSTOREREMOVE=1 needs FDNAME=, the name of what to remove")]
    NoName,
}

/// The lines of a message, as systemd splits them (`strv_split_newlines`): at `\n` and `\r`,
/// without empty ones.
fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    bytes.split(|b| matches!(b, b'\n' | b'\r')).filter(|line| !line.is_empty())
}

impl Request {
    /// Reads a message. Where it says several things, it counts as in systemd's
    /// `service_notify_message`: a barrier is nothing else, and removing comes before storing.
    ///
    /// # Errors
    /// More than [`MAX_BYTES`], a NUL other than one at the end, or a name against the rules.
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let bytes = checked(bytes)?;
        let says = |line: &str| lines(bytes).any(|l| l == line.as_bytes());
        let name = || -> Result<Option<Name>, RequestError> {
            let value = lines(bytes).find_map(|l| l.strip_prefix(b"FDNAME="));
            let Some(value) = value else { return Ok(None) };
            let text = str::from_utf8(value).map_err(|_| RequestError::NotText)?;
            Ok(Some(Name::new(text)?))
        };
        Ok(match () {
            () if says("BARRIER=1") => Self::Barrier,
            () if says("FDSTOREREMOVE=1") => Self::Remove(name()?.ok_or(RequestError::NoName)?),
            () if says("FDSTORE=1") => Self::Store(name()?.unwrap_or_default()),
            () if says("FDTAKE=1") => Self::Take(name()?),
            () if says("FDLIST=1") => Self::List,
            () => Self::Other,
        })
    }

    /// Writes a message.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let text = match self {
            Self::Store(name) => format!("FDSTORE=1\nFDNAME={name}\n"),
            Self::Remove(name) => format!("FDSTOREREMOVE=1\nFDNAME={name}\n"),
            Self::Take(Some(name)) => format!("FDTAKE=1\nFDNAME={name}\n"),
            Self::Take(None) => "FDTAKE=1\n".to_owned(),
            Self::List => "FDLIST=1\n".to_owned(),
            Self::Barrier => "BARRIER=1".to_owned(),
            Self::Other => String::new(),
        };
        text.into_bytes()
    }
}

/// The text in `bytes`: one NUL at the end does not belong to it.
pub(crate) fn checked(bytes: &[u8]) -> Result<&[u8], RequestError> {
    if bytes.len() > MAX_BYTES {
        return Err(RequestError::Long);
    }
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    match bytes.iter().position(|b| *b == 0) {
        Some(at) => Err(RequestError::Nul(at)),
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn reads_what_sd_notify_sends() {
        let parse = |text: &str| Request::parse(text.as_bytes()).unwrap();
        assert_eq!(parse("FDSTORE=1"), Request::Store(name("stored")));
        assert_eq!(parse("FDSTORE=1\nFDNAME=a b"), Request::Store(name("a b")));
        assert_eq!(parse("FDNAME=\nFDPOLL=0\r\nFDSTORE=1\n\0"), Request::Store(name("")));
        assert_eq!(parse("FDNAME=x\nFDSTORE=1\nFDNAME=y"), Request::Store(name("x")));
        assert_eq!(parse("FDSTORE=1\nFDSTOREREMOVE=1\nFDNAME=x"), Request::Remove(name("x")));
        assert_eq!(parse("BARRIER=1\nFDSTORE=1"), Request::Barrier);
        assert_eq!(parse("FDTAKE=1"), Request::Take(None));
        assert_eq!(parse("FDTAKE=1\nFDNAME=x"), Request::Take(Some(name("x"))));
        for other in
            ["", "\0", "READY=1\nSTATUS=FDSTORE=1", "FDSTORE=10", "FDSTORE=0", "xFDSTORE=1"]
        {
            assert_eq!(parse(other), Request::Other, "{other:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_message() {
        let parse = |bytes: &[u8]| Request::parse(bytes).unwrap_err().to_string();
        assert_eq!(parse(&[b'x'; 4097]), "the message has more than 4096 bytes");
        assert_eq!(parse(b"FDSTORE=1\n\0READY=1"), "the message has a NUL byte at 10");
        assert_eq!(parse(b"FDSTORE=1\0\0"), "the message has a NUL byte at 9");
        assert!(parse(b"FDSTORE=1\nFDNAME=a:b").starts_with("FDNAME: name \"a:b\" has a colon"));
        assert_eq!(parse(b"FDSTORE=1\nFDNAME=\xff"), "FDNAME: not ASCII");
        assert!(parse(b"FDSTOREREMOVE=1").contains("needs FDNAME="));
        // Whose name it would be does not matter then.
        assert_eq!(Request::parse(b"READY=1\nFDNAME=a:b"), Ok(Request::Other));
    }

    fn requests() -> impl Strategy<Value = Request> {
        let names = || "[ -9;-~]{0,255}".prop_map(|n| name(&n));
        prop_oneof![
            names().prop_map(Request::Store),
            names().prop_map(Request::Remove),
            names().prop_map(|n| Request::Take(Some(n))),
            Just(Request::Take(None)),
            Just(Request::List),
            Just(Request::Barrier),
            Just(Request::Other),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(request in requests()) {
            prop_assert_eq!(Request::parse(&request.to_bytes()), Ok(request));
        }

        #[test]
        fn any_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..5000)) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn any_lines_do(lines in prop::collection::vec(
            "(FDSTORE|FDNAME|FDSTOREREMOVE|BARRIER|FDTAKE|FDLIST)=[ -~\u{e4}]{0,3}\0?", 0..8)
        ) {
            if let Ok(Request::Store(name) | Request::Remove(name)) =
                Request::parse(lines.join("\n").as_bytes())
            {
                prop_assert_eq!(Name::new(name.as_str()), Ok(name));
            }
        }
    }
}
