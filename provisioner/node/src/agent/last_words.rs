//! What a container leaves to say why it ended.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Bytes that are read of the file.
const FILE: u64 = 4096;
/// Bytes and lines that are read of the log.
const LOG: (usize, usize) = (2048, 80);
/// Bytes at the end of the log that hold as many, with the heads of lines and a line that begins before them.
const LOG_TAIL: u64 = 64 * 1024;

/// Where to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The file alone.
    File,
    /// The end of the log when the file is empty.
    FileThenLog,
}

impl Policy {
    /// From `terminationMessagePolicy`: the log counts only for a container that failed.
    #[must_use]
    pub fn of(policy: Option<&str>, exit_code: i32) -> Self {
        if policy == Some("FallbackToLogsOnError") && exit_code != 0 { Self::FileThenLog } else { Self::File }
    }
}

/// The last words; `None` when there are none.
///
/// Errors: a file is there and can't be read, or is a link or no plain file.
pub fn read(file: &Path, log: &Path, policy: Policy) -> io::Result<Option<String>> {
    let (bytes, _) = tail(file, FILE)?;
    if !bytes.is_empty() {
        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
    }
    if policy == Policy::File {
        return Ok(None);
    }
    let (bytes, is_cut) = tail(log, LOG_TAIL)?;
    // What is left of the first line can't be read without its head.
    let whole =
        if is_cut { bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| end + 1) } else { 0 };
    Ok(Some(end_of_log(&bytes[whole..])).filter(|text| !text.is_empty()))
}

/// The last `most` bytes of a plain file, and whether there are more before them. A missing file is an empty one.
///
/// Containers write these files: neither their size nor what stands in their place is to be trusted.
fn tail(path: &Path, most: u64) -> io::Result<(Vec<u8>, bool)> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = match File::options().read(true).custom_flags(flags.bits()).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((Vec::new(), false)),
        other => other?,
    };
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    let start = found.len().saturating_sub(most);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok((bytes, start > 0))
}

fn end_of_log(raw: &[u8]) -> String {
    let mut text = String::new();
    let lines: Vec<&[u8]> = raw.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    for line in &lines[lines.len().saturating_sub(LOG.1)..] {
        if let Some(entry) = crate::logs::Entry::parse(line) {
            text.push_str(&String::from_utf8_lossy(entry.text));
            if entry.is_whole {
                text.push('\n');
            }
        }
    }
    let mut start = text.len().saturating_sub(LOG.0);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text.split_off(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_counts_only_when_there_is_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, log) = (folder.path().join("words"), folder.path().join("0.log"));
        std::fs::write(&log, "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr F two\n")
            .expect("written");
        let read = |policy| super::read(&file, &log, policy).expect("readable");
        assert_eq!(read(Policy::File), None);
        assert_eq!(read(Policy::of(Some("FallbackToLogsOnError"), 1)).as_deref(), Some("one\ntwo\n"));
        assert_eq!(Policy::of(Some("FallbackToLogsOnError"), 0), Policy::File);
        std::fs::write(&file, "why\n").expect("written");
        assert_eq!(read(Policy::FileThenLog).as_deref(), Some("why\n"));
    }

    #[test]
    fn reads_the_end_of_a_plain_file_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, log) = (folder.path().join("words"), folder.path().join("0.log"));
        // Far larger than memory: reading all of it would end the agent.
        let huge = File::create(&file).expect("made");
        huge.set_len(1 << 42).expect("sparse");
        assert_eq!(read(&file, &log, Policy::File).expect("readable").map(|text| text.len()), Some(4096));
        std::fs::write(&file, "").expect("written");
        let mut lines = File::create(&log).expect("made");
        lines.set_len(1 << 42).expect("sparse");
        lines.seek(SeekFrom::End(0)).expect("at the end");
        io::Write::write_all(&mut lines, b"\n2026-01-01T00:00:00Z stderr F last\n").expect("written");
        assert_eq!(read(&file, &log, Policy::FileThenLog).expect("readable").as_deref(), Some("last\n"));
    }

    #[test]
    fn tells_of_what_is_no_plain_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let (secret, link) = (folder.path().join("secret"), folder.path().join("link"));
        let (pipe, none) = (folder.path().join("pipe"), folder.path().join("none"));
        std::fs::write(&secret, "secret").expect("written");
        std::os::unix::fs::symlink(&secret, &link).expect("linked");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
        for path in [&link, &pipe, &folder.path().to_owned()] {
            assert!(read(path, &none, Policy::File).is_err(), "{}", path.display());
            assert!(read(&none, path, Policy::FileThenLog).is_err(), "{}", path.display());
        }
    }
}
