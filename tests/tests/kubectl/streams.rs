//! `kubectl exec`, `cp`, `attach`, `run -it`, `debug -it` and `port-forward`.
#![allow(clippy::disallowed_types, reason = "starts kubectl as a user does")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use kprov::client::Client;
use kprov_tests::cluster::TestCluster;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{cluster, http_get};

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, command: [sleep, infinity]}
  - {name: other, image: busybox, command: [sleep, infinity]}
";

/// Runs a command and gives it something to read.
fn fed(command: &mut Command, input: &[u8]) -> Output {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A command that does not read to the end breaks the pipe.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What kubectl speaks as it is, and what older ones do.
const PROTOCOLS: [&str; 2] = ["WebSocket", "SPDY"];

fn kubectl(cluster: &TestCluster, protocol: &str) -> Command {
    let mut command = cluster.kubectl_command();
    for name in ["KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "KUBECTL_PORT_FORWARD_WEBSOCKETS"] {
        command.env(name, (protocol == "WebSocket").to_string());
    }
    command
}

/// A line of arguments, split at spaces.
fn with<'a>(command: &'a mut Command, line: &str) -> &'a mut Command {
    command.args(line.split(' '))
}

/// kubectl at a terminal of 101 columns and 33 rows, which types some lines.
fn at_terminal(cluster: &TestCluster, line: &str, typed: &str) -> Output {
    let mut script = Command::new("script");
    script.args(["-qec", &format!("stty cols 101 rows 33; kubectl {line}"), "/dev/null"]);
    for (name, value) in cluster.kubectl_command().get_envs() {
        script.env(name, value.unwrap());
    }
    fed(&mut script, typed.as_bytes())
}

/// Prints the terminal's size once it is the client's: to a terminal that it comes back to, kubectl tells another one first.
const SIZED: &str = "until stty size | grep -q '^33 101$'; do sleep 0.1; done; stty size";

#[test]
fn commands_run_in_containers() {
    let cluster = cluster("exec", 1, &["busybox"]);
    cluster.apply(PODS).unwrap();
    cluster.k("wait --for=condition=Ready pod/shell --timeout=60s").unwrap();
    for protocol in PROTOCOLS {
        let run = |line: &str, input: &[u8]| {
            let out = fed(with(&mut kubectl(&cluster, protocol), line), input);
            (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
        };
        let ok = |said: &str| (0, said.to_owned(), String::new());
        assert_eq!(run("exec shell -c main -- echo hello", b""), ok("hello\n"), "{protocol}");
        assert_eq!(run("exec -i shell -c other -- wc -c", b"12345"), ok("5\n"), "{protocol}");
        assert_eq!(run("exec -i shell -c main -- head -c 3", &[b'x'; 300_000]), ok("xxx"), "{protocol}");
        let (code, said, cried) = run("exec shell -c main -- ls / /nowhere", b"");
        assert_eq!(code, 1, "{protocol}");
        assert!(said.contains("bin\n") && cried.contains("ls: /nowhere: No such file"), "{protocol}: {said}{cried}");
        assert!(cried.ends_with("command terminated with exit code 1\n"), "{protocol}: {cried}");
        let (code, _, cried) = run("exec shell -c main -- nothing", b"");
        assert_eq!(code, 1, "{protocol}");
        assert!(cried.contains("exec: \"nothing\": executable file not found in $PATH"), "{protocol}: {cried}");
        let (_, said, _) = run("exec shell -c main -- seq 1 200000", b"");
        assert!(said == (1..=200_000).map(|n| format!("{n}\n")).collect::<String>(), "{protocol}: {}", said.len());
        // A child that holds the streams open does not hold up the end for long.
        let out = fed(
            kubectl(&cluster, protocol).args(["exec", "shell", "-c", "main", "--", "sh", "-c", "sleep 60 & echo on"]),
            b"",
        );
        assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(0), "on\n"), "{protocol}");
        let (code, _, cried) = run("exec shell -c none -- true", b"");
        assert_eq!(code, 1, "{protocol}");
        assert!(cried.contains("container none is not valid for pod shell"), "{protocol}: {cried}");
        let (_, _, cried) = run("exec nobody -- true", b"");
        assert!(cried.contains("pods \"nobody\" not found"), "{protocol}: {cried}");
    }
    let out = at_terminal(&cluster, "exec -it shell -c main -- sh", &format!("{SIZED}; tty; exit 7\r"));
    let said = text(&out.stdout);
    assert!(said.contains("33 101\r\n") && said.contains("/dev/pts/0\r\n"), "{said}");
    assert_eq!(out.status.code(), Some(7), "{said}");
    refused_by_roles(&cluster);
    files_are_copied(&cluster);
}

/// Who may only read may not run commands.
fn refused_by_roles(cluster: &TestCluster) {
    cluster.k("create role reader --verb=get,list,watch --resource=pods,pods/exec").unwrap();
    cluster.k("create rolebinding reader --role=reader --user=reader").unwrap();
    let refusal = cluster.k("exec shell -c main --as reader -- true").unwrap_err().to_string();
    assert!(refusal.contains("User \"reader\" cannot create resource \"pods/exec\""), "{refusal}");
}

fn files_are_copied(cluster: &TestCluster) {
    let folder = tempfile::tempdir().unwrap();
    let (sent, got) = (folder.path().join("sent"), folder.path().join("got"));
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    fs::create_dir(&sent).unwrap();
    fs::write(sent.join("large"), &content).unwrap();
    fs::write(sent.join("small"), "x").unwrap();
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    cluster.kubectl(&["cp", "-c", "main", &path(&sent), "shell:/tmp/there"]).unwrap();
    cluster.kubectl(&["cp", "-c", "main", "shell:/tmp/there", &path(&got)]).unwrap();
    assert!(fs::read(got.join("large")).unwrap() == content);
    assert_eq!(fs::read(got.join("small")).unwrap(), b"x");
}

const ATTACHED: &str = "
apiVersion: v1
kind: Pod
metadata: {name: reader}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, stdin: true, command: [sh, -c, 'while read line; do echo \"heard $line\"; done']}
";

#[test]
fn containers_are_attached_to() {
    let cluster = cluster("attach", 1, &["busybox"]);
    cluster.apply(PODS).unwrap();
    cluster.apply(ATTACHED).unwrap();
    cluster.k("wait --for=condition=Ready pod/shell pod/reader --timeout=60s").unwrap();
    for protocol in PROTOCOLS {
        let mut attach = with(&mut kubectl(&cluster, protocol), "attach -i reader")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        attach.stdin.as_mut().unwrap().write_all(format!("{protocol}\n").as_bytes()).unwrap();
        let mut heard = String::new();
        BufReader::new(attach.stdout.as_mut().unwrap()).read_line(&mut heard).unwrap();
        assert_eq!(heard, format!("heard {protocol}\n"));
        attach.kill().unwrap();
        attach.wait().unwrap();
    }
    assert_eq!(cluster.k("logs reader").unwrap(), "heard WebSocket\nheard SPDY\n");
    a_pod_runs_for_its_client(&cluster);
    a_container_is_added_to_look_at_a_pod(&cluster);
    the_server_goes_and_comes_back(&cluster);
}

fn a_pod_runs_for_its_client(cluster: &TestCluster) {
    let run =
        ["run", "one", "--rm", "-i", "--quiet", "--restart=Never", "--image=busybox", "--", "sh", "-c", "cat; exit 3"];
    let out = fed(cluster.kubectl_command().args(run), b"given\n");
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(3), "given\n"), "{}", text(&out.stderr));
    assert!(cluster.k("get pod one").is_err(), "it went with its client");
    let run = "run two --rm -it --quiet --restart=Never --image=busybox -- sh";
    let out = at_terminal(cluster, run, &format!("{SIZED}\rexit\r"));
    assert!(text(&out.stdout).contains("33 101\r\n"), "{}", text(&out.stdout));
}

fn a_container_is_added_to_look_at_a_pod(cluster: &TestCluster) {
    let debug = "debug -it shell --image=busybox --target=main --container=look -- sh";
    let out = at_terminal(cluster, debug, "ps\rexit\r");
    assert!(text(&out.stdout).contains("sleep infinity"), "{}", text(&out.stdout));
}

/// A command's client is told; containers live on and can be attached to again.
fn the_server_goes_and_comes_back(cluster: &TestCluster) {
    let mut exec = cluster
        .kubectl_command()
        .args(["exec", "-i", "shell", "-c", "main", "--", "sh", "-c", "echo on; exec cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut heard = String::new();
    BufReader::new(exec.stdout.as_mut().unwrap()).read_line(&mut heard).unwrap();
    cluster.end_server(nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(!exec.wait_with_output().unwrap().status.success(), "it is told");
    cluster.kprov("up", &[]).unwrap();
    cluster.k("wait --for=condition=Ready pod/shell pod/reader --timeout=60s").unwrap();
    assert_eq!(
        cluster.k("get pods -o jsonpath={.items[*].status.containerStatuses[*].restartCount}").unwrap(),
        "0 0 0"
    );
    assert_eq!(cluster.k("exec shell -c main -- echo again").unwrap(), "again\n");
    // What the reader hears now it answers to the log, whoever is attached.
    let mut attach = with(&mut cluster.kubectl_command(), "attach -i reader")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    attach.stdin.as_mut().unwrap().write_all(b"back\n").unwrap();
    let mut heard = String::new();
    BufReader::new(attach.stdout.as_mut().unwrap()).read_line(&mut heard).unwrap();
    assert_eq!(heard, "heard back\n");
    attach.kill().unwrap();
    attach.wait().unwrap();
}

const WEB: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    command:
    - sh
    - -c
    - 'mkdir /www; seq 1 200000 > /www/index.html; nc -ll -p 9000 -e cat & httpd -p 127.0.0.1:8082 -h /www;
      exec httpd -f -p 8080 -h /www'
    ports: [{containerPort: 8080, name: http}]
    readinessProbe: {exec: {command: [sh, -c, 'wget -q -O /dev/null 127.0.0.1:8080/']}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
";

/// A port of this machine that leads to one of a pod until it is dropped.
struct Forwarded {
    kubectl: Child,
    address: String,
}

impl Forwarded {
    fn to(cluster: &TestCluster, protocol: &str, what: &str, port: u16) -> Self {
        let mut command = kubectl(cluster, protocol);
        command.args(["port-forward", what, &format!(":{port}")]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut kubectl = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(kubectl.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.strip_prefix("Forwarding from ").and_then(|rest| rest.split(' ').next());
        Self { address: address.unwrap_or_else(|| panic!("{line}")).to_owned(), kubectl }
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        // One that has ended by itself can't be killed.
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

#[test]
fn ports_of_pods_are_reached() {
    let cluster = cluster("ports", 1, &["busybox"]);
    cluster.apply(WEB).unwrap();
    cluster.k("wait --for=condition=Ready pod/web --timeout=60s").unwrap();
    let page: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    for protocol in PROTOCOLS {
        for (what, port) in [("pod/web", 8082), ("service/web", 80)] {
            let forwarded = Forwarded::to(&cluster, protocol, what, port);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let got = http_get(&forwarded.address).unwrap();
                        assert!(got == page, "{protocol} {what}: {} bytes", got.len());
                    });
                }
            });
        }
        let forwarded = Forwarded::to(&cluster, protocol, "pod/web", 9000);
        let mut echo = TcpStream::connect(&forwarded.address).unwrap();
        echo.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        echo.write_all(b"there and back").unwrap();
        echo.shutdown(Shutdown::Write).unwrap();
        let mut got = String::new();
        echo.read_to_string(&mut got).unwrap();
        assert_eq!(got, "there and back", "{protocol}: who has said all still hears");
        let mut refused = Forwarded::to(&cluster, protocol, "pod/web", 1);
        assert_eq!(TcpStream::connect(&refused.address).unwrap().read(&mut [0; 1]).unwrap_or(0), 0);
        let mut told = String::new();
        // kubectl ends by itself then, in some versions.
        let mut lines = BufReader::new(refused.kubectl.stderr.take().unwrap()).lines();
        while !told.contains("error forwarding port 1 to pod web") {
            told.push_str(&lines.next().expect("the reason is told").unwrap());
        }
        assert!(told.contains("Connection refused"), "{told}");
    }
    the_library_does_the_same(&cluster, &page);
    requests_are_passed_on(&cluster, &page);
}

/// What `kubectl proxy` shows of pods and services.
fn requests_are_passed_on(cluster: &TestCluster, page: &str) {
    let get = |path: &str| cluster.kubectl(&["get", "--raw", &format!("/api/v1/namespaces/default/{path}")]);
    for path in
        ["pods/web/proxy/", "pods/web:8080/proxy/index.html", "services/web/proxy/", "services/http:web:80/proxy/"]
    {
        assert!(get(path).unwrap() == page, "{path}");
    }
    for (path, words) in [
        ("pods/web:1/proxy/", "error trying to reach service: dial tcp"),
        ("pods/web/proxy/none", "the server could not find the requested resource"),
        ("pods/none/proxy/", "pods \"none\" not found"),
        ("services/web:81/proxy/", "no service port 81 found for service \"web\""),
        ("services/web:other/proxy/", "no endpoints available for service \"web:other\""),
    ] {
        let told = get(path).unwrap_err().to_string();
        assert!(told.contains(words), "{path}: {told}");
    }
}

/// kube speaks in channels where kubectl does in streams.
fn the_library_does_the_same(cluster: &TestCluster, page: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::from_kubeconfig(&cluster.kubeconfig()).await.unwrap();
        let output =
            client.output("web", None, &["sh", "-c", "cat /www/index.html; echo no >&2; exit 5"]).await.unwrap();
        assert!(output.stdout == page.as_bytes(), "{} bytes", output.stdout.len());
        assert_eq!((output.stderr.as_slice(), output.code), (&b"no\n"[..], Some(5)));
        // The end of a stream is the end of its connection.
        let mut http = client.port_forward("web", &[8080]).await.unwrap().take_stream(8080).unwrap();
        http.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
        let mut got = String::new();
        http.read_to_string(&mut got).await.unwrap();
        assert!(got.ends_with(page), "{} bytes", got.len());
        let mut ports = client.port_forward("web", &[9000, 1]).await.unwrap();
        let (mut echo, refused) = (ports.take_stream(9000).unwrap(), ports.take_error(1).unwrap());
        echo.write_all(b"again").await.unwrap();
        let mut back = [0; 5];
        echo.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"again");
        let told = refused.await.unwrap();
        assert!(told.contains("error forwarding port 1 to pod web") && told.contains("refused"), "{told}");
    });
}
