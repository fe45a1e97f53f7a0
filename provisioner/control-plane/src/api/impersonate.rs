//! Acting as somebody else, for those who may.
//!
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use kprov_schema::Status;

use super::authorize::{Attributes, authorize};
use super::core::Core;
use super::errors;
use super::path::{Place, decode};
use super::user::{AUTHENTICATED, User};

const USER: &str = "impersonate-user";
const UID: &str = "impersonate-uid";
const GROUP: &str = "impersonate-group";
const EXTRA: &str = "impersonate-extra-";
const IDENTITY: &str = "authentication.k8s.io";
const VERSION: &str = "authentication.k8s.io/v1";
const ACCOUNT: &str = "system:serviceaccount:";

/// What the headers ask for.
#[derive(Default)]
struct Wanted {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: Vec<(String, String)>,
}

impl Wanted {
    /// Reads the headers. Errors: 400 when one can't be read, which must not be taken for one that is not there.
    fn read(headers: &HeaderMap) -> Result<Self, Status> {
        let mut wanted = Self::default();
        for (header, value) in headers {
            let text = || text(header, value);
            match header.as_str() {
                // Of several the first counts.
                USER if wanted.name.is_empty() => wanted.name = text()?,
                UID if wanted.uid.is_empty() => wanted.uid = text()?,
                GROUP => wanted.groups.push(text()?),
                other => {
                    if let Some(key) = other.strip_prefix(EXTRA) {
                        wanted.extra.push((decode(key).into_owned(), text()?));
                    }
                }
            }
        }
        Ok(wanted)
    }

    /// What is asked for beside the user, as Go prints it.
    fn shown(&self) -> String {
        let group = |name: &String| format!("{{Group  {name}    }}");
        let extra = |(key, value): &(String, String)| format!("{{UserExtra  {value}  {VERSION}  {key}}}");
        let uid = (!self.uid.is_empty()).then(|| format!("{{UID  {}  {VERSION}  }}", self.uid));
        let all: Vec<String> = self.groups.iter().map(group).chain(self.extra.iter().map(extra)).chain(uid).collect();
        all.join(" ")
    }
}

/// A value as it was sent: Go takes every byte, and names are UTF-8.
fn text(header: &HeaderName, value: &HeaderValue) -> Result<String, Status> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned).map_err(|_| errors::bad_request(format!("the header {header} is not UTF-8")))
}

/// The user that a request is to be carried out as; `None` when it is the one who sent it.
///
/// Errors: 403 when the sender may not act as the user, or as one of the groups, that is named; 400 when the headers can't
/// be read.
pub(crate) fn impersonated(core: &Core, sender: &User, headers: &HeaderMap) -> Result<Option<User>, Status> {
    let wanted = Wanted::read(headers)?;
    if wanted.name.is_empty() {
        let shown = wanted.shown();
        let refused = || errors::bad_request(format!("requested [{shown}] without impersonating a user"));
        return if shown.is_empty() { Ok(None) } else { Err(refused()) };
    }
    let Wanted { name, uid, mut groups, extra } = wanted;
    let account = name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, account)) => ask(core, sender, "", "serviceaccounts", namespace, account, "")?,
        None => ask(core, sender, "", "users", "", &name, "")?,
    }
    for group in &groups {
        ask(core, sender, "", "groups", "", group, "")?;
    }
    if !uid.is_empty() {
        ask(core, sender, IDENTITY, "uids", "", &uid, "")?;
    }
    for (key, value) in &extra {
        ask(core, sender, IDENTITY, "userextras", "", value, key)?;
    }
    if let Some((namespace, _)) = account.filter(|_| groups.is_empty()) {
        groups.extend(["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]);
    }
    let known = if name == "system:anonymous" { "system:unauthenticated" } else { AUTHENTICATED };
    if !groups.iter().any(|group| group == known) {
        groups.push(known.to_owned());
    }
    Ok(Some(User { name, uid, groups, extra }))
}

fn ask(
    core: &Core,
    sender: &User,
    group: &str,
    plural: &str,
    namespace: &str,
    name: &str,
    part: &str,
) -> Result<(), Status> {
    let place = Place {
        group: group.to_owned(),
        version: "v1".to_owned(),
        namespace: namespace.to_owned(),
        plural: plural.to_owned(),
        name: name.to_owned(),
        subresource: part.to_owned(),
        ..Place::default()
    };
    authorize(core, sender, &Attributes { verb: "impersonate".into(), place, ..Attributes::default() })
}
