//! The parts that objects can have.

/// Declares the parts with the last segment of their paths, so that there is none without one.
macro_rules! parts {
    ($($(#[$doc:meta])+ $part:ident = $name:literal,)+) => {
        /// Parts of an object that have a path of their own below it.
        ///
        /// ```
        /// use kprov_schema::Subresource;
        ///
        /// assert_eq!(Subresource::parse("scale"), Some(Subresource::Scale));
        /// assert_eq!(Subresource::EphemeralContainers.name(), "ephemeralcontainers");
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Subresource {
            $($(#[$doc])+ $part,)+
        }

        impl Subresource {
            /// The last segment of its path.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$part => $name,)+
                }
            }

            /// The part whose path ends so.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$part),)+
                    _ => None,
                }
            }
        }
    };
}

parts! {
    /// What is observed of the object.
    Status = "status",
    /// How many replicas are wanted and run, in the same form for all kinds.
    Scale = "scale",
    /// Ties a pod to a node.
    Binding = "binding",
    /// Deletes a pod if its disruption budget lets it go.
    Eviction = "eviction",
    /// What a container wrote.
    Log = "log",
    /// Runs a command in a container.
    Exec = "exec",
    /// Listens and speaks to a container.
    Attach = "attach",
    /// Reaches ports inside of a pod.
    PortForward = "portforward",
    /// Passes requests on to a pod.
    Proxy = "proxy",
    /// Grants a token of a service account.
    Token = "token",
    /// What holds a namespace until its contents are gone.
    Finalize = "finalize",
    /// Containers that are added to a running pod.
    EphemeralContainers = "ephemeralcontainers",
    /// What the containers of a running pod are given.
    Resize = "resize",
    /// Whether a request for a certificate is approved or denied.
    Approval = "approval",
}
