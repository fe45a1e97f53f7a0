//! A watch as lines of JSON.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use kprov_schema::{Kind, Object};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;

use super::core::Core;
use super::encode::{Include, View};
use super::errors;
use super::media::{Shape, Wanted};
use super::verbs::watch::{Told, What};

/// What one client sees of a watch.
struct Lines {
    core: Arc<Core>,
    kind: Arc<Kind>,
    wanted: Wanted,
    include: Include,
    /// Whether a table was sent already.
    headed: bool,
}

/// The lines of a watch.
pub(crate) fn lines(
    core: Arc<Core>,
    kind: Arc<Kind>,
    wanted: Wanted,
    include: Include,
    watch: BoxStream<'static, Told>,
) -> BoxStream<'static, io::Result<Bytes>> {
    let mut lines = Lines { core, kind, wanted, include, headed: false };
    watch.map(move |told| Ok(lines.line(&told))).boxed()
}

fn name(what: What) -> &'static str {
    match what {
        What::Added => "ADDED",
        What::Modified => "MODIFIED",
        What::Deleted => "DELETED",
    }
}

fn frame(name: &str, object: &[u8]) -> Bytes {
    let mut line = BytesMut::with_capacity(object.len() + name.len() + 24);
    for part in [b"{\"type\":\"", name.as_bytes(), b"\",\"object\":", object, b"}\n"] {
        line.extend_from_slice(part);
    }
    line.freeze()
}

impl Lines {
    fn line(&mut self, told: &Told) -> Bytes {
        match told {
            Told::Change(what, stored) if self.wanted.shape == Shape::Whole => frame(name(*what), &stored.json()),
            Told::Change(what, stored) => self.shaped(name(*what), &stored.object),
            Told::Bookmark { revision, initial } => {
                let mut meta = json!({"resourceVersion": revision.to_string()});
                if *initial {
                    meta["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                self.bookmark(meta)
            }
            Told::Failed(status) => frame("ERROR", errors::to_value(status).to_string().as_bytes()),
        }
    }

    fn bookmark(&mut self, meta: Value) -> Bytes {
        let (kind, version) = (&self.kind.kind, self.kind.resource.api_version());
        let object = json!({"kind": kind, "apiVersion": version, "metadata": meta});
        match Object::try_from(object) {
            Ok(object) if self.wanted.shape == Shape::Whole => {
                frame("BOOKMARK", Value::from(object).to_string().as_bytes())
            }
            Ok(object) => self.shaped("BOOKMARK", &object),
            Err(error) => frame("ERROR", errors::to_value(&errors::internal(error)).to_string().as_bytes()),
        }
    }

    fn shaped(&mut self, name: &str, object: &Object) -> Bytes {
        let now = self.core.world.clock.now();
        let view = View { kind: &self.kind, wanted: self.wanted, include: self.include, now };
        let shaped = match self.wanted.shape {
            Shape::Table => view.one_row_table(object, !self.headed),
            _ => view.shape(object),
        };
        self.headed = true;
        match shaped {
            Ok(shaped) => frame(name, shaped.to_string().as_bytes()),
            Err(status) => frame("ERROR", errors::to_value(&status).to_string().as_bytes()),
        }
    }
}
