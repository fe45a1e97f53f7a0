//! Logs of containers: files in the CRI format, read from any point and followed as they grow.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use kprov_control_plane::client::node::LogOptions;
use kprov_schema::{Object, Status, Uid};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::agent::view::SCHEME;
use crate::kernel::watch::Watch;
use crate::runtime::{ContainerState, Runtime};
use crate::volumes::PodFolder;

/// Pieces that a slow reader may be behind before the file is no longer read.
const AHEAD: usize = 16;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// One line of a log file: `<time> <stream> <F or P> <text>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When it was written, as it stands there.
    pub time: &'a [u8],
    /// The text, without its end of line.
    pub text: &'a [u8],
    /// Whether the end of line was the program's own, not a cut.
    pub is_whole: bool,
}

impl<'a> Entry<'a> {
    /// Reads a line; `None` when it is none of a log.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (time, _stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self { time, text: parts.next().unwrap_or_default(), is_whole: tag.first() == Some(&b'F') })
    }

    fn time(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}

/// Which file, and of which container it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    container: String,
    attempt: u32,
    /// As in the pod's status.
    id: String,
}

/// Opens the log of a container of a pod. Errors are upstream's.
pub fn open(
    root: Option<&Path>,
    runtime: Arc<dyn Runtime>,
    object: &Object,
    options: LogOptions,
) -> Result<BoxStream<'static, io::Result<Bytes>>, Status> {
    let pod =
        Pod::deserialize(object.map()).map_err(|error| Status::failure(500, "InternalError", error.to_string()))?;
    let source = source(&pod, &options).map_err(|text| Status::failure(400, "BadRequest", text))?;
    let path = root.map(|root| PodFolder::of(root, &pod).log(&source.container, source.attempt));
    let file = match path.as_ref().map(File::open).transpose() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            let text = format!("failed to open log file of {}: {error}", source.id);
            return Err(Status::failure(500, "InternalError", text));
        }
        file => file.ok().flatten(),
    };
    let (Some(path), Some(file)) = (path, file) else {
        // The answer is a success, as upstream's.
        let text = format!("unable to retrieve container logs for {}", source.id);
        return Ok(stream::once(async move { Ok(Bytes::from(text)) }).boxed());
    };
    let (pieces, out) = mpsc::channel(AHEAD);
    let left = options.limit_bytes;
    let (file, pod) = (Arc::new(file), object.uid());
    let reader = Reader { path, file, pod, source, runtime, options, pieces, left, rest: Vec::new() };
    tokio::spawn(reader.run());
    Ok(ReceiverStream::new(out).boxed())
}

/// Source: kubelet `validateContainerLogStatus`.
fn source(pod: &Pod, options: &LogOptions) -> Result<Source, String> {
    let name = pod.metadata.name.clone().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let container = match options.container.as_str() {
        "" => spec.containers.first().map(|one| one.name.clone()).unwrap_or_default(),
        named => named.to_owned(),
    };
    let inits = spec.init_containers.iter().flatten();
    if !inits.chain(&spec.containers).any(|one| one.name == container) {
        return Err(format!("container {container} is not valid for pod {name}"));
    }
    let status = pod.status.clone().unwrap_or_default();
    let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let mine = all.into_iter().find(|one| one.name == container);
    let mine = mine.ok_or_else(|| format!("container {container:?} in pod {name:?} is not available"))?;
    let id = id_of(mine, options.previous, &format!("container {container:?} in pod {name:?}"))?;
    let count = u32::try_from(mine.restart_count).unwrap_or(0);
    let is_current = mine.container_id.as_deref() == Some(id.as_str());
    Ok(Source { container, attempt: if is_current { count } else { count.saturating_sub(1) }, id })
}

fn id_of(status: &ContainerStatus, previous: bool, which: &str) -> Result<String, String> {
    let ended = |how: Option<&ContainerStateTerminated>| how.and_then(|how| how.container_id.clone());
    let last = ended(status.last_state.as_ref().and_then(|state| state.terminated.as_ref()));
    if previous {
        return last.ok_or_else(|| format!("previous terminated {which} not found"));
    }
    let state = status.state.clone().unwrap_or_default();
    if state.running.is_some() {
        return status.container_id.clone().ok_or_else(|| format!("{which} is not available"));
    }
    if state.terminated.is_some() {
        return ended(state.terminated.as_ref()).or(last).ok_or_else(|| format!("{which} is terminated"));
    }
    if let Some(last) = last {
        return Ok(last);
    }
    let waits = format!("{which} is waiting to start");
    Err(match state.waiting.and_then(|waiting| waiting.reason).as_deref() {
        Some("ErrImagePull") => format!("{waits}: image can't be pulled"),
        Some("ImagePullBackOff") => format!("{waits}: trying and failing to pull image"),
        Some(reason) => format!("{waits}: {reason}"),
        None => format!("{waits} - no logs yet"),
    })
}

/// Why reading ended before the file did.
enum Stop {
    /// Enough bytes were sent, or nobody listens.
    Done,
    Failed(io::Error),
}

struct Reader {
    path: PathBuf,
    file: Arc<File>,
    pod: Uid,
    source: Source,
    runtime: Arc<dyn Runtime>,
    options: LogOptions,
    pieces: mpsc::Sender<io::Result<Bytes>>,
    left: Option<u64>,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
}

impl Reader {
    async fn run(mut self) {
        if let Err(Stop::Failed(error)) = self.read().await {
            // Nobody listening any more is no error.
            let _ = self.pieces.send(Err(error)).await;
        }
    }

    async fn read(&mut self) -> Result<(), Stop> {
        if let Some(lines) = self.options.tail_lines {
            let file = self.file.clone();
            on_disk(move || seek_tail(&file, lines)).await?;
        }
        if !self.options.follow {
            return self.read_to_end().await;
        }
        // Watch before reading: what is written in between wakes.
        let mut growth = Watch::of_growth(&self.path).map_err(Stop::Failed)?;
        let mut changes = self.runtime.events();
        loop {
            // Ask before reading: what a container wrote before its end is there when the end is seen.
            let ended = self.has_ended().await?;
            self.read_to_end().await?;
            if self.is_rotated().map_err(Stop::Failed)? {
                growth = Watch::of_growth(&self.path).map_err(Stop::Failed)?;
                continue;
            }
            if ended {
                return Ok(());
            }
            tokio::select! {
                () = self.pieces.closed() => return Err(Stop::Done),
                grown = growth.change() => grown.map_err(Stop::Failed)?,
                _ = changes.next() => {}
            }
        }
    }

    async fn has_ended(&self) -> Result<bool, Stop> {
        let all = self.runtime.inventory_of(&self.pod).await;
        let all = all.map_err(|error| Stop::Failed(io::Error::other(error)))?;
        let id = self.source.id.trim_start_matches(SCHEME);
        let one = all.containers.iter().find(|one| one.id == id);
        Ok(one.is_none_or(|one| matches!(one.state, ContainerState::Exited(_))))
    }

    /// Whether another file has taken the place of this one; it is read from its beginning.
    fn is_rotated(&mut self) -> io::Result<bool> {
        let there = match std::fs::metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            other => other?,
        };
        let here = self.file.metadata()?;
        if (there.dev(), there.ino()) == (here.dev(), here.ino()) {
            return Ok(false);
        }
        self.file = Arc::new(File::open(&self.path)?);
        Ok(true)
    }

    async fn read_to_end(&mut self) -> Result<(), Stop> {
        loop {
            let (file, options, rest) = (self.file.clone(), self.options.clone(), std::mem::take(&mut self.rest));
            let (text, rest) = on_disk(move || next_piece(&file, rest, &options)).await?;
            self.rest = rest;
            match text {
                Some(text) => self.send(text).await?,
                None => return Ok(()),
            }
        }
    }

    async fn send(&mut self, mut text: Vec<u8>) -> Result<(), Stop> {
        if let Some(left) = &mut self.left {
            text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= text.len() as u64;
        }
        if !text.is_empty() && self.pieces.send(Ok(text.into())).await.is_err() {
            return Err(Stop::Done);
        }
        if self.left == Some(0) { Err(Stop::Done) } else { Ok(()) }
    }
}

/// Does work that waits for the disk, or goes through a whole file, where it keeps nobody else waiting.
async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Stop> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).flatten().map_err(Stop::Failed)
}

/// What a client sees of the next lines of a file, `None` at its end, with the beginning of a line whose end is not
/// written yet. `rest` is the one of the piece before.
fn next_piece(mut file: &File, mut rest: Vec<u8>, options: &LogOptions) -> io::Result<(Option<Vec<u8>>, Vec<u8>)> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((None, rest));
        }
        rest.extend_from_slice(&chunk[..read]);
        if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
            let later = rest.split_off(end + 1);
            let text = render(&rest, options);
            rest = later;
            if !text.is_empty() {
                return Ok((Some(text), rest));
            }
        }
    }
}

/// What a client sees of whole lines of a file.
fn render(lines: &[u8], options: &LogOptions) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len());
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Some(entry) = Entry::parse(line) else { continue };
        let too_old = options.since.is_some_and(|since| entry.time().is_some_and(|time| time < since));
        if too_old {
            continue;
        }
        if options.timestamps {
            out.extend_from_slice(entry.time);
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if entry.is_whole {
            out.push(b'\n');
        }
    }
    out
}

/// Goes to where the last `lines` lines of a file begin.
fn seek_tail(mut file: &File, lines: u64) -> io::Result<()> {
    let mut position = file.seek(SeekFrom::End(0))?;
    let mut wanted = lines;
    let mut is_last = true;
    let mut chunk = vec![0; CHUNK];
    while position > 0 {
        let size = position.min(CHUNK as u64);
        position -= size;
        let part = &mut chunk[..usize::try_from(size).expect("at most a chunk")];
        file.seek(SeekFrom::Start(position))?;
        file.read_exact(part)?;
        for (index, _) in part.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            // The end of the last line begins no line.
            if std::mem::take(&mut is_last) && position + index as u64 + 1 == file.metadata()?.len() && lines > 0 {
                continue;
            }
            if wanted <= 1 {
                let start = position + index as u64 + 1;
                let start = if lines == 0 { file.metadata()?.len() } else { start };
                file.seek(SeekFrom::Start(start))?;
                return Ok(());
            }
            wanted -= 1;
        }
    }
    let start = if lines == 0 { SeekFrom::End(0) } else { SeekFrom::Start(0) };
    file.seek(start).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use serde_json::{Value, json};

    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.5Z stdout F one\n2026-01-01T00:00:02Z stdout P t\n\
                       2026-01-01T00:00:02Z stdout F wo\n2026-01-01T00:00:03Z stderr F \n2026-01-01T00:00:04Z stdout F four\n";

    fn rendered(options: &LogOptions) -> String {
        String::from_utf8(render(LOG.as_bytes(), options)).expect("texts")
    }

    #[test]
    fn lines_are_put_together() {
        assert_eq!(rendered(&LogOptions::default()), "one\ntwo\n\nfour\n");
        let since = Some("2026-01-01T00:00:03Z".parse().expect("a time"));
        assert_eq!(rendered(&LogOptions { since, ..LogOptions::default() }), "\nfour\n");
        let stamped = rendered(&LogOptions { timestamps: true, since, ..LogOptions::default() });
        assert_eq!(stamped, "2026-01-01T00:00:03Z \n2026-01-01T00:00:04Z four\n");
    }

    #[test]
    fn tails() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.log");
        std::fs::write(&path, LOG).expect("written");
        for (lines, wanted) in [(0, 0), (1, 1), (2, 2), (5, 5), (9, 5)] {
            let mut file = File::open(&path).expect("there");
            seek_tail(&file, lines).expect("sought");
            let mut text = String::new();
            file.read_to_string(&mut text).expect("read");
            assert_eq!(text.lines().count(), wanted, "{lines}");
            assert!(text.is_empty() || text.ends_with("four\n"));
        }
    }

    #[test]
    fn pieces_are_of_whole_lines() {
        let mut file = tempfile::tempfile().expect("a file");
        let times = 2 * CHUNK / LOG.len();
        let text = LOG.repeat(times) + "2026-01-01T00:00:05Z stdout F unfini";
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("written");
        let (mut pieces, mut rest) = (Vec::new(), Vec::new());
        loop {
            let (piece, later) = next_piece(&file, rest, &LogOptions::default()).expect("read");
            rest = later;
            let Some(piece) = piece else { break };
            pieces.push(String::from_utf8(piece).expect("a text"));
        }
        assert!(pieces.len() > 1 && pieces.concat() == rendered(&LogOptions::default()).repeat(times));
        assert_eq!(rest, b"2026-01-01T00:00:05Z stdout F unfini");
    }

    fn pod(status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}, "status": {"containerStatuses": [status]},
        }))
        .expect("a pod")
    }

    fn check(status: Value, options: LogOptions, wanted: Result<u32, &str>) {
        let got = source(&pod(status.clone()), &options).map(|source| source.attempt);
        assert_eq!(got.as_ref().map_err(String::as_str), wanted.as_ref().map_err(|text| *text), "{status}");
    }

    #[test]
    fn which_file() {
        let all = |count: i32, state: Value, last: Value| json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": count, "containerID": "k://2", "state": state, "lastState": last});
        let ended = |id: &str| json!({"terminated": {"exitCode": 1, "containerID": id}});
        let previous = LogOptions { previous: true, ..LogOptions::default() };
        let now = LogOptions::default();
        check(all(2, json!({"running": {}}), ended("k://1")), now.clone(), Ok(2));
        check(all(2, json!({"running": {}}), ended("k://1")), previous.clone(), Ok(1));
        check(
            all(0, json!({"running": {}}), json!({})),
            previous,
            Err("previous terminated container \"c\" in pod \"p\" not found"),
        );
        check(all(2, json!({"waiting": {"reason": "CrashLoopBackOff"}}), ended("k://2")), now.clone(), Ok(2));
        check(
            all(0, json!({"waiting": {"reason": "ContainerCreating"}}), json!({})),
            now,
            Err("container \"c\" in pod \"p\" is waiting to start: ContainerCreating"),
        );
        let other = LogOptions { container: "x".to_owned(), ..LogOptions::default() };
        check(all(0, json!({}), json!({})), other, Err("container x is not valid for pod p"));
    }
}
