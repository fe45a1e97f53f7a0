//! Acting as somebody else, for those who may.
//!
//! Source: <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>

use http::HeaderMap;
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
const ACCOUNT: &str = "system:serviceaccount:";

/// The user that a request is to be carried out as; `None` when it is the one who sent it.
///
/// Errors: 403 when the sender may not act as the user, or as one of the groups, that is named.
pub(crate) fn impersonated(core: &Core, sender: &User, headers: &HeaderMap) -> Result<Option<User>, Status> {
    let texts = |name: &str| -> Vec<String> {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.map(str::to_owned).collect()
    };
    let (name, uid, mut groups) =
        (texts(USER).pop().unwrap_or_default(), texts(UID).pop().unwrap_or_default(), texts(GROUP));
    let extra: Vec<(String, String)> = headers
        .iter()
        .filter_map(|(header, value)| {
            Some((decode(header.as_str().strip_prefix(EXTRA)?).into_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect();
    if name.is_empty() {
        if uid.is_empty() && groups.is_empty() && extra.is_empty() {
            return Ok(None);
        }
        return Err(errors::internal("requested [{UID  ...}] without impersonating a user"));
    }
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
