//! Amounts with units: processor time, bytes, shares, ports and whole seconds.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kprov_schema::names;
use kprov_schema::quantity::Quantity as Amount;
use serde::{Deserialize, Serialize};

use super::text::{Invalid, Of, PortName, Text, text};

text! {
    /// Processor time: `250m` is a quarter of a core, `2` are two cores.
    ///
    /// ```
    /// use kprov::build::Cpu;
    /// assert_eq!(Cpu::millis(250), "250m".parse()?);
    /// assert!("64Mi".parse::<Cpu>().unwrap_err().to_string().contains("bytes"));
    /// # Ok::<(), kprov::build::Invalid>(())
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#meaning-of-cpu>
    Cpu, "amount of processor time", cpu
}

text! {
    /// An amount of memory or storage: `64Mi` are 64 × 2²⁰ bytes, `64M` are 64 × 10⁶.
    ///
    /// ```
    /// use kprov::build::Bytes;
    /// assert_eq!(Bytes::mib(64), "64Mi".parse()?);
    /// assert!("128m".parse::<Bytes>().unwrap_err().to_string().contains("128Mi"));
    /// # Ok::<(), kprov::build::Invalid>(())
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#meaning-of-memory>
    Bytes, "amount of bytes", bytes
}

fn amount(text: &str) -> Result<Amount, Vec<String>> {
    let amount = Amount::from_str(text).map_err(|error| vec![error.to_string()])?;
    if amount.sign() < 0 { Err(vec!["must be greater than or equal to 0".to_owned()]) } else { Ok(amount) }
}

fn cpu(text: &str) -> Vec<String> {
    match amount(text) {
        Err(wrong) => wrong,
        Ok(_) if text.ends_with(['i', 'k', 'M', 'G', 'T', 'P', 'E']) => {
            vec!["that counts bytes; write 250m for a quarter of a core, 2 for two cores".to_owned()]
        }
        Ok(amount) if !amount.is_whole_millis() => vec!["the smallest unit is 1m, a thousandth of a core".to_owned()],
        Ok(_) => Vec::new(),
    }
}

fn bytes(text: &str) -> Vec<String> {
    match amount(text) {
        Err(wrong) => wrong,
        Ok(amount) if amount.as_whole().is_none() => {
            let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
            vec![format!("m stands for thousandths, and no byte is divided; write {digits}Mi for 2^20 bytes each")]
        }
        Ok(_) => Vec::new(),
    }
}

impl Cpu {
    /// Thousandths of a core.
    #[must_use]
    pub fn millis(millis: u32) -> Self {
        Self(Cow::Owned(format!("{millis}m")))
    }

    /// Whole cores.
    #[must_use]
    pub fn cores(cores: u32) -> Self {
        Self(Cow::Owned(cores.to_string()))
    }
}

impl Bytes {
    /// Single bytes.
    #[must_use]
    pub fn exactly(bytes: u64) -> Self {
        Self(Cow::Owned(bytes.to_string()))
    }

    /// Units of 2¹⁰ bytes.
    #[must_use]
    pub fn kib(kib: u32) -> Self {
        Self(Cow::Owned(format!("{kib}Ki")))
    }

    /// Units of 2²⁰ bytes.
    #[must_use]
    pub fn mib(mib: u32) -> Self {
        Self(Cow::Owned(format!("{mib}Mi")))
    }

    /// Units of 2³⁰ bytes.
    #[must_use]
    pub fn gib(gib: u32) -> Self {
        Self(Cow::Owned(format!("{gib}Gi")))
    }
}

impl From<Cpu> for Quantity {
    fn from(cpu: Cpu) -> Self {
        Self(cpu.into())
    }
}

impl From<Bytes> for Quantity {
    fn from(bytes: Bytes) -> Self {
        Self(bytes.into())
    }
}

/// The number of a port, 1 to 65535.
///
/// A plain number may stand for it: `container.port("http", 8080)`.
///
/// ```
/// # use kprov::build::*;
/// const HTTP: Port = Port::new(8080);
/// let web = Container::new("web", "nginx:1.27").port("http", HTTP).port("metrics", 9090);
/// # let _ = web;
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
/// # let _ = web;
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
/// # let _ = web;
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
    fn amounts_are_not_mixed_up() {
        for fine in ["0", "250m", "0.5", "2", "1e1"] {
            assert_eq!(fine.parse::<Cpu>().unwrap().as_str(), fine);
        }
        for bad in ["64Mi", "1M", "0.0005", "-1", "", "one"] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad}");
        }
        for bad in ["100m", "0.5", "-1Gi", "1mi", "64 Mi"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        assert_eq!(Quantity::from(Bytes::gib(2)), Quantity("2Gi".to_owned()));
    }

    #[test]
    fn targets_and_portions() {
        assert_eq!(IntOrString::from(Of::<Target>::checked("http")), IntOrString::String("http".to_owned()));
        assert_eq!(IntOrString::from(Of::<Target>::checked(8080)), IntOrString::Int(8080));
        assert_eq!(IntOrString::from(Of::<Portion>::checked("25%")), IntOrString::String("25%".to_owned()));
        assert_eq!(IntOrString::from(Of::<Portion>::checked(1)), IntOrString::Int(1));
        assert!("101%".parse::<Portion>().is_err());
        assert!("70000".parse::<Target>().is_err());
    }

    #[test]
    #[should_panic(expected = "500ms is no whole number of seconds")]
    fn parts_of_a_second_are_not_lost() {
        let _: i32 = Duration::from_millis(500).whole_seconds();
    }
}
