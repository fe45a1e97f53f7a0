//! Documents that are no resource, such as the version or the server's health.

use http::{Method, Response};
use kprov_schema::Status;
use kprov_schema::version::{MINOR, RELEASE};
use serde_json::{Value, json};

use super::body::Body;
use super::core::Core;
use super::discovery;
use super::encode;
use super::handle::Asked;
use super::media::Wanted;
use super::path::Path;

/// Answers a request for a document.
pub(crate) fn answer(core: &Core, asked: &Asked<'_>, path: &Path) -> Result<Response<Body>, Status> {
    match path {
        Path::Other(text) => other(core, asked, text),
        _ => discovery::answer(core, asked, path),
    }
}

fn other(core: &Core, asked: &Asked<'_>, path: &str) -> Result<Response<Body>, Status> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let read = *asked.method == Method::GET || *asked.method == Method::HEAD;
    match segments.as_slice() {
        ["openapi", "v3", name @ ..] if read => Ok(discovery::schema(core, asked, &name.join("/"))),
        ["openapi", "v2"] if read => Ok(discovery::schema_2(core, asked)),
        ["version"] if read => Ok(encode::value(200, &version(), Wanted::plain(asked.headers, &asked.query))),
        [probe @ ("healthz" | "livez" | "readyz"), rest @ ..] if read && rest.len() < 2 => {
            Ok(health(core, asked, probe, rest.first().copied()))
        }
        _ => Ok(encode::text(404, "404 page not found\n")),
    }
}

fn version() -> Value {
    let (major, minor) = MINOR.split_once('.').expect("a minor version has two numbers");
    let before = minor.parse::<u32>().expect("the second is a number") - 1;
    json!({
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": before.to_string(), "gitVersion": RELEASE,
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

/// The machine's architecture, as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A named check of the server's health.
struct Check {
    name: &'static str,
    /// Whether only readiness depends on it.
    readiness: bool,
    passes: fn(&Core) -> bool,
}

const CHECKS: &[Check] = &[
    Check { name: "ping", readiness: false, passes: |_| true },
    Check { name: "store", readiness: false, passes: |core| core.store.failure().is_none() },
    Check { name: "bootstrap", readiness: true, passes: Core::is_bootstrapped },
    Check { name: "shutdown", readiness: true, passes: |core| !core.is_stopping() },
];

fn health(core: &Core, asked: &Asked<'_>, probe: &str, only: Option<&str>) -> Response<Body> {
    let excluded: Vec<&str> = asked.query.all("exclude").collect();
    let concerns = |check: &&Check| {
        (probe == "readyz" || !check.readiness)
            && only.is_none_or(|only| only == check.name)
            && !excluded.contains(&check.name)
    };
    let checks: Vec<&Check> = CHECKS.iter().filter(concerns).collect();
    if only.is_some() && checks.is_empty() {
        return encode::text(404, "404 page not found\n");
    }
    let mut lines = String::new();
    let mut healthy = true;
    for check in checks {
        let passes = (check.passes)(core);
        healthy &= passes;
        let line = if passes { format!("[+]{} ok\n", check.name) } else { format!("[-]{} failed\n", check.name) };
        lines.push_str(&line);
    }
    if !healthy {
        return encode::text(500, format!("{lines}{probe} check failed\n"));
    }
    if asked.query.get("verbose").is_some() && only.is_none() {
        return encode::text(200, format!("{lines}{probe} check passed\n"));
    }
    encode::text(200, "ok")
}
