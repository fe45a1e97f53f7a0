//! What every builder is: the k8s-openapi struct itself, with better hands.

/// Conversions between a builder and its struct: nothing is lost on the way down or up.
///
/// A builder whose struct is followed by fields of its own names their first values.
macro_rules! conversions {
    ($name:ident, $raw:ty $(, $rest:expr)*) => {
        impl From<$raw> for $name {
            fn from(raw: $raw) -> Self {
                Self(raw $(, $rest)*)
            }
        }

        impl From<$name> for $raw {
            fn from(built: $name) -> Self {
                built.0
            }
        }

        impl AsRef<$raw> for $name {
            fn as_ref(&self) -> &$raw {
                &self.0
            }
        }

        impl AsMut<$raw> for $name {
            fn as_mut(&mut self) -> &mut $raw {
                &mut self.0
            }
        }

        impl $name {
            /// The k8s-openapi struct; `into()` gives it without a copy, `from` takes it back.
            ///
            /// ```
            /// # use kprov::build::*;
            /// let web = Namespace::new("web");
            /// assert_eq!(web.build(), web.into());
            /// ```
            #[must_use]
            pub fn build(&self) -> $raw {
                self.0.clone()
            }

            /// Changes the k8s-openapi struct by hand, for what has no method.
            ///
            /// ```
            /// # use kprov::build::*;
            /// let web = Namespace::new("web").edit(|raw| raw.metadata.generate_name = Some("web-".to_owned()));
            /// ```
            #[must_use]
            pub fn edit(mut self, change: impl FnOnce(&mut $raw)) -> Self {
                change(&mut self.0);
                self
            }
        }
    };
}

/// Declares a builder of a part of an object.
macro_rules! part {
    ($(#[$meta:meta])* $name:ident($raw:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name(pub(in crate::build) $raw);

        $crate::build::wraps::conversions!($name, $raw);
    };
}

/// Declares a builder of an object: `namespaced` or `cluster`-wide. It goes wherever its struct goes.
macro_rules! object {
    ($(#[$meta:meta])* $scope:ident $name:ident($raw:ty)) => {
        $crate::build::wraps::part! {
            $(#[$meta])*
            $name($raw)
        }
        $crate::build::wraps::object!(@ $scope $name $raw);

        impl k8s_openapi::Resource for $name {
            const API_VERSION: &'static str = <$raw as k8s_openapi::Resource>::API_VERSION;
            const GROUP: &'static str = <$raw as k8s_openapi::Resource>::GROUP;
            const KIND: &'static str = <$raw as k8s_openapi::Resource>::KIND;
            const VERSION: &'static str = <$raw as k8s_openapi::Resource>::VERSION;
            const URL_PATH_SEGMENT: &'static str = <$raw as k8s_openapi::Resource>::URL_PATH_SEGMENT;
            type Scope = <$raw as k8s_openapi::Resource>::Scope;
        }

        impl k8s_openapi::Metadata for $name {
            type Ty = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

            fn metadata(&self) -> &Self::Ty {
                &self.0.metadata
            }

            fn metadata_mut(&mut self) -> &mut Self::Ty {
                &mut self.0.metadata
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$raw>::deserialize(deserializer).map(Self)
            }
        }

        impl $crate::build::Object for $name {
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.0.metadata
            }

            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.0.metadata
            }
        }
    };
    (@ namespaced $name:ident $raw:ty) => {
        #[diagnostic::do_not_recommend]
        impl $crate::build::Namespaced for $name {}
    };
    (@ cluster $name:ident $raw:ty) => {};
}

pub(super) use {conversions, object, part};
