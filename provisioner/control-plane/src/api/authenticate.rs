//! Who sent a request: a client certificate, a token, or nobody.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use kprov_schema::Status;
use ring::digest::{SHA256, digest};
use x509_parser::prelude::parse_x509_certificate;

use super::core::Core;
use super::errors;
use super::user::{AUTHENTICATED, User};

/// The user of a client certificate that the authority signed: CN is the name, O are the groups.
pub(crate) fn of_certificate(der: &[u8]) -> Option<User> {
    let (_, certificate) = parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization().filter_map(|one| one.as_str().ok());
    let groups = groups.chain([AUTHENTICATED]).map(str::to_owned).collect();
    let hash: String = digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let extra = vec![("authentication.kubernetes.io/credential-id".to_owned(), format!("X509SHA256={hash}"))];
    Some(User { name, uid: String::new(), groups, extra })
}

/// The user of a request. `certificate` is the user of the connection's client certificate.
pub(crate) fn authenticate<'a>(
    core: &Core,
    headers: &HeaderMap,
    certificate: Option<&'a User>,
) -> Result<Cow<'a, User>, Status> {
    if let Some(user) = certificate {
        return Ok(Cow::Borrowed(user));
    }
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Cow::Owned(User::anonymous())) };
    let text = header.to_str().map_err(|_| errors::unauthorized())?;
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => token.trim(),
        // Another scheme says nothing that this server understands.
        _ => return Ok(Cow::Owned(User::anonymous())),
    };
    let now = core.world.clock.now().as_second();
    core.tokens.verify(token, now, &core.store).map(Cow::Owned).ok_or_else(errors::unauthorized)
}
