//! Which agent it is, and what it does otherwise than the others.

/// The agents that are known, by what they answer to `ver`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Variant {
    /// Muster's own.
    Muster,
    /// Mozilla's for Android, with major and minor version.
    Java(u32, u32),
    /// Mozilla's for Firefox OS.
    Negatus,
    /// Another, with what it answered.
    Other(String),
}

impl Variant {
    /// The agent that answers this to `ver`.
    pub(crate) fn from_version(answer: &str) -> Self {
        let answer = answer.trim();
        let mut words = answer.split_whitespace();
        let (product, is, version) = (words.next().unwrap_or_default(), words.next(), words.next());
        let mut numbers = version.unwrap_or_default().split('.').map(str::parse::<u32>);
        match (product, is, numbers.next(), numbers.next()) {
            (crate::sut::agent::PRODUCT, Some("Version"), ..) => Self::Muster,
            ("SUTAgentAndroid", Some("Version"), Some(Ok(major)), minor) => {
                Self::Java(major, minor.and_then(Result::ok).unwrap_or(0))
            }
            ("SUTAgentNegatus", ..) => Self::Negatus,
            _ => Self::Other(answer.chars().take(100).collect()),
        }
    }

    pub(super) fn is_muster(&self) -> bool {
        *self == Self::Muster
    }

    /// Whether it knows `execsu`.
    pub(super) fn has_execsu(&self) -> bool {
        match self {
            Self::Muster | Self::Negatus => true,
            Self::Java(major, minor) => (*major, *minor) >= (1, 13),
            Self::Other(_) => false,
        }
    }

    /// Whether an argument may be put in quotes.
    pub(super) fn knows_quotes(&self) -> bool {
        match self {
            Self::Muster => true,
            Self::Java(major, minor) => (*major, *minor) >= (1, 13),
            Self::Negatus | Self::Other(_) => false,
        }
    }

    /// Whether it writes CR LF for every LF that a program prints.
    pub(super) fn adds_cr(&self) -> bool {
        matches!(self, Self::Java(..))
    }

    /// How a program ended, from the number the agent gives.
    pub(super) fn exit(&self, number: u32) -> crate::device::Exit {
        use crate::device::Exit;
        let small = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        match self {
            // It gives the status of `wait` as it is: the code in the second byte, a signal in the first.
            Self::Negatus if number & 0x7f != 0 && number < 256 => Exit::Signal(small(number & 0x7f)),
            Self::Negatus => Exit::Code(small(number / 256)),
            Self::Muster | Self::Java(..) | Self::Other(_) => Exit::Code(small(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Exit;

    #[test]
    fn agents_are_known_by_their_version() {
        let check = |answer: &str, variant| assert_eq!(Variant::from_version(answer), variant);
        check("MusterSUTAgent Version 1.20", Variant::Muster);
        check("SUTAgentAndroid Version 1.18\r\n", Variant::Java(1, 18));
        check("SUTAgentAndroid Version 2", Variant::Java(2, 0));
        check("SUTAgentNegatus Version 0.3", Variant::Negatus);
        check("SUTAgentC 1.02", Variant::Other("SUTAgentC 1.02".to_owned()));
        check("", Variant::Other(String::new()));
        assert!(!Variant::Java(1, 12).has_execsu() && Variant::Java(1, 13).has_execsu());
    }

    #[test]
    fn a_wait_status_is_taken_apart() {
        assert_eq!(Variant::Negatus.exit(256), Exit::Code(1));
        assert_eq!(Variant::Negatus.exit(0), Exit::Code(0));
        assert_eq!(Variant::Negatus.exit(9), Exit::Signal(9));
        assert_eq!(Variant::Negatus.exit(139), Exit::Signal(11));
        assert_eq!(Variant::Java(1, 18).exit(139), Exit::Code(139));
    }
}
