//! What a container leaves to say why it ended.

use std::path::Path;

/// Bytes that are read of the file.
const FILE: usize = 4096;
/// Bytes and lines that are read of the log.
const LOG: (usize, usize) = (2048, 80);

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
#[must_use]
pub fn read(file: &Path, log: &Path, policy: Policy) -> Option<String> {
    let bytes = std::fs::read(file).unwrap_or_default();
    if !bytes.is_empty() {
        return Some(String::from_utf8_lossy(&bytes[..bytes.len().min(FILE)]).into_owned());
    }
    (policy == Policy::FileThenLog)
        .then(|| end_of_log(&std::fs::read(log).unwrap_or_default()))
        .filter(|text| !text.is_empty())
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
        assert_eq!(read(&file, &log, Policy::File), None);
        assert_eq!(read(&file, &log, Policy::of(Some("FallbackToLogsOnError"), 1)).as_deref(), Some("one\ntwo\n"));
        assert_eq!(Policy::of(Some("FallbackToLogsOnError"), 0), Policy::File);
        std::fs::write(&file, "why\n").expect("written");
        assert_eq!(read(&file, &log, Policy::FileThenLog).as_deref(), Some("why\n"));
    }
}
