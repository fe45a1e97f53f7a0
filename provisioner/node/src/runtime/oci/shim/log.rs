//! Writes what a container says to its log file, in the CRI's format.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// A line is cut into parts of this size, as containerd does.
const PART: usize = 16 << 10;

/// When a log file is put aside, and how many are kept, the present one included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    pub(super) bytes: u64,
    pub(super) files: usize,
}

impl Default for Rotation {
    /// The kubelet's `containerLogMaxSize` and `containerLogMaxFiles`.
    fn default() -> Self {
        Self { bytes: 10 << 20, files: 5 }
    }
}

/// A container's log file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    rotation: Rotation,
}

impl Log {
    /// Opens the file at its end, making it and its folders.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = append_to(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, rotation })
    }

    /// Writes all lines of a chunk; what follows its last newline waits in `stream` for the next.
    pub(super) fn write(&mut self, stream: &mut Stream, chunk: &[u8], now: Timestamp) -> io::Result<()> {
        self.put(&stream.push(chunk, now), now)
    }

    /// Writes what waits, because nothing follows it.
    pub(super) fn finish(&mut self, stream: &mut Stream, now: Timestamp) -> io::Result<()> {
        self.put(&stream.flush(now), now)
    }

    fn put(&mut self, lines: &[u8], now: Timestamp) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.size > 0 && self.size + lines.len() as u64 > self.rotation.bytes {
            self.rotate(now)?;
        }
        self.file.write_all(lines)?;
        self.size += lines.len() as u64;
        Ok(())
    }

    /// `0.log` becomes `0.log.20261124-170056`, the kubelet's name for it.
    fn rotate(&mut self, now: Timestamp) -> io::Result<()> {
        let aside = format!("{}.{}", self.path.display(), now.strftime("%Y%m%d-%H%M%S"));
        if Path::new(&aside).exists() {
            return Ok(());
        }
        fs::rename(&self.path, &aside)?;
        self.file = append_to(&self.path)?;
        self.size = 0;
        let mut old = self.put_aside()?;
        old.sort();
        let surplus = (old.len() + 1).saturating_sub(self.rotation.files);
        old.iter().take(surplus).try_for_each(fs::remove_file)
    }

    fn put_aside(&self) -> io::Result<Vec<PathBuf>> {
        let prefix = format!("{}.", self.path.file_name().unwrap_or_default().to_string_lossy());
        let mut old = vec![];
        for entry in fs::read_dir(self.path.parent().unwrap_or(Path::new("/")))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                old.push(entry.path());
            }
        }
        Ok(old)
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// One of a container's two outputs.
#[derive(Debug)]
pub(super) struct Stream {
    name: &'static str,
    line: Vec<u8>,
}

impl Stream {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, line: vec![] }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    fn push(&mut self, chunk: &[u8], now: Timestamp) -> Vec<u8> {
        let mut out = vec![];
        for piece in chunk.split_inclusive(|b| *b == b'\n') {
            let (text, whole) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            self.line.extend_from_slice(text);
            while self.line.len() > PART {
                let rest = self.line.split_off(PART);
                let part = std::mem::replace(&mut self.line, rest);
                self.emit(&mut out, 'P', &part, now);
            }
            if whole {
                let line = std::mem::take(&mut self.line);
                self.emit(&mut out, 'F', &line, now);
            }
        }
        out
    }

    /// A line that never ended is a part.
    fn flush(&mut self, now: Timestamp) -> Vec<u8> {
        let mut out = vec![];
        if !self.line.is_empty() {
            let line = std::mem::take(&mut self.line);
            self.emit(&mut out, 'P', &line, now);
        }
        out
    }

    fn emit(&self, out: &mut Vec<u8>, tag: char, text: &[u8], now: Timestamp) {
        out.extend_from_slice(format!("{now:.9} {} {tag} ", self.name).as_bytes());
        out.extend_from_slice(text);
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + seconds).unwrap()
    }

    #[test]
    fn lines_carry_time_stream_and_tag() {
        let mut stream = Stream::new("stdout");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(stream.push(b"one\n\ntw", at(0))),
            "2023-11-14T22:13:20.000000000Z stdout F one\n2023-11-14T22:13:20.000000000Z stdout F \n"
        );
        assert_eq!(text(stream.push(b"o\n", at(1))), "2023-11-14T22:13:21.000000000Z stdout F two\n");
        assert_eq!(text(stream.push(b"rest", at(1))), "");
        assert_eq!(text(stream.flush(at(2))), "2023-11-14T22:13:22.000000000Z stdout P rest\n");
        assert_eq!(text(stream.flush(at(2))), "");
    }

    #[test]
    fn long_lines_come_in_parts() {
        let mut stream = Stream::new("stderr");
        let out = String::from_utf8(stream.push(&[&[b'x'; 2 * PART + 5][..], b"\n"].concat(), at(0))).unwrap();
        let lines: Vec<(&str, usize)> =
            out.lines().map(|l| l.split_once("stderr ").unwrap().1).map(|l| (&l[..1], l.len() - 2)).collect();
        assert_eq!(lines, [("P", PART), ("P", PART), ("F", 5)]);
    }

    #[test]
    fn a_full_log_is_put_aside_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod/0.log");
        let mut log = Log::open(&path, Rotation { bytes: 60, files: 3 }).unwrap();
        let mut stream = Stream::new("stdout");
        for second in 0..5 {
            log.write(&mut stream, b"0123456789\n", at(second)).unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["0.log", "0.log.20231114-221323", "0.log.20231114-221324"]);
    }
}
