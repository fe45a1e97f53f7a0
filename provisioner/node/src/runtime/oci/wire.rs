//! What a node agent and the shim of a pod say to each other: frames of JSON after their length.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::images::Layers;
use crate::runtime::{Container, ContainerSpec, Executed, Image, Limits, RuntimeError, Wanted};

/// Longer frames are a broken peer.
const FRAME_LIMIT: u32 = 16 << 20;

/// Asked of a shim.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) ask: Ask,
    /// How many open files came with it.
    #[serde(default)]
    pub(super) files: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Make a container and start it.
    Start(Box<Launch>),
    /// Send a container's stop signal to its first process.
    Stop(String),
    /// Kill all of a container's processes.
    Kill(String),
    /// Hold a running container to other amounts of processor and memory.
    Resize { id: String, limits: Limits },
    /// Run a command in a running container; answered when it has ended. Without streams the beginning of what it says is
    /// kept for the answer. With a terminal one file comes with it, a socket for the master's side; else those of the
    /// streams that are wanted, in their order.
    Exec {
        id: String,
        args: Vec<String>,
        #[serde(default)]
        streams: Option<Wanted>,
    },
    /// Attach to a running container; answered when it has ended. With it come a socket for its standard input or its
    /// terminal, and a pipe for each output that is wanted.
    Attach { id: String, wanted: Wanted },
    /// Kill the command that this agent asked for by that number.
    EndExec(u64),
    /// Forget an ended container.
    Forget(String),
    /// Kill all that is left, answer, and end.
    End,
}

/// Everything that a container is made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Launch {
    pub(super) container: Container,
    pub(super) spec: ContainerSpec,
    pub(super) image: Image,
    pub(super) layers: LayerList,
    /// Number of the signal that asks it to stop.
    pub(super) stop_signal: i32,
}

/// [`Layers`] as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LayerList {
    pub(super) folder: PathBuf,
    pub(super) names: Vec<String>,
}

impl From<Layers> for LayerList {
    fn from(layers: Layers) -> Self {
        Self { folder: layers.folder, names: layers.names }
    }
}

/// Said by a shim.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Say {
    /// First of all: what is there, or why there is nothing.
    Hello { error: Option<String>, containers: Vec<Container> },
    /// A container changed.
    Changed(Box<Container>),
    /// A container was forgotten.
    Gone(String),
    /// The answer to a request. The changes that it made are said before it.
    Answer { number: u64, result: Result<Option<Executed>, Fault> },
}

/// A [`RuntimeError`] as it travels.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Fault {
    Start(String),
    Refused(String),
    NotFound(String),
    System { what: String, cause: String },
}

impl Fault {
    pub(super) fn system(what: impl Into<String>, cause: impl std::fmt::Display) -> Self {
        Self::System { what: what.into(), cause: cause.to_string() }
    }
}

impl From<Fault> for RuntimeError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Start(words) => Self::Start(words),
            Fault::Refused(words) => Self::Refused(words),
            Fault::NotFound(what) => Self::NotFound(what),
            Fault::System { what, cause } => Self::System { what: format!("{what}: {cause}"), source: cause.into() },
        }
    }
}

/// A message with its length before it.
pub(super) fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message).expect("messages have string keys alone");
    let length = u32::try_from(frame.len() - 4).expect("messages are far below four gigabytes");
    frame[..4].copy_from_slice(&length.to_le_bytes());
    frame
}

/// Takes the first whole message off the bytes received so far.
pub(super) fn decode<T: DeserializeOwned>(received: &mut Vec<u8>) -> io::Result<Option<T>> {
    let Some(header) = received.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*header);
    if length > FRAME_LIMIT {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes is too long")));
    }
    let end = 4 + length as usize;
    let Some(body) = received.get(4..end) else { return Ok(None) };
    let message = serde_json::from_slice(body)?;
    received.drain(..end);
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_whole_in_any_pieces() {
        let sent: Vec<u8> = [encode(&Ask::Forget("a".into())), encode(&Ask::End)].concat();
        let (mut received, mut messages) = (vec![], vec![]);
        for byte in sent {
            received.push(byte);
            while let Some(ask) = decode::<Ask>(&mut received).unwrap() {
                messages.push(format!("{ask:?}"));
            }
        }
        assert_eq!(messages, ["Forget(\"a\")", "End"]);
        assert!(decode::<Ask>(&mut vec![255; 8]).is_err());
    }
}
