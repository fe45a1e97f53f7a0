//! What runs in the containers of the tests.
#![allow(unsafe_code, reason = "fork is unsafe where threads are; these programs have one")]

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, fork};
use serde_json::json;

pub fn run(args: &[String]) -> ExitCode {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["echo", address] => echo(address),
        ["until-stopped"] => until(Signal::SIGTERM),
        ["until-stopped-then-pour"] => {
            until(Signal::SIGTERM);
            pour(400_000);
        }
        ["until-quit"] => until(Signal::SIGQUIT),
        ["stubborn"] => stubborn(),
        ["exit", code] => return ExitCode::from(code.parse::<u8>().unwrap()),
        ["facts", files @ ..] => facts(files),
        ["eat"] => eat(),
        ["fork", count] => println!("{}", fork_many(count.parse().unwrap())),
        ["say"] => say(),
        ["hello"] => println!("hello"),
        ["calls"] => calls(),
        ["copy"] => copy(),
        ["echo-lines"] => echo_lines(),
        ["size"] => size(),
        ["leave-child"] => leave_child(),
        ["signal-self", number] => {
            nix::sys::signal::kill(nix::unistd::getpid(), Signal::try_from(number.parse::<i32>().unwrap()).unwrap())
                .unwrap()
        }
        ["write", path, text] => fs::write(path, text).unwrap(),
        ["try-write", paths @ ..] => paths.iter().for_each(|path| println!("{path} {}", attempt(path))),
        other => panic!("unknown: {other:?}"),
    }
    ExitCode::SUCCESS
}

/// Serves on a free port that it says.
fn echo(address: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        kprov_node::echo::serve_on(listener).await.unwrap();
        println!("ended");
    });
}

fn until(signal: Signal) {
    let mut set = SigSet::empty();
    set.add(signal);
    set.thread_block().unwrap();
    println!("ready");
    set.wait().unwrap();
}

fn stubborn() -> ! {
    SigSet::all().thread_block().unwrap();
    loop {
        nix::unistd::pause();
    }
}

/// Everything a container can tell of itself, and the files named.
fn facts(files: &[&str]) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field =
        |name: &str| status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim().replace('\t', " ");
    let read = |path: &&str| (path.to_string(), fs::read_to_string(path).unwrap_or_else(|e| format!("error: {e}")));
    let processes = fs::read_dir("/proc")
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_str().unwrap().parse::<u32>().is_ok());
    println!(
        "{}",
        json!({
            "pid": std::process::id(),
            "uid": field("Uid:"), "gid": field("Gid:"), "groups": field("Groups:"),
            "capabilities": field("CapEff:"), "no_new_privs": field("NoNewPrivs:"),
            "ignored": field("SigIgn:"), "blocked": field("SigBlk:"),
            "cwd": std::env::current_dir().unwrap(),
            "env": std::env::vars().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            "hostname": rustix::system::uname().nodename().to_str().unwrap(),
            "processes": processes.count(),
            "files": files.iter().map(read).collect::<std::collections::BTreeMap<_, _>>(),
        })
    );
}

fn attempt(path: &str) -> String {
    match fs::write(path, "x") {
        Ok(()) => "written".into(),
        Err(e) => e.to_string(),
    }
}

fn eat() {
    let mut held = vec![];
    loop {
        held.push(vec![1_u8; 1 << 20]);
    }
}

fn fork_many(count: usize) -> usize {
    let mut made = 0;
    for _ in 0..count {
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { .. }) => made += 1,
            Ok(ForkResult::Child) => stubborn(),
            Err(_) => break,
        }
    }
    made
}

fn say() {
    let mut out = std::io::stdout();
    out.write_all(b"one\n\ntwo\n").unwrap();
    out.write_all(&[b'x'; 20_000]).unwrap();
    out.write_all(b"\nno end").unwrap();
    out.flush().unwrap();
    eprintln!("cried");
}

/// What the kernel says to calls that a profile may forbid, and what this process may do and is held by.
fn calls() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let words = |result: nix::Result<()>| result.map_or_else(|error| error.to_string(), |()| "done".to_owned());
    const NONE: Option<&str> = None;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned();
    println!(
        "{}",
        json!({
            "getpid": nix::unistd::getpid().as_raw(),
            "mkdir": words(nix::unistd::mkdir("/made", nix::sys::stat::Mode::S_IRWXU)),
            "mount": words(mount(Some("none"), "/proc", Some("tmpfs"), MsFlags::empty(), NONE)),
            "thread": std::thread::spawn(|| "done").join().unwrap(),
            "unshare": words(unshare(CloneFlags::CLONE_NEWUSER)),
            "capabilities": field("CapEff:"), "bounding": field("CapBnd:"), "mode": field("Seccomp:"),
        })
    );
}

/// What it hears it says, once it has said that it listens, and then how much it was.
fn copy() {
    println!("ready");
    let count = std::io::copy(&mut std::io::stdin(), &mut std::io::stdout()).unwrap();
    eprintln!("{count}");
}

/// So many numbered lines, of fifty bytes and more.
fn pour(count: usize) {
    let mut out = std::io::BufWriter::new(std::io::stdout());
    (0..count).for_each(|n| writeln!(out, "{:.<50} {n}", "").unwrap());
}

/// Answers every line, until there are no more.
fn echo_lines() {
    println!("ready");
    std::io::stdin().lines().for_each(|line| println!("heard {}", line.unwrap()));
    println!("no more");
}

/// Says the size of its terminal whenever it changes.
fn size() {
    let mut set = SigSet::empty();
    set.add(Signal::SIGWINCH);
    set.thread_block().unwrap();
    println!("ready");
    loop {
        set.wait().unwrap();
        let size = rustix::termios::tcgetwinsize(std::io::stdin()).unwrap();
        println!("{} {} {}", size.ws_col, size.ws_row, std::env::var("TERM").unwrap());
    }
}

fn leave_child() {
    // SAFETY: this process has one thread.
    if matches!(unsafe { fork() }.unwrap(), ForkResult::Child) {
        stubborn();
    }
}
