//! Texts that are parsed once: names, label keys and values, images, schedules.
//!
//! A literal in the program may stand for each of them (`Deployment::new("web", ..)`); it is checked where it is
//! written, and a mistake panics with what to write instead. Text that comes from outside is parsed first, so that the
//! program says what to do about a mistake: `text.parse::<Name>()?`.

use std::borrow::Cow;
use std::str::FromStr;

use kprov_schema::{cron, image, names};

/// Why a text is not what it should be.
///
/// ```
/// # use kprov::build::*;
/// let error = "Web_1".parse::<Name>().unwrap_err();
/// assert!(error.to_string().starts_with("\"Web_1\" is no name of an object: a lowercase RFC 1123 subdomain"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {why}")]
pub struct Invalid {
    /// What it should have been.
    pub what: &'static str,
    /// The text.
    pub text: String,
    /// What is wrong with it, in the server's words.
    pub why: String,
}

/// A type whose values are texts that keep a rule. Only this crate's types are.
///
/// ```
/// # use kprov::build::*;
/// fn shout<T: Text + ToString>(text: T) -> String {
///     text.to_string().to_uppercase()
/// }
/// assert_eq!(shout(Name::literal("web")), "WEB");
/// ```
pub trait Text: FromStr<Err = Invalid> + Clone {}

/// What can stand for a checked `T`: a `T`, a reference to one, or a literal text, which is checked on the spot.
///
/// ```
/// use kprov::build::*;
/// let from_outside = String::from("web");
/// let name: Name = from_outside.parse()?;
/// let web = Deployment::new(name, Container::new("nginx", "nginx:1.27"));
/// # Ok::<(), Invalid>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't stand for a checked `{T}`",
    label = "neither a `{T}` nor a literal",
    note = "text that is not a literal is parsed first, so that a mistake in it is an error: `text.parse::<{T}>()?`",
    note = "amounts are made with their unit: `Cpu::millis(250)`, `Bytes::mib(64)`, `Percent::new(25)`"
)]
pub trait Of<T> {
    /// The checked value.
    ///
    /// Panics when a literal breaks the rule: that is a mistake in the program, not in its input.
    ///
    /// ```
    /// # use kprov::build::*;
    /// let name: Name = "web".checked();
    /// assert_eq!(name.as_str(), "web");
    /// ```
    #[track_caller]
    fn checked(self) -> T;
}

#[diagnostic::do_not_recommend]
impl<T: Text> Of<T> for T {
    fn checked(self) -> T {
        self
    }
}

#[diagnostic::do_not_recommend]
impl<T: Text> Of<T> for &T {
    fn checked(self) -> T {
        self.clone()
    }
}

#[diagnostic::do_not_recommend]
impl<T: Text> Of<T> for &'static str {
    fn checked(self) -> T {
        self.parse().unwrap_or_else(|error: Invalid| panic!("{error}"))
    }
}

/// Declares a type of texts, the rule that they keep, and how a mistake calls them.
macro_rules! text {
    ($(#[$meta:meta])* $name:ident, $what:literal, $rule:expr) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::borrow::Cow<'static, str>);

        impl $name {
            /// The text.
            ///
            /// ```
            /// # use kprov::build::*;
            /// let image: Image = "nginx:1.27".checked();
            /// assert_eq!(image.as_str(), "nginx:1.27");
            /// ```
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::build::Invalid;

            fn from_str(text: &str) -> Result<Self, $crate::build::Invalid> {
                text.to_owned().try_into()
            }
        }

        impl TryFrom<String> for $name {
            type Error = $crate::build::Invalid;

            fn try_from(text: String) -> Result<Self, $crate::build::Invalid> {
                let rule: fn(&str) -> Vec<String> = $rule;
                match rule(&text).join("; ") {
                    why if why.is_empty() => Ok(Self(std::borrow::Cow::Owned(text))),
                    why => Err($crate::build::Invalid { what: $what, text, why }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl From<$name> for String {
            fn from(text: $name) -> String {
                text.0.into_owned()
            }
        }

        impl $crate::build::text::Text for $name {}
    };
}
pub(super) use text;

text! {
    /// The name of an object: a DNS subdomain of at most 253 characters.
    ///
    /// ```
    /// use kprov::build::Name;
    /// const WEB: Name = Name::literal("web");
    /// assert_eq!(WEB, "web".parse()?);
    /// assert!("Web_1".parse::<Name>().unwrap_err().to_string().contains("lower case alphanumeric"));
    /// # Ok::<(), kprov::build::Invalid>(())
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>
    Name, "name of an object", names::dns1123_subdomain
}

impl Name {
    /// A name that is checked when the program is compiled: `const { Name::literal("web") }`.
    ///
    /// Panics, which in a `const` is an error of the compiler, when it is none.
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        assert!(
            names::is_dns1123_subdomain(text),
            "a name consists of lower case letters, digits, '-' and '.', and starts and ends with a letter or digit"
        );
        Self(Cow::Borrowed(text))
    }
}

text! {
    /// A DNS label of at most 63 characters: the name of a container, a volume, a namespace, a service or a host.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("web-1".parse::<DnsLabel>().is_ok());
    /// assert!("web.1".parse::<DnsLabel>().is_err());
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>
    DnsLabel, "DNS label", names::dns1123_label
}

impl DnsLabel {
    /// A label that is checked when the program is compiled: `const { DnsLabel::literal("web") }`.
    ///
    /// Panics, which in a `const` is an error of the compiler, when it is none.
    ///
    /// ```
    /// # use kprov::build::*;
    /// const WEB: DnsLabel = DnsLabel::literal("web");
    /// let web = Container::new(WEB, "nginx:1.27");
    /// ```
    #[must_use]
    pub const fn literal(text: &'static str) -> Self {
        assert!(
            names::is_dns1123_label(text),
            "a DNS label is at most 63 lower case letters, digits and '-', and starts and ends with a letter or digit"
        );
        Self(Cow::Borrowed(text))
    }
}

impl From<DnsLabel> for Name {
    fn from(label: DnsLabel) -> Self {
        Self(label.0)
    }
}

text! {
    /// The key of a label, an annotation, a taint or a node's property: `app` or `example.com/owner`.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("example.com/owner".parse::<Key>().is_ok());
    /// assert!("owner of it".parse::<Key>().is_err());
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
    Key, "key of a label", names::qualified
}

text! {
    /// The value of a label: at most 63 letters, digits, `-`, `_` and `.`; it may be empty.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("v1.2".parse::<LabelValue>().is_ok());
    /// assert!("first, second".parse::<LabelValue>().is_err());
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
    LabelValue, "value of a label", names::label_value
}

text! {
    /// The key of a text in a config map or a secret, which is also its file name in a volume.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("nginx.conf".parse::<DataKey>().is_ok());
    /// assert!("conf/nginx".parse::<DataKey>().is_err());
    /// ```
    DataKey, "key of a config map or secret", names::config_map_key
}

text! {
    /// The name of an environment variable.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("POD_IP".parse::<EnvName>().is_ok());
    /// assert!("POD=IP".parse::<EnvName>().is_err());
    /// ```
    EnvName, "name of an environment variable", names::env_var
}

text! {
    /// The name of a port: at most 15 lower case letters, digits and `-`.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("http".parse::<PortName>().is_ok());
    /// assert!("8080".parse::<PortName>().is_err());
    /// ```
    PortName, "name of a port", names::port_name
}

text! {
    /// A container image: `nginx:1.27`, `registry.example.com:5000/shop/web@sha256:…`.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("registry.example.com:5000/shop/web:1".parse::<Image>().is_ok());
    /// assert!("Nginx".parse::<Image>().is_err());
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/containers/images/#image-names>
    Image, "container image", |text| match image::parse(text) {
        Some(_) => Vec::new(),
        None => vec!["write name:tag, such as nginx:1.27, with the registry in front: registry.example.com/shop/web:1".to_owned()],
    }
}

text! {
    /// When a cron job starts: `*/5 * * * *` or `@daily`. The time zone has its own place.
    ///
    /// ```
    /// # use kprov::build::*;
    /// assert!("*/5 * * * *".parse::<Schedule>().is_ok());
    /// assert!("5 minutes".parse::<Schedule>().is_err());
    /// ```
    /// Source: <https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax>
    Schedule, "schedule", |text| match cron::parse(text) {
        _ if text.contains("TZ") => vec!["the time zone is set with `time_zone(\"Europe/Berlin\")`".to_owned()],
        Ok(_) => Vec::new(),
        Err(why) => vec![format!("{why} (write minute, hour, day, month and weekday, such as 30 4 * * mon)")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_is_parsed_and_says_what_is_wrong() {
        let error = "a.b".parse::<DnsLabel>().unwrap_err();
        assert_eq!(error.to_string(), "\"a.b\" is no DNS label: must not contain dots");
        assert!("ngi nx".parse::<Image>().unwrap_err().to_string().contains("write name:tag"));
        assert!("61 * * * *".parse::<Schedule>().is_err());
        assert!("TZ=UTC 1 * * * *".parse::<Schedule>().unwrap_err().to_string().contains("time_zone"));
        assert_eq!(serde_json::from_str::<Name>("\"web\"").unwrap(), Name::literal("web"));
        assert!(serde_json::from_str::<Name>("\"Web\"").is_err());
    }

    #[test]
    #[should_panic(expected = "\"Web\" is no name of an object: a lowercase RFC 1123 subdomain")]
    fn a_literal_that_is_wrong_is_a_mistake_of_the_program() {
        let _: Name = "Web".checked();
    }
}
