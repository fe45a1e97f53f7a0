//! Commands and attached clients of real containers, and their streams.

use std::path::PathBuf;

use futures::future::BoxFuture;
use kprov_node::runtime::*;
use kprov_schema::Uid;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Fixture, ready, said, said_when};

const PLAIN: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };
const TERMINAL: Wanted = Wanted { stdin: true, stdout: true, stderr: false, tty: true };

fn inside(args: &[&str]) -> Task {
    Task::Exec(["/kprov", "inside"].iter().chain(args).map(|arg| (*arg).to_owned()).collect())
}

async fn start(f: &Fixture, pod: &str, args: &[&str], change: fn(&mut ContainerSpec)) -> (Uid, Container, PathBuf) {
    let uid = f.sandbox(pod).await;
    let mut spec = f.spec(pod, "main", args).await;
    change(&mut spec);
    let log = spec.log_path.clone();
    let made = f.oci().start(&uid, spec).await.unwrap();
    (uid, made, log)
}

async fn running(f: &Fixture, pod: &str) -> Container {
    let (_, made, log) = start(f, pod, &["until-stopped"], |_| {}).await;
    ready(log).await;
    made
}

/// Reads until something was said.
async fn until(from: &mut Reading, enough: &str) -> String {
    let mut text = Vec::new();
    while !String::from_utf8_lossy(&text).contains(enough) {
        assert_ne!(from.read_buf(&mut text).await.unwrap(), 0, "{:?}", String::from_utf8_lossy(&text));
    }
    String::from_utf8(text).unwrap()
}

/// Lets go of the streams; what is left is the end.
fn leave(streams: Streams) -> BoxFuture<'static, Result<i32, String>> {
    streams.ended
}

async fn rest(from: &mut Reading) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).await.unwrap();
    text
}

pub async fn large_streams_pass_whole_and_in_order(f: &Fixture) {
    let made = running(f, "large").await;
    let mut streams = f.oci().session(&made.id, inside(&["copy"]), PLAIN).await.unwrap();
    let sent: Vec<u8> = (0..2_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut stdin, mut stdout) = (streams.stdin.take().unwrap(), streams.stdout.take().unwrap());
    until(&mut stdout, "ready\n").await;
    let mut got = Vec::new();
    let (wrote, read) = tokio::join!(
        async {
            let wrote = stdin.write_all(&sent).await;
            drop(stdin);
            wrote
        },
        stdout.read_to_end(&mut got)
    );
    wrote.and(read).unwrap();
    assert!(got == sent, "{} bytes", got.len());
    assert_eq!(rest(streams.stderr.as_mut().unwrap()).await, format!("{}\n", sent.len()));
    assert_eq!(streams.ended.await, Ok(0));
}

pub async fn a_command_whose_client_is_gone_reads_the_end(f: &Fixture) {
    let made = running(f, "gone").await;
    let mut streams = f.oci().session(&made.id, inside(&["copy"]), PLAIN).await.unwrap();
    until(streams.stdout.as_mut().unwrap(), "ready\n").await;
    let ended = leave(streams);
    // It hears the end, has nobody to tell, and fails by that.
    assert_ne!(ended.await, Ok(0));
    assert!(matches!(f.state(&made.id).await, ContainerState::Running { .. }));
}

pub async fn a_command_at_a_terminal_knows_its_size(f: &Fixture) {
    let made = running(f, "size").await;
    let mut streams = f.oci().session(&made.id, inside(&["size"]), TERMINAL).await.unwrap();
    let stdout = streams.stdout.as_mut().unwrap();
    until(stdout, "ready\r\n").await;
    for (width, height) in [(80, 24), (133, 44)] {
        streams.resize.as_ref().unwrap()(Size { width, height }).unwrap();
        assert_eq!(until(stdout, "\n").await, format!("{width} {height} xterm\r\n"));
    }
    // What is typed goes through the terminal: this is its interrupt key.
    streams.stdin.as_mut().unwrap().write_all(&[3]).await.unwrap();
    assert_eq!(streams.ended.await, Ok(128 + 2));
    let notes = std::fs::read_dir(f.config.root.join("pods/size/containers").join(&made.id).join(&made.id)).unwrap();
    let left: Vec<_> = notes.map(|e| e.unwrap().file_name()).filter(|n| n.to_string_lossy().contains("tty")).collect();
    assert!(left.is_empty(), "{left:?}");
}

pub async fn a_terminal_that_nobody_holds_ends_its_session(f: &Fixture) {
    let made = running(f, "hangup").await;
    let mut streams = f.oci().session(&made.id, inside(&["size"]), TERMINAL).await.unwrap();
    until(streams.stdout.as_mut().unwrap(), "ready\r\n").await;
    let ended = leave(streams);
    assert_eq!(ended.await, Ok(128 + 1));
}

pub async fn what_is_said_goes_to_the_log_and_to_who_is_attached(f: &Fixture) {
    let (_, made, log) = start(f, "both", &["echo-lines"], |spec| spec.stdin = true).await;
    ready(log.clone()).await;
    let mut first = f.oci().session(&made.id, Task::Attach, PLAIN).await.unwrap();
    let mut second = f.oci().session(&made.id, Task::Attach, Wanted { stdin: false, ..PLAIN }).await.unwrap();
    first.stdin.as_mut().unwrap().write_all(b"one\n").await.unwrap();
    for streams in [&mut first, &mut second] {
        assert_eq!(until(streams.stdout.as_mut().unwrap(), "\n").await, "heard one\n");
    }
    assert_eq!(said_when(log.clone(), |text| text.contains("one")).await, "ready\nheard one\n");
    f.oci().stop(&made.id, std::time::Duration::ZERO).await.unwrap();
    assert_eq!((first.ended.await, second.ended.await), (Ok(0), Ok(0)));
}

pub async fn input_stays_open_for_the_next_who_attaches(f: &Fixture) {
    let (_, made, log) = start(f, "open", &["echo-lines"], |spec| spec.stdin = true).await;
    ready(log.clone()).await;
    for word in ["one", "two"] {
        let mut streams = f.oci().session(&made.id, Task::Attach, PLAIN).await.unwrap();
        streams.stdin.as_mut().unwrap().write_all(format!("{word}\n").as_bytes()).await.unwrap();
        assert_eq!(until(streams.stdout.as_mut().unwrap(), "\n").await, format!("heard {word}\n"));
    }
    assert_eq!(said(&log, "stdout"), "ready\nheard one\nheard two\n");
}

pub async fn input_once_ends_with_the_first_who_attached(f: &Fixture) {
    let once = |spec: &mut ContainerSpec| (spec.stdin, spec.stdin_once) = (true, true);
    let (_, made, log) = start(f, "once", &["echo-lines"], once).await;
    ready(log.clone()).await;
    let mut streams = f.oci().session(&made.id, Task::Attach, PLAIN).await.unwrap();
    let late = f.oci().session(&made.id, Task::Attach, PLAIN).await.unwrap();
    assert!(late.stdin.is_none(), "the input is the first one's");
    streams.stdin.as_mut().unwrap().write_all(b"one\n").await.unwrap();
    drop(streams.stdin.take());
    assert_eq!(rest(streams.stdout.as_mut().unwrap()).await, "heard one\nno more\n");
    assert_eq!(streams.ended.await, Ok(0));
    assert_eq!(f.exit(&made.id).await.code, 0);
}

pub async fn a_container_at_a_terminal_is_attached_to(f: &Fixture) {
    let (_, made, log) = start(f, "tty", &["size"], |spec| (spec.stdin, spec.tty) = (true, true)).await;
    said_when(log.clone(), |text| text == "ready\n").await;
    let mut streams = f.oci().session(&made.id, Task::Attach, TERMINAL).await.unwrap();
    streams.resize.as_ref().unwrap()(Size { width: 99, height: 11 }).unwrap();
    assert_eq!(until(streams.stdout.as_mut().unwrap(), "\n").await, "99 11 xterm\r\n");
    drop(streams);
    f.oci().stop(&made.id, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(said(&log, "stdout"), "ready\n99 11 xterm\n");
}

pub async fn sessions_begin_after_adoption(f: &Fixture) {
    let (_, made, log) = start(f, "adopted", &["echo-lines"], |spec| spec.stdin = true).await;
    ready(log.clone()).await;
    let before = f.oci().session(&made.id, inside(&["copy"]), PLAIN).await.unwrap();
    f.drop_agent();
    f.open_agent().await;
    assert!(before.ended.await.is_err(), "what was begun before is told as lost");
    let mut streams = f.oci().session(&made.id, inside(&["hello"]), PLAIN).await.unwrap();
    assert_eq!(rest(streams.stdout.as_mut().unwrap()).await, "hello\n");
    let mut attached = f.oci().session(&made.id, Task::Attach, PLAIN).await.unwrap();
    attached.stdin.as_mut().unwrap().write_all(b"again\n").await.unwrap();
    assert_eq!(until(attached.stdout.as_mut().unwrap(), "\n").await, "heard again\n");
}

pub async fn who_takes_nothing_holds_up_no_container(f: &Fixture) {
    let (_, made, log) = start(f, "slow", &["until-stopped-then-pour"], |_| {}).await;
    ready(log.clone()).await;
    let slow = f.oci().session(&made.id, Task::Attach, Wanted { stdin: false, ..PLAIN }).await.unwrap();
    f.oci().stop(&made.id, std::time::Duration::from_secs(60)).await.unwrap();
    assert_eq!(f.exit(&made.id).await.code, 0, "it has said everything");
    let words = slow.ended.await.unwrap_err();
    assert!(words.contains("were not taken"), "{words}");
    let last = std::fs::read_to_string(&log).unwrap().lines().last().unwrap().rsplit(' ').next().unwrap().to_owned();
    assert_eq!(last, "399999", "the log has the last line");
}
