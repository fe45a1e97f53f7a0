//! The promises, one test each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{BoxFuture, FutureExt, join_all};
use kprov_node::runtime::oci::{Oci, purge};
use kprov_node::runtime::*;
use serde_json::Value;

use crate::fixture::{Fixture, ready, said, said_when};
use crate::sessions::*;

type Case = fn(&Fixture) -> BoxFuture<'_, ()>;

macro_rules! cases {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), |f| $name(f).boxed())),*] };
}

pub const ALL: &[(&str, Case)] = cases![
    contract_suite,
    a_container_sees_what_it_was_given,
    a_container_does_not_see_the_machine,
    users_come_from_the_image_and_the_pod,
    mounts_are_visible_and_read_only_where_asked,
    a_read_only_root_can_not_be_written,
    running_out_of_memory_is_told,
    processes_are_limited,
    logs_are_in_the_cri_format,
    a_stop_signal_of_the_pod_is_used,
    a_signal_that_kills_is_told,
    what_can_not_be_executed_is_told_in_upstreams_words,
    containers_are_adopted_after_a_restart_of_the_agent,
    an_end_without_an_agent_is_found_by_the_next,
    a_lost_shim_is_noticed_and_its_containers_die,
    a_lost_shim_is_found_by_the_next_agent,
    twenty_containers_start_in_parallel,
    a_shared_process_namespace_is_shared,
    a_container_beside_another_sees_its_processes,
    a_resize_reaches_the_kernel,
    a_pods_containers_share_host_name_network_and_memory,
    sysctls_are_the_pods_own,
    what_a_container_leaves_is_killed_with_it,
    refusals_are_clear_and_leave_nothing,
    a_privileged_container_gets_what_the_machine_grants,
    the_echo_server_answers_and_ends_gracefully,
    system_calls_are_held_to_the_profile,
    everything_can_be_purged_without_an_agent,
    large_streams_pass_whole_and_in_order,
    a_command_whose_client_is_gone_reads_the_end,
    a_command_at_a_terminal_knows_its_size,
    a_terminal_that_nobody_holds_ends_its_session,
    what_is_said_goes_to_the_log_and_to_who_is_attached,
    input_stays_open_for_the_next_who_attaches,
    input_once_ends_with_the_first_who_attached,
    a_container_at_a_terminal_is_attached_to,
    sessions_begin_after_adoption,
    who_takes_nothing_holds_up_no_container,
];

const GRACE: Duration = Duration::from_secs(30);

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text:?}"))
}

async fn contract_suite(f: &Fixture) {
    contract::all(f).await;
    f.shims_end();
}

async fn a_container_sees_what_it_was_given(f: &Fixture) {
    let pod = f.sandbox("given").await;
    let files = [
        "facts",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
        "/sys/fs/cgroup/cpu/cpu.shares",
        "/proc/self/oom_score_adj",
    ];
    let mut spec = f.spec("given", "main", &files).await;
    spec.env = vec![("B".into(), "2".into()), ("A".into(), "1".into()), ("B".into(), "3".into())];
    spec.working_dir = "/not/yet/there".into();
    spec.limits = Limits {
        cpu_request_millis: Some(500),
        cpu_limit_millis: Some(250),
        memory_limit_bytes: Some(512 << 20),
        pids: Some(64),
        oom_score_adj: 900,
    };
    spec.privileges.no_new_privileges = true;
    let (exit, out) = f.run(&pod, spec).await;
    assert_eq!((exit.code, exit.reason.as_str()), (0, "Completed"));
    let facts = parse(&out);
    assert_eq!(facts["pid"], 1);
    assert_eq!(facts["processes"], 1);
    assert_eq!(facts["hostname"], "given-host");
    assert_eq!(facts["cwd"], "/not/yet/there");
    let env: Vec<&str> = facts["env"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    assert_eq!(env, ["PATH=/", "HOSTNAME=given-host", "HOME=/", "B=3", "A=1"]);
    // A Rust program ignores SIGPIPE by itself; nothing else is inherited.
    assert_eq!((&facts["ignored"], &facts["blocked"]), (&"0000000000001000".into(), &"0000000000000000".into()));
    assert_eq!(facts["no_new_privs"], "1");
    if !std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        assert_eq!(facts["files"][files[1]], "536870912\n");
        assert_eq!(facts["files"][files[2]], "25000\n");
        assert_eq!(facts["files"][files[3]], "512\n");
    }
    assert_eq!(facts["files"][files[4]], "900\n");
}

async fn a_container_does_not_see_the_machine(f: &Fixture) {
    let pod = f.sandbox("closed").await;
    let paths = [
        "try-write",
        "/proc/sys/kernel/panic",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/cgroup.procs",
        "/proc/sysrq-trigger",
        "/sys/kernel/mm/ksm/run",
    ];
    let (_, out) = f.run(&pod, f.spec("closed", "write", &paths).await).await;
    for line in out.lines() {
        assert!(line.contains("Read-only file system") || line.contains("No such file"), "{line}");
    }
    let (_, out) = f
        .run(
            &pod,
            f.spec(
                "closed",
                "read",
                &["facts", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/self/mountinfo"],
            )
            .await,
        )
        .await;
    let facts = parse(&out);
    for masked in ["/proc/keys", "/proc/timer_list"] {
        assert_eq!(facts["files"][masked], "", "{masked}");
    }
    let mounts = facts["files"]["/proc/self/mountinfo"].as_str().unwrap();
    let own = |point: &str| point == "/" || ["/proc", "/sys", "/dev"].iter().any(|own| point.starts_with(own));
    assert!(mounts.lines().all(|line| own(line.split(' ').nth(4).unwrap())), "{mounts}");
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).unwrap();
    assert!(
        root.split(' ').nth(5).unwrap().split(',').any(|flag| flag == "nodev"),
        "devices of images are none: {root}"
    );
}

async fn users_come_from_the_image_and_the_pod(f: &Fixture) {
    let pod = f.sandbox("users").await;
    let mut spec = f.spec("users", "image", &["facts"]).await;
    spec.privileges = Privileges::default();
    let facts = parse(&f.run(&pod, spec).await.1);
    assert_eq!(
        (&facts["uid"], &facts["capabilities"]),
        (&"65532 65532 65532 65532".into(), &"0000000000000000".into())
    );
    let mut spec = f.spec("users", "pod", &["facts"]).await;
    spec.privileges =
        Privileges { user: Some(1000), group: Some(3000), extra_groups: vec![2000], ..Privileges::default() };
    let facts = parse(&f.run(&pod, spec).await.1);
    assert_eq!(
        (&facts["uid"], &facts["gid"], &facts["groups"]),
        (&"1000 1000 1000 1000".into(), &"3000 3000 3000 3000".into(), &"2000 3000".into())
    );
    let mut spec = f.spec("users", "dropped", &["facts"]).await;
    spec.privileges.drop = vec!["ALL".into()];
    spec.privileges.add = vec!["NET_BIND_SERVICE".into()];
    assert_eq!(parse(&f.run(&pod, spec).await.1)["capabilities"], "0000000000000400");
    let root = parse(&f.run(&pod, f.spec("users", "root", &["facts"]).await).await.1);
    assert_eq!(root["capabilities"], "00000000a80425fb", "containerd's default set");
}

async fn mounts_are_visible_and_read_only_where_asked(f: &Fixture) {
    let pod = f.sandbox("mounts").await;
    let volume = f.path().join("volume");
    fs::create_dir_all(volume.join("sub")).unwrap();
    fs::write(volume.join("sub/file"), "hello").unwrap();
    let mut spec =
        f.spec("mounts", "main", &["try-write", "/data/new", "/data/ro/new", "/etc/hosts", "/new/place/file"]).await;
    let mount = |source: PathBuf, target: &str, read_only| Mount { source, target: target.into(), read_only };
    spec.mounts = vec![
        mount(volume.clone(), "/data", false),
        mount(volume.join("sub"), "/data/ro", true),
        mount(volume.join("sub/file"), "/etc/hosts", true),
        mount(volume.join("sub/file"), "/new/place/file", false),
    ];
    let (_, out) = f.run(&pod, spec).await;
    assert_eq!(
        out,
        "/data/new written\n/data/ro/new Read-only file system (os error 30)\n\
         /etc/hosts Read-only file system (os error 30)\n/new/place/file written\n"
    );
    assert_eq!(fs::read_to_string(volume.join("new")).unwrap(), "x");
    assert_eq!(fs::read_to_string(volume.join("sub/file")).unwrap(), "x");
}

async fn system_calls_are_held_to_the_profile(f: &Fixture) {
    let pod = f.sandbox("seccomp").await;
    let profile = f.path().join("no-mkdir.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir", "mkdirat", "capset", "prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30}]}"#;
    fs::write(&profile, text).unwrap();
    let cases = [
        ("unconfined", Seccomp::Unconfined, "0", "done", "done"),
        ("default", Seccomp::RuntimeDefault, "2", "done", "EPERM: Operation not permitted"),
        ("localhost", Seccomp::Localhost(profile), "2", "EROFS: Read-only file system", "done"),
    ];
    for (name, seccomp, mode, mkdir, unshare) in cases {
        for (user, no_new_privileges) in [(0, false), (0, true), (1000, false), (1000, true)] {
            let mut spec = f.spec("seccomp", &format!("{name}-{user}-{no_new_privileges}"), &["calls"]).await;
            spec.privileges =
                Privileges { user: Some(user), seccomp: seccomp.clone(), no_new_privileges, ..spec.privileges };
            let (exit, out) = f.run(&pod, spec).await;
            assert_eq!(exit.code, 0, "{name} {user} {out}");
            let calls = parse(&out);
            let what = format!("{name} {user} {no_new_privileges}: {calls}");
            assert_eq!(
                (&calls["getpid"], &calls["mode"], &calls["thread"]),
                (&1.into(), &mode.into(), &"done".into()),
                "{what}"
            );
            assert_eq!(calls["unshare"], unshare, "{what}");
            assert_eq!(calls["bounding"], "00000000a80425fb", "{what}");
            assert_eq!(
                calls["capabilities"],
                if user == 0 { "00000000a80425fb" } else { "0000000000000000" },
                "{what}"
            );
            assert_eq!(calls["mount"], "EPERM: Operation not permitted", "nobody has the capability: {what}");
            if user == 0 {
                assert_eq!(calls["mkdir"], mkdir, "{what}");
            }
        }
    }
    let mut spec = f.spec("seccomp", "capable", &["calls"]).await;
    spec.privileges.seccomp = Seccomp::RuntimeDefault;
    spec.privileges.add = vec!["SYS_ADMIN".into()];
    let calls = parse(&f.run(&pod, spec).await.1);
    assert_eq!((&calls["mount"], &calls["mode"]), (&"done".into(), &"2".into()), "who has the capability may: {calls}");
}

async fn a_read_only_root_can_not_be_written(f: &Fixture) {
    let pod = f.sandbox("read-only").await;
    let mut spec = f.spec("read-only", "main", &["try-write", "/new", "/dev/shm/new"]).await;
    spec.privileges.read_only_root = true;
    assert_eq!(f.run(&pod, spec).await.1, "/new Read-only file system (os error 30)\n/dev/shm/new written\n");
    let (_, out) = f.run(&pod, f.spec("read-only", "writable", &["try-write", "/new"]).await).await;
    assert_eq!(out, "/new written\n", "a container's writes go to a layer of its own");
    let (_, out) = f.run(&pod, f.spec("read-only", "another", &["facts", "/new"]).await).await;
    assert!(out.contains("No such file"), "which no other container sees: {out}");
}

async fn running_out_of_memory_is_told(f: &Fixture) {
    let pod = f.sandbox("oom").await;
    let mut spec = f.spec("oom", "main", &["eat"]).await;
    spec.limits.memory_limit_bytes = Some(64 << 20);
    let (exit, _) = f.run(&pod, spec).await;
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (137, Some(9), "OOMKilled"));
}

async fn processes_are_limited(f: &Fixture) {
    let pod = f.sandbox("pids").await;
    let mut spec = f.spec("pids", "main", &["fork", "50"]).await;
    spec.limits.pids = Some(10);
    assert_eq!(f.run(&pod, spec).await.1, "9\n");
}

async fn logs_are_in_the_cri_format(f: &Fixture) {
    let pod = f.sandbox("logs").await;
    let spec = f.spec("logs", "main", &["say"]).await;
    let log = spec.log_path.clone();
    f.run(&pod, spec).await;
    let text = fs::read_to_string(&log).unwrap();
    let mut lines = vec![];
    for line in text.lines() {
        let [time, stream, tag, words] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        assert!(time.len() == 30 && time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        lines.push((stream, tag, words.len()));
    }
    lines.sort_by_key(|l| l.0 == "stderr");
    assert_eq!(
        lines,
        [
            ("stdout", "F", 3),
            ("stdout", "F", 0),
            ("stdout", "F", 3),
            ("stdout", "P", 16384),
            ("stdout", "F", 3616),
            ("stdout", "P", 6),
            ("stderr", "F", 5)
        ]
    );
    assert_eq!(said(&log, "stderr"), "cried\n");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o640);
}

async fn a_stop_signal_of_the_pod_is_used(f: &Fixture) {
    let pod = f.sandbox("quit").await;
    let mut spec = f.spec("quit", "main", &["until-quit"]).await;
    spec.stop_signal = "SIGQUIT".into();
    let log = spec.log_path.clone();
    let made = f.oci().start(&pod, spec).await.unwrap();
    ready(log).await;
    f.oci().stop(&made.id, GRACE).await.unwrap();
    let ContainerState::Exited(exit) = f.state(&made.id).await else { panic!() };
    assert_eq!((exit.code, exit.reason.as_str()), (0, "Completed"));
}

async fn a_signal_that_kills_is_told(f: &Fixture) {
    let pod = f.sandbox("signals").await;
    let made = f.start(&pod, "main", &["stubborn"]).await;
    f.oci().stop(&made.id, Duration::ZERO).await.unwrap();
    let ContainerState::Exited(exit) = f.state(&made.id).await else { panic!() };
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (137, Some(9), "Error"));
}

async fn what_can_not_be_executed_is_told_in_upstreams_words(f: &Fixture) {
    let pod = f.sandbox("words").await;
    let cases = [
        ("nope", r#"unable to start container process: exec: "nope": executable file not found in $PATH"#),
        ("/no/pe", r#"unable to start container process: exec: "/no/pe": stat /no/pe: no such file or directory"#),
        ("/etc", r#"unable to start container process: exec: "/etc": is a directory"#),
        ("/etc/passwd", r#"unable to start container process: exec: "/etc/passwd": permission denied"#),
    ];
    for (number, (program, words)) in cases.into_iter().enumerate() {
        let mut spec = f.spec("words", &format!("c{number}"), &[]).await;
        spec.args = vec![program.into()];
        let answer = f.oci().start(&pod, spec).await;
        assert!(matches!(&answer, Err(RuntimeError::Start(text)) if text == words), "{program}: {answer:?}");
    }
    let script = f.path().join("script");
    fs::write(&script, "no interpreter").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut spec = f.spec("words", "script", &[]).await;
    spec.args = vec!["/script".into()];
    spec.mounts = vec![Mount { source: script, target: "/script".into(), read_only: true }];
    let answer = f.oci().start(&pod, spec).await;
    assert!(
        matches!(&answer, Err(RuntimeError::Start(text)) if text.ends_with("exec /script: exec format error")),
        "{answer:?}"
    );
}

async fn containers_are_adopted_after_a_restart_of_the_agent(f: &Fixture) {
    let pod = f.sandbox("adopted").await;
    let running = f.start(&pod, "running", &["until-stopped"]).await;
    let over = f.start(&pod, "over", &["exit", "3"]).await;
    let exit = f.exit(&over.id).await;
    let before = f.oci().inventory().await.unwrap();
    f.drop_agent();
    f.open_agent().await;
    let after = f.oci().inventory().await.unwrap();
    assert_eq!(before, after, "the same sandboxes and containers, with the same ids, times and states");
    assert_eq!(f.state(&over.id).await, ContainerState::Exited(exit));
    f.oci().stop(&running.id, GRACE).await.unwrap();
    assert!(matches!(f.state(&running.id).await, ContainerState::Exited(Exit { code: 0, .. })));
    let again = f.start(&pod, "again", &["until-stopped"]).await;
    assert!(matches!(f.state(&again.id).await, ContainerState::Running { .. }));
}

async fn an_end_without_an_agent_is_found_by_the_next(f: &Fixture) {
    let pod = f.sandbox("unseen").await;
    let made = f.start(&pod, "main", &["until-stopped"]).await;
    f.drop_agent();
    let pids: Vec<i32> = fs::read_to_string(group(f, "unseen", &made.id).join("cgroup.procs"))
        .unwrap()
        .lines()
        .map(|l| l.parse().unwrap())
        .collect();
    for pid in pids {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    f.open_agent().await;
    let exit = f.exit(&made.id).await;
    assert_eq!((exit.code, exit.reason.as_str()), (137, "Error"));
    f.oci().remove(&made.id).await.unwrap();
}

fn group(f: &Fixture, pod: &str, id: &str) -> PathBuf {
    let root = if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "" } else { "memory" };
    PathBuf::from("/sys/fs/cgroup").join(root).join(&f.config.cgroup).join(format!("burstable/pod{pod}")).join(id)
}

fn kill_shims(f: &Fixture) {
    let shims = f.processes();
    assert_eq!(shims.len(), 1);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shims[0]), nix::sys::signal::Signal::SIGKILL).unwrap();
}

async fn lost(f: &Fixture, id: &str) {
    let exit = f.exit(id).await;
    assert_eq!((exit.code, exit.signal, exit.reason.as_str()), (137, Some(9), "Error"));
    let sandboxes = f.oci().inventory().await.unwrap().sandboxes;
    assert!(!sandboxes[0].ready, "{sandboxes:?}");
    let spec = f.sandbox_spec(&sandboxes[0].pod.0);
    assert!(matches!(f.oci().create_sandbox(spec.clone()).await, Err(RuntimeError::Refused(_))));
    f.oci().remove(id).await.unwrap();
    f.oci().remove_sandbox(&spec.pod).await.unwrap();
    assert!(f.oci().create_sandbox(spec).await.unwrap().ready);
}

async fn a_lost_shim_is_noticed_and_its_containers_die(f: &Fixture) {
    let pod = f.sandbox("lost").await;
    let made = f.start(&pod, "main", &["stubborn"]).await;
    let procs = group(f, "lost", &made.id).join("cgroup.procs");
    assert!(!fs::read_to_string(&procs).unwrap().is_empty());
    kill_shims(f);
    lost(f, &made.id).await;
    assert!(!procs.exists(), "its group went with the sandbox, so its process is gone");
}

async fn a_lost_shim_is_found_by_the_next_agent(f: &Fixture) {
    let pod = f.sandbox("lost-unseen").await;
    let made = f.start(&pod, "main", &["stubborn"]).await;
    f.drop_agent();
    kill_shims(f);
    f.open_agent().await;
    lost(f, &made.id).await;
}

async fn twenty_containers_start_in_parallel(f: &Fixture) {
    let pods = join_all((0..4).map(|n| async move { f.sandbox(&format!("parallel-{n}")).await })).await;
    let starts = (0..20).map(|n| {
        let pod = &pods[n % 4];
        async move { f.start(pod, &format!("c{n}"), &["until-stopped"]).await.id }
    });
    let ids = join_all(starts).await;
    for id in &ids {
        assert!(matches!(f.state(id).await, ContainerState::Running { .. }));
    }
    join_all(ids.iter().map(|id| f.oci().stop(id, GRACE))).await.into_iter().for_each(|r| r.unwrap());
    for id in &ids {
        assert!(matches!(f.state(id).await, ContainerState::Exited(Exit { code: 0, .. })));
    }
    join_all(pods.iter().map(|pod| f.oci().remove_sandbox(pod))).await.into_iter().for_each(|r| r.unwrap());
}

async fn a_shared_process_namespace_is_shared(f: &Fixture) {
    let mut sandbox = f.sandbox_spec("shared");
    sandbox.share_pid = true;
    let pod = f.oci().create_sandbox(sandbox).await.unwrap().pod;
    let first = f.start(&pod, "first", &["until-stopped"]).await;
    let facts = parse(&f.run(&pod, f.spec("shared", "second", &["facts", "/proc/1/comm"]).await).await.1);
    assert_eq!(facts["processes"], 3, "the pause process, the first container and the second");
    f.oci().stop(&first.id, GRACE).await.unwrap();
    assert!(matches!(f.state(&first.id).await, ContainerState::Exited(Exit { code: 0, .. })));
}

async fn a_container_beside_another_sees_its_processes(f: &Fixture) {
    let pod = f.sandbox("beside").await;
    let first = f.start(&pod, "first", &["until-stopped"]).await;
    let mut spec = f.spec("beside", "second", &["facts"]).await;
    spec.beside = Some("first".into());
    let facts = parse(&f.run(&pod, spec.clone()).await.1);
    assert_eq!(facts["processes"], 2, "the first container and the second");
    spec.beside = Some("nobody".into());
    spec.attempt = 1;
    let answer = f.oci().start(&pod, spec).await;
    assert!(matches!(answer, Err(RuntimeError::Refused(_))), "{answer:?}");
    f.oci().stop(&first.id, GRACE).await.unwrap();
}

async fn a_resize_reaches_the_kernel(f: &Fixture) {
    let pod = f.sandbox("resize").await;
    let v2 = std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let files = if v2 {
        ["memory.max", "cpu.max", "cpu.weight"].map(|file| format!("/sys/fs/cgroup/{file}"))
    } else {
        ["memory/memory.limit_in_bytes", "cpu/cpu.cfs_quota_us", "cpu/cpu.shares"]
            .map(|file| format!("/sys/fs/cgroup/{file}"))
    };
    let made = f.start(&pod, "main", &["until-stopped"]).await;
    let ask = || ["/kprov", "inside", "facts"].map(str::to_owned).into_iter().chain(files.clone()).collect();
    let limits = |millis, bytes| Limits {
        cpu_request_millis: Some(millis),
        cpu_limit_millis: Some(millis),
        memory_limit_bytes: Some(bytes),
        ..Limits::default()
    };
    let cases = [
        (limits(500, 512 << 20), ["536870912", "50000", "512"], ["536870912", "50000 100000", "20"]),
        (limits(250, 256 << 20), ["268435456", "25000", "256"], ["268435456", "25000 100000", "10"]),
        (limits(1000, 1 << 30), ["1073741824", "100000", "1024"], ["1073741824", "100000 100000", "39"]),
    ];
    for (limits, v1_words, v2_words) in cases {
        f.oci().resize(&made.id, limits).await.unwrap();
        let told = parse(&f.oci().exec(&made.id, ask(), GRACE).await.unwrap().output);
        let words = if v2 { v2_words } else { v1_words };
        for (file, word) in files.iter().zip(words) {
            assert_eq!(told["files"][file], format!("{word}\n"), "{file}");
        }
    }
    f.oci().stop(&made.id, GRACE).await.unwrap();
}

async fn a_pods_containers_share_host_name_network_and_memory(f: &Fixture) {
    let (stay, leave) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let holder = std::thread::Builder::new().name("netns".into());
    let thread = holder.spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        tell.send(nix::unistd::gettid()).unwrap();
        // Ends when the test does.
        let _ = leave.recv();
    });
    let netns = PathBuf::from(format!("/proc/{}/task/{}/ns/net", std::process::id(), told.recv().unwrap()));
    let inode = fs::read_link(&netns).unwrap();
    let mut sandbox = f.sandbox_spec("network");
    sandbox.netns = Some(netns);
    sandbox.sysctls =
        [("net.ipv4.ip_unprivileged_port_start".into(), "0".into()), ("kernel.shm_rmid_forced".into(), "1".into())]
            .into();
    let pod = f.oci().create_sandbox(sandbox).await.unwrap().pod;
    let (_, out) = f.run(&pod, f.spec("network", "a", &["try-write", "/dev/shm/from-a"]).await).await;
    assert_eq!(out, "/dev/shm/from-a written\n");
    let files = [
        "facts",
        "/dev/shm/from-a",
        "/proc/net/dev",
        "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        "/proc/sys/kernel/shm_rmid_forced",
    ];
    let facts = parse(&f.run(&pod, f.spec("network", "b", &files).await).await.1);
    assert_eq!(facts["hostname"], "network-host");
    assert_eq!(facts["files"]["/dev/shm/from-a"], "x");
    assert_eq!(facts["files"]["/proc/net/dev"].as_str().unwrap().lines().count(), 3, "a fresh namespace has lo alone");
    assert_eq!((&facts["files"][files[3]], &facts["files"][files[4]]), (&"0\n".into(), &"1\n".into()));
    assert!(!inode.as_os_str().is_empty());
    drop(stay);
    thread.unwrap().join().unwrap();
}

async fn sysctls_are_the_pods_own(f: &Fixture) {
    for (name, value) in [("vm.swappiness", "1"), ("net.ipv4.ip_forward", "1"), ("kernel.pid_max", "5")] {
        let mut sandbox = f.sandbox_spec("sysctl");
        sandbox.sysctls = [(name.into(), value.into())].into();
        let answer = f.oci().create_sandbox(sandbox).await;
        assert!(matches!(&answer, Err(RuntimeError::Refused(text)) if text.contains(name)), "{answer:?}");
    }
    assert_eq!(f.oci().inventory().await.unwrap(), Inventory::default());
}

async fn what_a_container_leaves_is_killed_with_it(f: &Fixture) {
    let mut sandbox = f.sandbox_spec("leaving");
    sandbox.host_pid = true;
    let pod = f.oci().create_sandbox(sandbox).await.unwrap().pod;
    let made = f.start(&pod, "main", &["leave-child"]).await;
    assert_eq!(f.exit(&made.id).await.code, 0);
    f.oci().remove_sandbox(&pod).await.unwrap();
    assert!(!group(f, "leaving", &made.id).exists(), "a group that can be removed has no process");
}

async fn refusals_are_clear_and_leave_nothing(f: &Fixture) {
    let pod = f.sandbox("refused").await;
    let base = f.spec("refused", "main", &["exit", "0"]).await;
    let mut cases: Vec<(&str, ContainerSpec)> = vec![];
    let mut with = |words: &'static str, change: &dyn Fn(&mut ContainerSpec)| {
        let mut spec = base.clone();
        change(&mut spec);
        cases.push((words, spec));
    };
    with("/no/such.json\": No such file", &|s| s.privileges.seccomp = Seccomp::Localhost("/no/such.json".into()));
    with("no command", &|s| s.args.clear());
    with("is no signal", &|s| s.stop_signal = "SIGNOPE".into());
    with("unknown capability", &|s| s.privileges.add = vec!["FLY".into()]);
    with("is not there", &|s| {
        s.mounts = vec![Mount { source: "/no/such".into(), target: "/x".into(), read_only: true }]
    });
    for (words, spec) in cases {
        let answer = f.oci().start(&pod, spec).await;
        assert!(matches!(&answer, Err(RuntimeError::Refused(text)) if text.contains(words)), "{words}: {answer:?}");
    }
    assert!(f.oci().inventory().await.unwrap().containers.is_empty());
    let mut sandbox = f.sandbox_spec("no-network");
    sandbox.netns = Some("/no/such/netns".into());
    let answer = f.oci().create_sandbox(sandbox).await;
    assert!(matches!(&answer, Err(RuntimeError::System { what, .. }) if what.contains("/no/such/netns")), "{answer:?}");
    let mut sandbox = f.sandbox_spec("..");
    sandbox.pod.0 = "../evil".into();
    assert!(matches!(f.oci().create_sandbox(sandbox).await, Err(RuntimeError::Refused(_))));
    assert_eq!(f.oci().inventory().await.unwrap().sandboxes.len(), 1);
}

async fn a_privileged_container_gets_what_the_machine_grants(f: &Fixture) {
    let pod = f.sandbox("privileged").await;
    let mut spec = f.spec("privileged", "main", &["facts"]).await;
    spec.privileges.privileged = true;
    spec.limits.oom_score_adj = -998;
    let facts = parse(&f.run(&pod, spec).await.1);
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let bounds = own.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap();
    assert_eq!(facts["capabilities"], bounds);
}

async fn everything_can_be_purged_without_an_agent(f: &Fixture) {
    let pods = join_all(["purge-a", "purge-b"].map(|pod| f.sandbox(pod))).await;
    let mut ids = vec![];
    for pod in &pods {
        ids.push(f.start(pod, "main", &["stubborn"]).await.id);
    }
    let answer = f.config.images.remove(kprov_node::images::BUILTIN);
    assert!(matches!(answer, Err(kprov_node::images::Error::InUse { .. })), "{answer:?}");
    let mut events = f.oci().events();
    f.drop_agent();
    while events.next().await.is_some() {}
    // A damaged record is no reason to leave anything behind.
    fs::write(f.config.root.join("pods/purge-b/sandbox.json"), "{").unwrap();
    assert!(Oci::open(f.config.clone()).await.is_err(), "what can't be read is an error");
    purge(&f.config).await.unwrap();
    f.assert_nothing_left();
}

async fn the_echo_server_answers_and_ends_gracefully(f: &Fixture) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let pod = f.sandbox("echo").await;
    let mut spec = f.spec("echo", "main", &["echo", "127.0.0.1:0"]).await;
    spec.privileges = Privileges::default();
    spec.env.push(("COLOR".into(), "red".into()));
    let log = spec.log_path.clone();
    let made = f.oci().start(&pod, spec).await.unwrap();
    let address = said_when(log.clone(), |text| text.ends_with('\n')).await;
    let mut answer = String::new();
    let mut stream = tokio::net::TcpStream::connect(address.trim()).await.unwrap();
    stream.write_all(b"GET /a?b=c HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").await.unwrap();
    stream.read_to_string(&mut answer).await.unwrap();
    for words in
        ["200 OK", "Hostname: echo-host", "client_address=127.0.0.1", "real path=/a?b=c", "COLOR=red", "host=web"]
    {
        assert!(answer.contains(words), "{words}: {answer}");
    }
    f.oci().stop(&made.id, GRACE).await.unwrap();
    assert!(matches!(f.state(&made.id).await, ContainerState::Exited(Exit { code: 0, .. })));
    assert!(said(&log, "stdout").ends_with("ended\n"));
}
