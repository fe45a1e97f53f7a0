//! What can go wrong between a program and a cluster, each with who was asked, why, and what to do next.

use std::fmt;

use kprov_schema::Status;

use super::conflict::Conflict;
use super::report::Report;
use super::wait::NotReady;

/// Why a cluster could not be asked, or what it answered.
///
/// ```
/// use kprov::client::ClientError;
///
/// /// Whether another try may help without a person in between.
/// fn may_pass(error: &ClientError) -> bool {
///     match error {
///         ClientError::Unreachable { .. } | ClientError::NotReady(_) => true,
///         ClientError::Api(answer) => answer.code() >= 500,
///         _ => false,
///     }
/// }
/// ```
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The kubeconfig, the pod's service account or what was given by hand can't be used.
    #[error("{what}: {why}; {next}")]
    Setup {
        /// What can't be used.
        what: String,
        /// What is wrong with it.
        why: String,
        /// What to do about it.
        next: String,
    },
    /// The server could not be reached, or broke off.
    #[error("{doing}: can't reach {peer}: {why}; {next}")]
    Unreachable {
        /// What was to be done.
        doing: String,
        /// Who was asked.
        peer: Box<Peer>,
        /// What happened.
        why: String,
        /// What to do about it.
        next: String,
        /// The error of the connection.
        #[source]
        source: Box<kube::Error>,
    },
    /// The server answered with an error.
    #[error(transparent)]
    Api(Box<ApiError>),
    /// The object is of a kind that neither kprov nor the server knows.
    #[error(
        "{peer} serves no kind {kind} of {api_version}: is the apiVersion right, or does a CustomResourceDefinition have to be installed first?"
    )]
    UnknownKind {
        /// `apiVersion` of the object.
        api_version: String,
        /// `kind` of the object.
        kind: String,
        /// Who was asked.
        peer: Peer,
    },
    /// The object can't be sent as it is.
    #[error("{object}: {why}")]
    Object {
        /// Which object.
        object: String,
        /// What is wrong with it.
        why: String,
    },
    /// Some objects could not be applied or deleted; the report has all of them.
    #[error("{0}")]
    Incomplete(Box<Report>),
    /// Something was not ready in time, or never will be.
    #[error("{0}")]
    NotReady(Box<NotReady>),
    /// Fields of the object belong to other managers.
    #[error("{0}")]
    Conflict(Box<Conflict>),
}

/// Who is asked, and as whom.
///
/// ```
/// let peer = kprov::client::Peer { server: "https://127.0.0.1:6443".to_owned(), user: "ada".to_owned() };
/// assert_eq!(peer.to_string(), "https://127.0.0.1:6443 as ada");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Address of the server, such as `https://127.0.0.1:6443`.
    pub server: String,
    /// Name of the user in the kubeconfig, or what stands for one.
    pub user: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} as {}", self.server, self.user)
    }
}

/// The server's answer when it says no.
///
/// ```
/// use kprov::client::ApiError;
///
/// fn told(answer: &ApiError) -> String {
///     let next = answer.next_step().unwrap_or("ask who runs the cluster");
///     format!("{} {}: {next}", answer.code(), answer.reason())
/// }
/// ```
#[derive(Clone, Debug, thiserror::Error)]
pub struct ApiError {
    /// What was to be done, such as `create Pod default/web`.
    pub doing: String,
    /// Who was asked.
    pub peer: Peer,
    /// The answer itself.
    pub status: Status,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { doing, peer, status } = self;
        write!(f, "{doing}: {} ({} {} from {peer})", status.message, status.code, status.reason)?;
        match self.next_step() {
            Some(next) => write!(f, "; {next}"),
            None => Ok(()),
        }
    }
}

/// What to do about an answer, by its code and reason; the first row that fits counts.
const NEXT: &[(u16, &str, &str)] = &[
    (401, "", "the server does not take these credentials: log in again, or choose another context"),
    (403, "", "ask for a role that allows it, or choose another context"),
    (404, "", "is the name, the namespace and the context the right one?"),
    (409, "AlreadyExists", "use `apply` or `replace` to change what is there"),
    (409, "Conflict", "it was changed by someone else: read it again and repeat"),
    (410, "", "the history asked for is gone: list again"),
    (413, "", "objects have at most 3 MiB"),
    (429, "", "the server is busy: try again later"),
    (500, "", "the server's log says more"),
    (503, "", "the server is not ready: try again later"),
];

impl ApiError {
    /// The HTTP code, such as 404.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.status.code
    }

    /// The reason for programs, such as `NotFound`; empty when the server gave none.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.status.reason
    }

    /// What to do about it, where there is something.
    #[must_use]
    pub fn next_step(&self) -> Option<&'static str> {
        let fits = |(code, reason, _): &&(u16, &str, &str)| {
            *code == self.code() && (reason.is_empty() || *reason == self.reason())
        };
        NEXT.iter().find(fits).map(|(_, _, next)| *next)
    }
}

impl ClientError {
    /// The server's answer, when that is what it is.
    ///
    /// ```
    /// use kprov::client::ClientError;
    ///
    /// fn is_missing(error: &ClientError) -> bool {
    ///     error.api().is_some_and(|api| api.code() == 404)
    /// }
    /// ```
    #[must_use]
    pub fn api(&self) -> Option<&ApiError> {
        match self {
            Self::Api(error) => Some(error),
            _ => None,
        }
    }

    /// Whether the server said that there is no such object.
    ///
    /// ```
    /// use kprov::client::ClientError;
    ///
    /// fn is_gone<T>(read: &Result<T, ClientError>) -> bool {
    ///     read.as_ref().is_err_and(ClientError::is_not_found)
    /// }
    /// ```
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.api().is_some_and(|error| error.code() == 404)
    }
}

/// Why a connection failed, by what the errors below it say, and what to do about it.
const TROUBLE: &[(&str, &str, &str)] = &[
    ("Connection refused", "nothing listens there", "is the cluster up? `kprov status` shows the local ones"),
    ("failed to lookup address", "the name has no address", "check the server's name, and the name server"),
    ("dns error", "the name has no address", "check the server's name, and the name server"),
    ("UnknownIssuer", "its certificate is signed by an authority that is not trusted here", AUTHORITY),
    ("NotValidForName", "its certificate is made for another name", "use a name that the certificate has"),
    ("not valid for name", "its certificate is made for another name", "use a name that the certificate has"),
    ("Expired", "its certificate has expired", "renew it on the server, and check the clocks"),
    ("HandshakeFailure", "it refuses the client certificate", "get new credentials"),
    ("CertificateRequired", "it wants a client certificate", "get new credentials"),
    ("certificate unknown", "it refuses the client certificate", "get new credentials"),
    ("timed out", "it did not answer in time", "check the address, and what is between here and there"),
    ("deadline has elapsed", "it did not answer in time", "check the address, and what is between here and there"),
    ("Network is unreachable", "there is no way to it", "check the network"),
    ("No route to host", "there is no way to it", "check the network"),
    ("auth exec", "the program that gives the credentials failed", "run it by hand: the kubeconfig names it"),
    ("corrupt message", "it does not speak TLS", "check the port, and `http` or `https` in the address"),
];

const AUTHORITY: &str = "take the kubeconfig of this cluster again: it was made anew, or another server answers there";

/// Words for a failed connection: why, and what to do next.
pub(super) fn trouble(error: &kube::Error) -> (String, String) {
    let said = chain(error);
    match TROUBLE.iter().find(|(sign, _, _)| said.contains(sign)) {
        Some((_, why, next)) => ((*why).to_owned(), (*next).to_owned()),
        None => (said, "check the address and the network".to_owned()),
    }
}

/// An error with all that stands behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let text = source.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        next = source.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer() -> Peer {
        Peer { server: "https://10.0.0.1:6443".to_owned(), user: "admin".to_owned() }
    }

    #[test]
    fn an_answer_names_who_was_asked_and_what_to_do() {
        let status = Status::failure(403, "Forbidden", "pods is forbidden");
        let error = ApiError { doing: "list Pod".to_owned(), peer: peer(), status };
        let said = "list Pod: pods is forbidden (403 Forbidden from https://10.0.0.1:6443 as admin); ask for a role \
                    that allows it, or choose another context";
        assert_eq!(error.to_string(), said);
        assert_eq!((error.code(), error.reason()), (403, "Forbidden"));
    }

    #[test]
    fn what_happened_is_told_from_the_errors_below() {
        let cases = [
            ("tcp connect error: Connection refused (os error 111)", "nothing listens there"),
            ("invalid peer certificate: UnknownIssuer", "not trusted here"),
            ("received corrupt message of type InvalidContentType", "does not speak TLS"),
            ("something new", "something new"),
        ];
        for (below, why) in cases {
            let error = kube::Error::Service(std::io::Error::other(below).into());
            assert!(trouble(&error).0.contains(why), "{below}: {:?}", trouble(&error));
        }
    }
}
