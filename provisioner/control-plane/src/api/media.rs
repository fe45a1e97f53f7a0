//! Which representation a client wants of an answer.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, USER_AGENT};
use kprov_schema::Status;

use super::errors;
use super::query::Query;

/// How objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// What becomes of objects before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Nothing.
    Whole,
    /// They become rows.
    Table,
    /// Only their metadata is shown.
    Partial,
}

/// What the answer shall look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
    pub(crate) pretty: bool,
    pub(crate) gzip: bool,
}

impl Wanted {
    /// Plain JSON, as in answers to what is no resource.
    pub(crate) fn plain(headers: &HeaderMap, query: &Query) -> Self {
        Self { format: Format::Json, shape: Shape::Whole, pretty: pretty(headers, query), gzip: gzip(headers) }
    }

    /// What the `Accept` header asks for; `transforms` says whether tables and partial objects are on offer.
    pub(crate) fn read(headers: &HeaderMap, query: &Query, transforms: bool) -> Result<Self, Status> {
        let plain = Self::plain(headers, query);
        let Some(accept) = headers.get(ACCEPT).and_then(|value| value.to_str().ok()) else { return Ok(plain) };
        if accept.trim().is_empty() {
            return Ok(plain);
        }
        let mut offers: Vec<(f32, Format, Shape)> =
            accept.split(',').filter_map(|clause| offer(clause, transforms)).collect();
        // Stable: of equal weights the first counts.
        offers.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (_, format, shape) = offers.first().ok_or_else(errors::not_acceptable)?;
        Ok(Self { format: *format, shape: *shape, ..plain })
    }
}

fn offer(clause: &str, transforms: bool) -> Option<(f32, Format, Shape)> {
    let mut parts = clause.split(';').map(str::trim);
    let format = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Format::Json,
        "application/yaml" => Format::Yaml,
        _ => return None,
    };
    let (mut weight, mut shape, mut group, mut version) = (1.0, Shape::Whole, "meta.k8s.io", "v1");
    for part in parts {
        match part.split_once('=').unwrap_or((part, "")) {
            ("q", value) => weight = value.parse().ok()?,
            ("as", "Table") => shape = Shape::Table,
            ("as", "PartialObjectMetadata" | "PartialObjectMetadataList") => shape = Shape::Partial,
            ("as", _) => return None,
            ("g", value) => group = value,
            ("v", value) => version = value,
            _ => {}
        }
    }
    let fits = shape == Shape::Whole || (transforms && group == "meta.k8s.io" && ["v1", "v1beta1"].contains(&version));
    (fits && weight > 0.0).then_some((weight, format, shape))
}

/// People read what browsers, curl and wget get.
fn pretty(headers: &HeaderMap, query: &Query) -> bool {
    query.pretty().unwrap_or_else(|| {
        let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        ["curl", "Wget", "Mozilla/5.0"].iter().any(|reader| agent.starts_with(reader))
    })
}

fn gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|one| one.split(';').next().is_some_and(|name| name.trim() == "gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, want: Option<(Format, Shape)>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let got = Wanted::read(&headers, &Query::default(), true);
        assert_eq!(got.ok().map(|wanted| (wanted.format, wanted.shape)), want, "{accept}");
    }

    #[test]
    fn reads_what_is_accepted() {
        check("application/json", Some((Format::Json, Shape::Whole)));
        check("*/*", Some((Format::Json, Shape::Whole)));
        check("application/yaml", Some((Format::Yaml, Shape::Whole)));
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some((Format::Json, Shape::Table)));
        check("application/json;as=Table;v=v7;g=meta.k8s.io,application/json", Some((Format::Json, Shape::Whole)));
        check("application/vnd.kubernetes.protobuf,application/json", Some((Format::Json, Shape::Whole)));
        check("application/json;q=0.1,application/yaml;q=0.5", Some((Format::Yaml, Shape::Whole)));
        check("application/vnd.kubernetes.protobuf", None);
        check("application/cbor", None);
        check("text/html", None);
    }
}
