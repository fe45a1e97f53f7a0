//! Ports by number, and by number or name.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kprov_schema::names;
use serde::{Deserialize, Serialize};

use crate::build::text::{Invalid, Of, PortName, Text};

/// The number of a port, 1 to 65535.
///
/// A plain number may stand for it: `container.port("http", 8080)`.
///
/// ```
/// # use kprov::build::*;
/// const HTTP: Port = Port::new(8080);
/// let web = Container::new("web", "nginx:1.27").port("http", HTTP).port("metrics", 9090);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Port(NonZeroU16);

impl Port {
    /// The port of that number.
    ///
    /// Panics when it is 0, in a `const` while the program is compiled: `const { Port::new(8080) }`.
    #[must_use]
    #[track_caller]
    pub const fn new(number: u16) -> Self {
        match NonZeroU16::new(number) {
            Some(number) => Self(number),
            None => panic!("0 is no port: write 1 to 65535"),
        }
    }

    /// Its number.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert_eq!(Port::new(8080).number(), 8080);
    /// ```
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0.get()
    }
}

impl FromStr for Port {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let why = names::out_of_range(1, 65535);
        text.parse().map(Self).map_err(|_| Invalid { what: "port", text: text.to_owned(), why })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<Port> for i32 {
    fn from(port: Port) -> Self {
        i32::from(port.number())
    }
}

impl Text for Port {}

#[diagnostic::do_not_recommend]
impl Of<Port> for u16 {
    fn checked(self) -> Port {
        Port::new(self)
    }
}

/// Where traffic goes in a pod: to a port of that name or number.
///
/// A literal or a number may stand for it: `Probe::http("/healthz", "http")`, `Probe::tcp(5432)`.
///
/// ```
/// # use kprov::build::*;
/// assert_eq!(Probe::tcp(5432), Probe::tcp("5432"));
/// assert_eq!("http".parse(), Ok(Target::Name("http".parse()?)));
/// # Ok::<(), Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The port that the container calls so.
    Name(PortName),
    /// The port of that number.
    Number(Port),
}

impl FromStr for Target {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().map(Self::Number)
        } else {
            text.parse().map(Self::Name)
        }
    }
}

impl Text for Target {}

#[diagnostic::do_not_recommend]
impl Of<Target> for u16 {
    fn checked(self) -> Target {
        Target::Number(Port::new(self))
    }
}

#[diagnostic::do_not_recommend]
impl Of<Target> for Port {
    fn checked(self) -> Target {
        Target::Number(self)
    }
}

#[diagnostic::do_not_recommend]
impl Of<Target> for PortName {
    fn checked(self) -> Target {
        Target::Name(self)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl From<Target> for IntOrString {
    fn from(target: Target) -> Self {
        match target {
            Target::Name(name) => Self::String(name.into()),
            Target::Number(port) => Self::Int(port.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_or_a_number() {
        assert_eq!(IntOrString::from(Of::<Target>::checked("http")), IntOrString::String("http".to_owned()));
        assert_eq!(IntOrString::from(Of::<Target>::checked(8080)), IntOrString::Int(8080));
        assert!("70000".parse::<Target>().is_err());
    }
}
