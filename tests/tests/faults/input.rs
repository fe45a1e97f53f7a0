//! Bad input is refused in words that name the fault, and changes nothing.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::{self, StreamExt};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kprov_tests::cluster::TestCluster;
use kprov_tests::https::Access;

use super::{KPROV, fails};

const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: web, image: nginx, resources: {limits: {memory: 1Mi}}}]}
";

/// What is replaced in the pod, by what, and what is said of it.
const PODS: &[(&str, &str, &[&str])] = &[
    ("image: nginx", "imag: nginx", &["unknown field \"spec.containers[0].imag\""]),
    ("{app: web}", "{app: 7}", &["metadata.labels", "string"]),
    ("{app: web}", "{app: a b}", &["metadata.labels: Invalid value: \"a b\""]),
    ("{app: web}", "{'a b': c}", &["metadata.labels: Invalid value: \"a b\""]),
    ("name: web,", "name: We_b,", &["metadata.name: Invalid value: \"We_b\"", "RFC 1123"]),
    ("name: web, image", "name: We_b, image", &["spec.containers[0].name: Invalid value: \"We_b\""]),
    ("1Mi", "1Mx", &["quantities must match the regular expression"]),
    (
        "1Mi",
        "-1",
        &["spec.containers[0].resources.limits[memory]: Invalid value: \"-1\"", "greater than or equal to 0"],
    ),
    ("image: nginx", "image: ''", &["spec.containers[0].image: Required value"]),
    ("containers: [", "containers: {", &["error"]),
    ("containers: [{name: web", "containers: [{name: [web]", &["spec.containers", "string"]),
    ("spec: {", "spec: {restartPolicy: Sometimes, ", &["spec.restartPolicy: Unsupported value: \"Sometimes\""]),
    ("spec: {", "spec: {activeDeadlineSeconds: soon, ", &["activeDeadlineSeconds", "int"]),
    ("image: nginx", "image: nginx, ports: [{containerPort: 70000}]", &["must be between 1 and 65535"]),
];

#[test]
fn what_kubectl_sends_is_checked() {
    let cluster = TestCluster::up(KPROV, "input", &["--nodes", "0"]).unwrap();
    for (part, by, words) in PODS {
        let manifest = POD.replacen(part, by, 1);
        assert_ne!(manifest, POD, "{part} is not in the pod");
        let said = match cluster.apply(&manifest) {
            Err(error) => error.to_string(),
            Ok(said) => panic!("{by} was accepted: {said}"),
        };
        for word in *words {
            assert!(said.contains(word), "{by}: `{word}` is not said: {said}");
        }
    }
    assert_eq!(cluster.k("get pods -o name").unwrap(), "", "nothing was made");
    cluster.apply(POD).unwrap();
    let same = |arguments: &str, words: &str| {
        let said = cluster.k(arguments).unwrap_err().to_string();
        assert!(said.contains(words), "{arguments}: {said}");
    };
    let file = cluster.home().join("pod.yaml");
    for (part, by) in [("kind: Pod", "kind: Pot"), ("apiVersion: v1", "apiVersion: v9")] {
        fs::write(&file, POD.replacen(part, by, 1)).unwrap();
        same(&format!("create --validate=false -f {}", file.display()), "no matches for kind");
    }
    same("get nonsense", "the server doesn't have a resource type \"nonsense\"");
    same("get pod nobody", "pods \"nobody\" not found");
    same("get pods -l a=b=c", "found '=', expected");
    same("get pods --field-selector spec.nothing=1", "field label not supported: spec.nothing");
    same("create namespace A", "metadata.name: Invalid value: \"A\"");
    same("create configmap web -n nowhere", "namespaces \"nowhere\" not found");
    same("delete namespace default", "forbidden");
}

#[tokio::test]
async fn what_is_no_request_gets_a_status() {
    let cluster = TestCluster::up(KPROV, "raw", &["--nodes", "0"]).unwrap();
    let access = Access::from_kubeconfig(&cluster.folder().join("admin.kubeconfig")).unwrap();
    let maps = "/api/v1/namespaces/default/configmaps";
    let large = format!("{{\"metadata\": {{\"name\": \"a\"}}, \"data\": {{\"a\": \"{}\"}}}}", "x".repeat(20 << 20));
    let cases: &[(Method, &str, &str, StatusCode)] = &[
        (Method::POST, maps, "{", StatusCode::BAD_REQUEST),
        (Method::POST, maps, "[]", StatusCode::BAD_REQUEST),
        (Method::POST, maps, "", StatusCode::BAD_REQUEST),
        (Method::POST, maps, r#"{"kind": "Pod", "apiVersion": "v1"}"#, StatusCode::BAD_REQUEST),
        (Method::POST, maps, r#"{"metadata": {"name": "a", "namespace": "other"}}"#, StatusCode::BAD_REQUEST),
        (Method::POST, maps, r#"{"metadata": {}}"#, StatusCode::UNPROCESSABLE_ENTITY),
        (Method::POST, maps, &large, StatusCode::PAYLOAD_TOO_LARGE),
        (Method::POST, "/api/v1/namespaces/default/nonsense", &large, StatusCode::NOT_FOUND),
        (Method::GET, "/api/v1/nonsense", "", StatusCode::NOT_FOUND),
        (Method::GET, "/nonsense", "", StatusCode::NOT_FOUND),
        (Method::GET, "/api/v1/pods?limit=-1x", "", StatusCode::BAD_REQUEST),
        (Method::GET, "/api/v1/pods?labelSelector=a%20b%20c", "", StatusCode::BAD_REQUEST),
        (
            Method::PUT,
            "/api/v1/namespaces/default/configmaps/none",
            r#"{"metadata": {"name": "none"}}"#,
            StatusCode::NOT_FOUND,
        ),
        (Method::DELETE, "/api/v1/namespaces/default/configmaps/none", "", StatusCode::NOT_FOUND),
    ];
    for (method, path, body, expected) in cases {
        let what = format!("{method} {path} {}", body.chars().take(80).collect::<String>());
        let mut connection = access.connect().await.unwrap();
        let answer = connection.send(method.clone(), path, (*body).to_owned()).await;
        let answer = answer.unwrap_or_else(|error| panic!("{what}: {error:#}"));
        assert_eq!(answer.status, *expected, "{what}: {}", answer.text());
        if *path != "/nonsense" {
            let status = answer.json().unwrap();
            assert_eq!((&status["kind"], &status["code"]), (&"Status".into(), &expected.as_u16().into()), "{what}");
            assert!(!status["message"].as_str().unwrap().is_empty(), "{what}");
        }
    }
}

#[tokio::test]
async fn a_body_far_too_large_is_taken_whole_and_refused_in_words() {
    let cluster = TestCluster::up(KPROV, "large", &["--nodes", "0"]).unwrap();
    let access = Access::from_kubeconfig(&cluster.folder().join("admin.kubeconfig")).unwrap();
    let io = TokioIo::new(access.stream().await.unwrap());
    let (mut sender, driver) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let driver = tokio::spawn(driver);
    // Many clients read no answer before they have sent all.
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let chunks = stream::iter(0..20).map(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; 1 << 20])))
    });
    let request = Request::post("https://localhost/api/v1/namespaces/default/configmaps");
    let request = request.header("Content-Type", "application/json").body(StreamBody::new(chunks)).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!((response.status(), sent.load(Ordering::Relaxed)), (StatusCode::PAYLOAD_TOO_LARGE, 20));
    let status = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&status).contains("Request entity too large: limit is 3145728"), "{status:?}");
    driver.abort();
}

/// Writes files that are no image, and says what must be said of each.
fn no_images(folder: &Path) -> Vec<(String, &'static str)> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(5);
    tar.append_data(&mut header, "hello.txt", &b"hello"[..]).unwrap();
    let plain = tar.into_inner().unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    let manifest = br#"[{"Config": "none.json", "RepoTags": ["a:1"], "Layers": ["none.tar"]}]"#;
    header.set_size(manifest.len() as u64);
    tar.append_data(&mut header, "manifest.json", &manifest[..]).unwrap();
    let empty_handed = tar.into_inner().unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&empty_handed).unwrap();
    let mut cut = gzip.finish().unwrap();
    cut.truncate(cut.len() / 2);
    let files: [(&str, &[u8], &str); 6] = [
        ("text.tar", b"this is no tarball\n", "no"),
        ("empty.tar", b"", "no"),
        ("hello.tar", &plain, "manifest.json"),
        ("layerless.tar", &empty_handed, "none.json"),
        ("cut.tar.gz", &cut, "cut.tar.gz"),
        ("half.tar", &empty_handed[..600], "half.tar"),
    ];
    files
        .into_iter()
        .map(|(name, bytes, words)| {
            let path = folder.join(name);
            File::create(&path).unwrap().write_all(bytes).unwrap();
            (path.to_str().unwrap().to_owned(), words)
        })
        .collect()
}

#[test]
fn a_tarball_that_is_no_image_is_refused() {
    let cluster = TestCluster::up(KPROV, "tarball", &["--nodes", "0"]).unwrap();
    let before = cluster.kprov("image list", &[]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (file, words) in no_images(folder.path()) {
        fails(cluster.kprov_command("image load").arg(&file), &[&file, words]);
        let mut piped = cluster.kprov_command("image load");
        piped.arg("-").stdin(fs::File::open(&file).unwrap());
        fails(&mut piped, &["loading -"]);
    }
    let missing = folder.path().join("missing.tar");
    fails(cluster.kprov_command("image load").arg(&missing), &[missing.to_str().unwrap(), "No such file"]);
    fails(cluster.kprov_command("image load").arg(folder.path()), &[folder.path().to_str().unwrap(), "irectory"]);
    fails(cluster.kprov_command("image remove").arg("nothing:1"), &["\"nothing:1\"", "not in the store"]);
    fails(cluster.kprov_command("image remove").arg("A B"), &["\"A B\"", "invalid reference format"]);
    assert_eq!(cluster.kprov("image list", &[]).unwrap(), before);
}
