//! What every runtime promises, as tests that each arm runs on itself.
//!
//! A test target implements [`Subject`] and calls [`all`]; a broken promise panics with the promise's name.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use kprov_schema::Uid;
use tokio::io::AsyncReadExt;

use super::*;

/// What a container of a contract test does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Runs until it is told to stop, and then ends with code 0.
    UntilStopped,
    /// Runs on when it is told to stop.
    Stubborn,
    /// Ends by itself with this code.
    Exit(i32),
    /// Is not in the image.
    Missing,
    /// Writes `hello` and ends with code 0.
    Hello,
}

/// A runtime under test.
pub trait Subject: Sync {
    /// The runtime.
    fn runtime(&self) -> &dyn Runtime;
    /// A reference to an image that it has.
    fn image(&self) -> &str;
    /// The command line of a container that does this.
    fn args(&self, program: Program) -> Vec<String>;
    /// Waits until a container of [`Program::UntilStopped`] hears its stop signal: what is sent to the first process of a
    /// container before it listens is lost.
    fn hears<'a>(&'a self, _container: &'a ContainerSpec) -> BoxFuture<'a, ()> {
        Box::pin(futures::future::ready(()))
    }
    /// A folder for logs that only this subject uses.
    fn folder(&self) -> &Path;
    /// Lets time pass where time does not pass by itself.
    fn elapse(&self, time: Duration) -> BoxFuture<'_, ()>;
}

/// Every promise. Each leaves the subject as empty as it found it.
pub async fn all(subject: &dyn Subject) {
    images_are_found_by_all_their_names(subject).await;
    missing_and_malformed_images_are_told_apart(subject).await;
    a_pod_has_one_sandbox(subject).await;
    a_container_runs_until_it_is_stopped(subject).await;
    a_stubborn_container_is_killed_after_its_grace(subject).await;
    exit_codes_are_kept(subject).await;
    a_missing_program_is_a_start_error(subject).await;
    a_running_container_is_not_removed(subject).await;
    an_ended_container_is_removed_once(subject).await;
    another_attempt_has_another_id(subject).await;
    removing_a_sandbox_removes_its_containers(subject).await;
    unknown_things_are_not_found(subject).await;
    a_seccomp_profile_is_never_ignored(subject).await;
    commands_run_in_running_containers(subject).await;
    a_session_tells_output_and_end(subject).await;
    a_session_is_refused_where_nothing_runs(subject).await;
    who_attaches_hears_the_end(subject).await;
    a_running_container_is_resized(subject).await;
}

const GRACE: Duration = Duration::from_secs(30);

fn sandbox(subject: &dyn Subject, pod: &str) -> SandboxSpec {
    SandboxSpec {
        pod: Uid(pod.into()),
        name: format!("contract/{pod}"),
        hostname: pod.into(),
        netns: None,
        host_pid: false,
        host_ipc: false,
        share_pid: false,
        sysctls: BTreeMap::new(),
        cgroup: format!("besteffort/pod{pod}"),
        log_dir: subject.folder().join(pod),
    }
}

async fn container(subject: &dyn Subject, pod: &str, name: &str, program: Program) -> ContainerSpec {
    let image = subject.runtime().pull(subject.image()).await.expect("the subject has its image");
    ContainerSpec {
        name: name.into(),
        attempt: 0,
        image: image.id,
        args: subject.args(program),
        env: image.env,
        working_dir: String::new(),
        mounts: vec![],
        limits: Limits::default(),
        privileges: Privileges::default(),
        stop_signal: image.stop_signal,
        tty: false,
        stdin: false,
        stdin_once: false,
        beside: None,
        log_path: subject.folder().join(pod).join(name).join("0.log"),
    }
}

async fn make(subject: &dyn Subject, pod: &str) -> Uid {
    subject.runtime().create_sandbox(sandbox(subject, pod)).await.expect("a sandbox is made");
    Uid(pod.into())
}

async fn clear(subject: &dyn Subject, pod: &Uid) {
    subject.runtime().remove_sandbox(pod).await.expect("a sandbox is removed");
    let left = subject.runtime().inventory().await.expect("an inventory");
    assert!(left.sandboxes.iter().all(|s| s.pod != *pod), "a removed sandbox is gone: {left:?}");
    assert!(left.containers.iter().all(|c| c.pod != *pod), "its containers are gone: {left:?}");
}

async fn state(subject: &dyn Subject, id: &str) -> ContainerState {
    let inventory = subject.runtime().inventory().await.expect("an inventory");
    let found = inventory.containers.into_iter().find(|c| c.id == id);
    found.expect("a container stays until it is removed").state
}

/// Waits for a container's end by the events alone, as an agent does.
async fn ended(subject: &dyn Subject, id: &str) -> Exit {
    let mut events = subject.runtime().events();
    loop {
        if let ContainerState::Exited(exit) = state(subject, id).await {
            return exit;
        }
        let passing = async {
            loop {
                subject.elapse(Duration::from_secs(1)).await;
                if matches!(state(subject, id).await, ContainerState::Exited(_)) {
                    return;
                }
            }
        };
        tokio::select! {
            event = events.next() => { event.expect("events last as long as the runtime"); }
            () = passing => {}
        }
    }
}

async fn images_are_found_by_all_their_names(subject: &dyn Subject) {
    let image = subject.runtime().pull(subject.image()).await.expect("images_are_found: pull");
    assert!(image.id.starts_with("sha256:") && image.id.len() == 71, "an image's id is a digest: {}", image.id);
    for name in image.names.iter().chain([&image.id]) {
        let found = subject.runtime().image(name).await.expect("images_are_found: image");
        assert_eq!(found.as_ref(), Some(&image), "{name} leads to the image");
    }
    let all = subject.runtime().images().await.expect("images_are_found: images");
    assert!(all.contains(&image), "an image that is here is listed");
}

async fn missing_and_malformed_images_are_told_apart(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let missing = runtime.pull("example.invalid/no/such:image").await;
    assert!(matches!(missing, Err(PullError::Missing(_))), "an unknown image is missing: {missing:?}");
    assert_eq!(runtime.image("example.invalid/no/such:image").await.expect("no error"), None);
    for malformed in ["", "team/UPPER", "a b", "name:", "name@sha256:12"] {
        let answer = runtime.pull(malformed).await;
        assert!(matches!(answer, Err(PullError::InvalidName(_))), "{malformed:?} is malformed: {answer:?}");
    }
}

async fn a_pod_has_one_sandbox(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let spec = sandbox(subject, "one-sandbox");
    let first = runtime.create_sandbox(spec.clone()).await.expect("a_pod_has_one_sandbox: first");
    assert!(first.ready && first.pod == spec.pod && first.name == spec.name, "{first:?}");
    let again = runtime.create_sandbox(spec.clone()).await.expect("a_pod_has_one_sandbox: again");
    assert_eq!(first, again, "making a sandbox that is there is no error and changes nothing");
    let inventory = runtime.inventory().await.expect("an inventory");
    assert_eq!(inventory.sandboxes.iter().filter(|s| s.pod == spec.pod).count(), 1);
    clear(subject, &spec.pod).await;
    runtime.remove_sandbox(&spec.pod).await.expect("removing a sandbox that is gone is no error");
}

async fn a_container_runs_until_it_is_stopped(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let pod = make(subject, "until-stopped").await;
    let spec = container(subject, "until-stopped", "main", Program::UntilStopped).await;
    let made = runtime.start(&pod, spec.clone()).await.expect("a_container_runs: start");
    assert!(made.id.len() == 64 && made.id.bytes().all(|b| b.is_ascii_hexdigit()), "{made:?}");
    assert_eq!((&made.pod, &made.name, made.attempt, &made.image), (&pod, &spec.name, 0, &spec.image));
    let ContainerState::Running { started_at } = made.state else { panic!("a started container runs: {made:?}") };
    assert_eq!(state(subject, &made.id).await, ContainerState::Running { started_at });
    subject.hears(&spec).await;
    stop(subject, &made.id, GRACE).await;
    let ContainerState::Exited(exit) = state(subject, &made.id).await else { panic!("stop returns at the end") };
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (0, None, "Completed"));
    assert_eq!(exit.started_at, Some(started_at), "the beginning is remembered");
    assert!(exit.finished_at >= started_at, "an end comes after its beginning");
    stop(subject, &made.id, GRACE).await;
    clear(subject, &pod).await;
}

/// Stops while time passes.
async fn stop(subject: &dyn Subject, id: &str, grace: Duration) {
    let passing = async {
        loop {
            subject.elapse(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        stopped = subject.runtime().stop(id, grace) => stopped.expect("a container is stopped, also when it has ended"),
        () = passing => {}
    }
}

async fn a_stubborn_container_is_killed_after_its_grace(subject: &dyn Subject) {
    let pod = make(subject, "stubborn").await;
    let spec = container(subject, "stubborn", "main", Program::Stubborn).await;
    let made = subject.runtime().start(&pod, spec).await.expect("a_stubborn_container: start");
    stop(subject, &made.id, Duration::from_millis(300)).await;
    let ContainerState::Exited(exit) = state(subject, &made.id).await else { panic!("stop returns at the end") };
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (137, Some(9), "Error"));
    clear(subject, &pod).await;
}

async fn exit_codes_are_kept(subject: &dyn Subject) {
    let pod = make(subject, "exit-codes").await;
    for (code, reason) in [(0, "Completed"), (3, "Error")] {
        let spec = container(subject, "exit-codes", &format!("exit-{code}"), Program::Exit(code)).await;
        let made = subject.runtime().start(&pod, spec).await.expect("exit_codes_are_kept: start");
        let exit = ended(subject, &made.id).await;
        assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (code, None, reason));
        assert!(exit.started_at.is_some_and(|at: Timestamp| at <= exit.finished_at), "{exit:?}");
    }
    clear(subject, &pod).await;
}

async fn a_missing_program_is_a_start_error(subject: &dyn Subject) {
    let pod = make(subject, "missing-program").await;
    let spec = container(subject, "missing-program", "main", Program::Missing).await;
    let answer = subject.runtime().start(&pod, spec).await;
    let Err(RuntimeError::Start(words)) = answer else { panic!("a missing program is a start error: {answer:?}") };
    assert!(words.contains("executable file not found in $PATH") || words.contains("no such file"), "{words}");
    let inventory = subject.runtime().inventory().await.expect("an inventory");
    let there: Vec<_> = inventory.containers.iter().filter(|c| c.pod == pod).collect();
    assert_eq!(there.len(), 1, "the container is there");
    let ContainerState::Exited(exit) = &there[0].state else { panic!("as exited: {there:?}") };
    assert_eq!((exit.code, exit.reason.as_str(), exit.started_at), (128, "StartError", None));
    assert_eq!(exit.message, words);
    clear(subject, &pod).await;
}

async fn a_running_container_is_not_removed(subject: &dyn Subject) {
    let pod = make(subject, "not-removed").await;
    let spec = container(subject, "not-removed", "main", Program::UntilStopped).await;
    let made = subject.runtime().start(&pod, spec).await.expect("a_running_container: start");
    let answer = subject.runtime().remove(&made.id).await;
    assert!(matches!(answer, Err(RuntimeError::Refused(_))), "{answer:?}");
    assert!(matches!(state(subject, &made.id).await, ContainerState::Running { .. }));
    clear(subject, &pod).await;
}

async fn an_ended_container_is_removed_once(subject: &dyn Subject) {
    let pod = make(subject, "removed-once").await;
    let spec = container(subject, "removed-once", "main", Program::Exit(0)).await;
    let made = subject.runtime().start(&pod, spec).await.expect("an_ended_container: start");
    ended(subject, &made.id).await;
    subject.runtime().remove(&made.id).await.expect("an ended container is removed");
    let inventory = subject.runtime().inventory().await.expect("an inventory");
    assert!(inventory.containers.iter().all(|c| c.id != made.id), "it is gone");
    subject.runtime().remove(&made.id).await.expect("removing what is gone is no error");
    clear(subject, &pod).await;
}

async fn another_attempt_has_another_id(subject: &dyn Subject) {
    let pod = make(subject, "attempts").await;
    let mut spec = container(subject, "attempts", "main", Program::Exit(0)).await;
    let first = subject.runtime().start(&pod, spec.clone()).await.expect("another_attempt: first");
    ended(subject, &first.id).await;
    spec.attempt = 1;
    let second = subject.runtime().start(&pod, spec).await.expect("another_attempt: second");
    assert_ne!(first.id, second.id, "ids are never used again");
    assert_eq!(second.attempt, 1);
    ended(subject, &second.id).await;
    assert!(matches!(state(subject, &first.id).await, ContainerState::Exited(_)), "the first is still there");
    clear(subject, &pod).await;
}

async fn removing_a_sandbox_removes_its_containers(subject: &dyn Subject) {
    let pod = make(subject, "with-containers").await;
    for (name, program) in [("a", Program::UntilStopped), ("b", Program::Stubborn), ("c", Program::Exit(0))] {
        let spec = container(subject, "with-containers", name, program).await;
        subject.runtime().start(&pod, spec).await.expect("removing_a_sandbox: start");
    }
    clear(subject, &pod).await;
}

async fn unknown_things_are_not_found(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let spec = container(subject, "nowhere", "main", Program::Exit(0)).await;
    let answer = runtime.start(&Uid("nowhere".into()), spec).await;
    assert!(matches!(answer, Err(RuntimeError::NotFound(_))), "no container without a sandbox: {answer:?}");
    let answer = runtime.stop(&"0".repeat(64), GRACE).await;
    assert!(matches!(answer, Err(RuntimeError::NotFound(_))), "{answer:?}");
    let pod = make(subject, "no-image").await;
    let mut spec = container(subject, "no-image", "main", Program::Exit(0)).await;
    spec.image = format!("sha256:{}", "0".repeat(64));
    let answer = runtime.start(&pod, spec).await;
    assert!(matches!(answer, Err(RuntimeError::NotFound(_))), "no container without an image: {answer:?}");
    clear(subject, &pod).await;
}

async fn a_seccomp_profile_is_never_ignored(subject: &dyn Subject) {
    let pod = make(subject, "seccomp").await;
    let mut spec = container(subject, "seccomp", "main", Program::Exit(0)).await;
    spec.privileges.seccomp = Seccomp::Localhost("/no/such/profile.json".into());
    let answer = subject.runtime().start(&pod, spec).await;
    assert!(matches!(answer, Err(RuntimeError::Refused(_))), "{answer:?}");
    clear(subject, &pod).await;
}

async fn commands_run_in_running_containers(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let pod = make(subject, "commands").await;
    let spec = container(subject, "commands", "main", Program::UntilStopped).await;
    let made = runtime.start(&pod, spec.clone()).await.expect("commands_run: start");
    subject.hears(&spec).await;
    let hello = command(subject, &made.id, Program::Hello, GRACE).await.expect("commands_run: hello");
    assert_eq!((hello.code, hello.output.as_str()), (Some(0), "hello\n"));
    let failed = command(subject, &made.id, Program::Exit(3), GRACE).await.expect("commands_run: exit");
    assert_eq!(failed.code, Some(3), "{failed:?}");
    let late = command(subject, &made.id, Program::Stubborn, Duration::from_secs(1)).await.expect("commands_run: late");
    assert_eq!(late.code, None, "a command that takes too long is killed: {late:?}");
    let answer = command(subject, &made.id, Program::Missing, GRACE).await;
    assert!(matches!(answer, Err(RuntimeError::Start(_))), "a command that is not there: {answer:?}");
    assert!(matches!(state(subject, &made.id).await, ContainerState::Running { .. }), "the container goes on");
    stop(subject, &made.id, GRACE).await;
    let answer = command(subject, &made.id, Program::Hello, GRACE).await;
    assert!(matches!(answer, Err(RuntimeError::NotFound(_))), "nothing runs in an ended container: {answer:?}");
    clear(subject, &pod).await;
}

const EVERYTHING: Wanted = Wanted { stdin: true, stdout: true, stderr: true, tty: false };

/// What a session said, and its end; time passes meanwhile.
async fn heard(subject: &dyn Subject, mut streams: Streams) -> (String, String, Result<i32, String>) {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    drop(streams.stdin.take());
    let (mut out, mut err) = (streams.stdout.take().expect("stdout"), streams.stderr.take().expect("stderr"));
    let all = async {
        let (out, err) = (out.read_to_string(&mut stdout), err.read_to_string(&mut stderr));
        let (out, err, ended) = tokio::join!(out, err, streams.ended);
        out.and(err).expect("streams end without an error");
        ended
    };
    let passing = async {
        loop {
            subject.elapse(Duration::from_secs(1)).await;
        }
    };
    let ended = tokio::select! {
        ended = all => ended,
        () = passing => unreachable!("time does not end"),
    };
    (stdout, stderr, ended)
}

async fn a_session_tells_output_and_end(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let pod = make(subject, "session").await;
    let spec = container(subject, "session", "main", Program::UntilStopped).await;
    let made = runtime.start(&pod, spec.clone()).await.expect("a_session: start");
    subject.hears(&spec).await;
    for (program, said, code) in [(Program::Hello, "hello\n", 0), (Program::Exit(3), "", 3)] {
        let task = Task::Exec(subject.args(program));
        let streams = runtime.session(&made.id, task, EVERYTHING).await.expect("a_session: begins");
        assert_eq!(heard(subject, streams).await, (said.into(), String::new(), Ok(code)), "{program:?}");
    }
    let missing = runtime.session(&made.id, Task::Exec(subject.args(Program::Missing)), EVERYTHING).await;
    let words = match missing {
        Ok(streams) => heard(subject, streams).await.2.expect_err("a command that is not there does not end well"),
        Err(error) => error.to_string(),
    };
    assert!(words.contains("executable file not found in $PATH"), "{words}");
    assert!(matches!(state(subject, &made.id).await, ContainerState::Running { .. }), "the container goes on");
    clear(subject, &pod).await;
}

async fn a_session_is_refused_where_nothing_runs(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let pod = make(subject, "no-session").await;
    let spec = container(subject, "no-session", "main", Program::Exit(0)).await;
    let made = runtime.start(&pod, spec).await.expect("no_session: start");
    ended(subject, &made.id).await;
    for id in [made.id.as_str(), "nobody"] {
        for task in [Task::Attach, Task::Exec(subject.args(Program::Hello))] {
            let answer = runtime.session(id, task.clone(), EVERYTHING).await.map(|_| ());
            assert!(matches!(answer, Err(RuntimeError::NotFound(_))), "{task:?}: {answer:?}");
        }
    }
    clear(subject, &pod).await;
}

async fn who_attaches_hears_the_end(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let pod = make(subject, "attach").await;
    let spec = container(subject, "attach", "main", Program::UntilStopped).await;
    let made = runtime.start(&pod, spec.clone()).await.expect("who_attaches: start");
    subject.hears(&spec).await;
    let first = runtime.session(&made.id, Task::Attach, EVERYTHING).await.expect("who_attaches: first");
    let gone = runtime.session(&made.id, Task::Attach, EVERYTHING).await.expect("who_attaches: second");
    drop(gone);
    assert!(matches!(state(subject, &made.id).await, ContainerState::Running { .. }), "who leaves takes nothing along");
    let ((_, _, end), ()) = tokio::join!(heard(subject, first), stop(subject, &made.id, GRACE));
    assert_eq!(end, Ok(0));
    clear(subject, &pod).await;
}

async fn a_running_container_is_resized(subject: &dyn Subject) {
    let runtime = subject.runtime();
    let pod = make(subject, "resize").await;
    let mut spec = container(subject, "resize", "main", Program::UntilStopped).await;
    spec.limits = Limits { cpu_limit_millis: Some(200), memory_limit_bytes: Some(64 << 20), ..Limits::default() };
    spec.limits.pids = Some(100);
    let made = runtime.start(&pod, spec.clone()).await.expect("is_resized: start");
    subject.hears(&spec).await;
    assert_eq!(made.limits.as_ref(), Some(&spec.limits));
    for memory in [128 << 20, 96 << 20] {
        let wanted = Limits { cpu_limit_millis: Some(300), memory_limit_bytes: Some(memory), ..Limits::default() };
        runtime.resize(&made.id, wanted.clone()).await.expect("is_resized: resize");
        let inventory = runtime.inventory_of(&pod).await.expect("an inventory");
        let now = &inventory.containers[0];
        assert_eq!(now.limits, Some(spec.limits.resized(&wanted)), "what can't be resized stays");
        assert_eq!(now.state, made.state, "the container goes on");
    }
    stop(subject, &made.id, GRACE).await;
    for id in [made.id.as_str(), "nobody"] {
        let answer = runtime.resize(id, Limits::default()).await;
        assert!(matches!(answer, Err(RuntimeError::NotFound(_))), "{answer:?}");
    }
    clear(subject, &pod).await;
}

/// Runs a command while time passes.
async fn command(
    subject: &dyn Subject,
    id: &str,
    program: Program,
    timeout: Duration,
) -> Result<Executed, RuntimeError> {
    let passing = async {
        loop {
            subject.elapse(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        ended = subject.runtime().exec(id, subject.args(program), timeout) => ended,
        () = passing => unreachable!("time does not end"),
    }
}
