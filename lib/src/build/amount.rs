//! Amounts with units: processor time, bytes, shares, ports and whole seconds.

mod port;
mod quantity;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

pub use port::{Port, Target};
pub use quantity::{Bytes, Cpu};

use super::text::{Invalid, Of, Text};

/// A share of a number, in per cent.
///
/// ```
/// # use kprov::build::*;
/// assert_eq!(Percent::new(25).to_string(), "25%");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// That many hundredths, 0 to 100.
    ///
    /// Panics beyond 100, in a `const` while the program is compiled: `const { Percent::new(25) }`.
    #[must_use]
    #[track_caller]
    pub const fn new(percent: u16) -> Self {
        assert!(percent <= 100, "a share is 0 to 100 per cent");
        Self(percent)
    }

    /// The hundredths.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert_eq!(Percent::new(25).number(), 25);
    /// ```
    #[must_use]
    pub fn number(self) -> i32 {
        i32::from(self.0)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// A number of pods, or a share of those that are wanted.
///
/// A number, a [`Percent`] or a literal may stand for it: `rolling(1, "25%")`.
///
/// ```
/// # use kprov::build::*;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).rolling(Percent::new(50), 0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Portion {
    /// That many.
    Count(u16),
    /// That share of them.
    Share(Percent),
}

impl Portion {
    /// Whether it is nothing, whatever it is a share of.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!(Portion::Share(Percent::new(0)).is_zero() && !Portion::Count(1).is_zero());
    /// ```
    #[must_use]
    pub const fn is_zero(self) -> bool {
        matches!(self, Self::Count(0) | Self::Share(Percent(0)))
    }

    /// How far a rolling change may go above and below the number that is wanted.
    #[track_caller]
    pub(super) fn step(surge: Self, unavailable: Self) -> (IntOrString, IntOrString) {
        let stuck = surge.is_zero() && unavailable.is_zero();
        assert!(!stuck, "with surge and unavailable both 0 no pod can ever be replaced: allow 1 of either");
        (surge.into(), unavailable.into())
    }
}

impl FromStr for Portion {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = || Invalid {
            what: "portion",
            text: text.to_owned(),
            why: "write a number, or a share such as 25%".to_owned(),
        };
        match text.strip_suffix('%') {
            Some(share) => match share.parse() {
                Ok(share) if share <= 100 => Ok(Self::Share(Percent(share))),
                _ => Err(invalid()),
            },
            None => text.parse().map(Self::Count).map_err(|_| invalid()),
        }
    }
}

impl Text for Portion {}

#[diagnostic::do_not_recommend]
impl Of<Portion> for u16 {
    fn checked(self) -> Portion {
        Portion::Count(self)
    }
}

#[diagnostic::do_not_recommend]
impl Of<Portion> for Percent {
    fn checked(self) -> Portion {
        Portion::Share(self)
    }
}

impl From<Portion> for IntOrString {
    fn from(portion: Portion) -> Self {
        match portion {
            Portion::Count(count) => Self::Int(i32::from(count)),
            Portion::Share(share) => Self::String(share.to_string()),
        }
    }
}

/// A time that Kubernetes counts in whole seconds.
///
/// ```
/// # use kprov::build::*;
/// use std::time::Duration;
/// let web = Deployment::new("web", Container::new("web", "nginx:1.27")).min_ready(Duration::from_secs(5));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no duration",
    label = "write `Duration::from_secs(..)`",
    note = "a bare number has no unit; `use std::time::Duration;`"
)]
pub trait Time {
    /// How many seconds it has.
    ///
    /// Panics when it has parts of a second, or more of them than the field holds.
    ///
    /// ```
    /// # use kprov::build::*;
    /// use std::time::Duration;
    /// assert_eq!(Duration::from_secs(90).whole_seconds::<i32>(), 90);
    /// ```
    #[track_caller]
    fn whole_seconds<N: TryFrom<u64>>(self) -> N;
}

#[diagnostic::do_not_recommend]
impl Time for Duration {
    fn whole_seconds<N: TryFrom<u64>>(self) -> N {
        assert!(
            self.subsec_nanos() == 0,
            "{self:?} is no whole number of seconds, and Kubernetes counts in seconds here"
        );
        N::try_from(self.as_secs()).unwrap_or_else(|_| panic!("{self:?} is longer than Kubernetes can count here"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_a_number_or_a_share() {
        assert_eq!(IntOrString::from(Of::<Portion>::checked("25%")), IntOrString::String("25%".to_owned()));
        assert_eq!(IntOrString::from(Of::<Portion>::checked(1)), IntOrString::Int(1));
        assert!("101%".parse::<Portion>().is_err());
    }

    #[test]
    #[should_panic(expected = "500ms is no whole number of seconds")]
    fn parts_of_a_second_are_not_lost() {
        let _: i32 = Duration::from_millis(500).whole_seconds();
    }
}
