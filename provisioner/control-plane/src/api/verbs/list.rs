//! Lists a collection, whole or in pages.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kprov_schema::{Key, Revision, Status};
use serde::{Deserialize, Serialize};

use super::get::reach;
use crate::api::core::Core;
use crate::api::errors;
use crate::api::query::{ListOptions, Moment};
use crate::api::target::{Selector, Target};
use crate::store::{Page, Prefix, ReadError, StoreKey, Stored};

/// A page of a collection.
pub(crate) struct Listing {
    /// The objects.
    pub(crate) items: Vec<Arc<Stored>>,
    /// The revision that they are of.
    pub(crate) revision: Revision,
    /// Token for the next page.
    pub(crate) next: Option<String>,
    /// How many more there are; only known without a selector.
    pub(crate) remaining: Option<usize>,
}

/// What a continue token holds.
#[derive(Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

/// Lists a collection.
pub(crate) async fn list(core: &Core, target: &Target, options: &ListOptions) -> Result<Listing, Status> {
    let selector = Selector::read(&target.kind, options)?;
    let places = target.places(selector.only_name());
    let token = options.next.as_deref().map(read_token).transpose()?;
    let after = token.as_ref().and_then(|token| place_of(target, &token.start));
    let at = match (&token, options.moment) {
        (Some(token), _) => u64::try_from(token.rv).ok().map(Revision),
        (None, Moment::Exact(revision)) => Some(revision),
        (None, Moment::NotOlder(revision)) => {
            reach(core, revision).await?;
            None
        }
        (None, Moment::Newest) => None,
    };
    if let Some(revision) = at {
        reach(core, revision).await?;
    }
    let page = read(core, &places, after.as_ref(), options.limit, at, &selector).map_err(|error| match &token {
        Some(token) if matches!(error, ReadError::Compacted { .. }) => too_old(token),
        _ => errors::unreadable(error),
    })?;
    let next = page.more.then(|| page.items.last()).flatten().map(|last| write_token(target, page.revision, last));
    let remaining = (page.more && selector.is_everything()).then_some(page.remaining);
    Ok(Listing { items: page.items, revision: page.revision, next, remaining })
}

/// A page of what is selected; with a selector, pages of the store are read until enough is found.
fn read(
    core: &Core,
    places: &Prefix,
    after: Option<&StoreKey>,
    limit: Option<usize>,
    at: Option<Revision>,
    selector: &Selector,
) -> Result<Page, ReadError> {
    if selector.is_everything() {
        let mut page = core.store.list(places, after, limit, at)?;
        page.items = page.items.into_iter().map(|stored| selector.served(stored)).collect();
        return Ok(page);
    }
    let mut page = core.store.list(places, after, None, at)?;
    let total = page.items.len();
    let wanted = limit.unwrap_or(usize::MAX);
    let mut seen = 0;
    let mut items = Vec::new();
    for stored in page.items {
        if items.len() == wanted {
            break;
        }
        seen += 1;
        let stored = selector.served(stored);
        if selector.selects(&stored.object) {
            items.push(stored);
        }
    }
    page.more = seen < total;
    page.remaining = total - seen;
    page.items = items;
    Ok(page)
}

fn place_of(target: &Target, start: &str) -> Option<StoreKey> {
    let start = start.strip_suffix('\0').unwrap_or(start);
    let key = match start.split_once('/') {
        Some((namespace, name)) => Key::new(namespace, name),
        None => Key::new(target.key.namespace.clone(), start),
    };
    (!key.name.is_empty()).then(|| StoreKey::new(target.kind.stored_resource(), &key))
}

fn write_token(target: &Target, revision: Revision, last: &Stored) -> String {
    let key = last.key.key();
    let start = if target.key.namespace.is_empty() { key.to_string() } else { key.name };
    let rv = i64::try_from(revision.0).unwrap_or(i64::MAX);
    encode(&Token { v: "meta.k8s.io/v1".to_owned(), rv, start: format!("{start}\0") })
}

fn encode(token: &Token) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(token).expect("three plain fields serialize"))
}

fn read_token(text: &str) -> Result<Token, Status> {
    let bad = |why: String| errors::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|error| bad(error.to_string()))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|error| match bytes.first() {
        Some(first) if !first.is_ascii() => {
            bad(format!("invalid character '\\u{first:04x}' looking for beginning of value"))
        }
        _ => bad(error.to_string()),
    })?;
    if token.v != "meta.k8s.io/v1" {
        return Err(bad(format!("server does not recognize this encoded version {:?}", token.v)));
    }
    if token.start.is_empty() {
        return Err(bad("encoded start key empty, invalid".to_owned()));
    }
    Ok(token)
}

/// The page's moment is gone; the token in the answer goes on with the newest.
fn too_old(token: &Token) -> Status {
    const MESSAGE: &str = "The provided continue parameter is too old to display a consistent list result. You can \
                           start a new list without the continue parameter, or use the continue token in this \
                           response to retrieve the remainder of the results. Continuing with the provided token \
                           results in an inconsistent list - objects that were created, modified, or deleted between \
                           the time the first chunk was returned and now may show up in the list.";
    let fresh = Token { v: token.v.clone(), rv: -1, start: token.start.clone() };
    Status { next: Some(encode(&fresh)), ..errors::expired(MESSAGE) }
}
