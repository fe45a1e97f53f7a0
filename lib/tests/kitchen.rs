//! Everything that the builders of pods and workloads can say, written out, and taken by the server's own rules.
//!
//! `UPDATE_EXPECT=1 cargo test -p kprov --test kitchen` rewrites the texts; review the difference.

use std::time::Duration;

use expect_test::{ExpectFile, expect_file};
use kprov::Bundle;
use kprov::build::*;

fn check(bundle: &Bundle, expected: &ExpectFile) {
    expected.assert_eq(&bundle.to_yaml().expect("objects are written as YAML"));
    let problems = bundle.validate().err().unwrap_or_default();
    assert!(problems.is_empty(), "{problems:#?}");
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn everything_a_container_can_say() {
    let db = Secret::new("db").text("password", "s3cret");
    let settings = ConfigMap::new("settings").file("level", "info");
    let container = Container::new("web", "registry.example.com/shop/web:1.2")
        .pull(Pull::IfNotPresent)
        .command(["/bin/web"])
        .args(["--port", "8080"])
        .working_dir("/srv")
        .port("http", 8080)
        .udp_port("dns", 53)
        .sctp_port("sig", 2905)
        .unnamed_port(9000)
        .host_port("metrics", 9100, 9100)
        .env("TEXT", "one")
        .env("TEXT", "two")
        .env("NUMBER", 4)
        .env("TRUTH", true)
        .env("POD_IP", Field::PodIp)
        .env("CPUS", ResourceField::cpu_limit())
        .env("MEMORY", ResourceField::memory_request().in_units(Bytes::mib(1)))
        .env("PASSWORD", db.key("password"))
        .env("LEVEL", settings.key("level").optional())
        .env_from(&settings)
        .env_from(EnvFrom::secret(&db).prefix("DB_").optional())
        .requests("100m", "64Mi")
        .limits(Cpu::cores(2), Bytes::gib(1))
        .limit("ephemeral-storage", Bytes::gib(2))
        .startup(Probe::http("/started", "http").failures(30).period(seconds(2)))
        .readiness(Probe::https("/ready", 8080).header("X-Probe", "yes").delay(seconds(1)).successes(2))
        .liveness(Probe::exec(["/bin/web", "check"]).timeout(seconds(3)).grace(seconds(5)))
        .post_start(Hook::exec(["/bin/web", "register"]))
        .pre_stop(Hook::sleep(seconds(5)))
        .tty()
        .termination_message("/tmp/why")
        .termination_message_from_log()
        .run_as(1000)
        .run_as_group(1000)
        .run_as_non_root()
        .read_only_root()
        .no_privilege_escalation()
        .drop_capability("ALL")
        .add_capability("NET_BIND_SERVICE")
        .seccomp(Seccomp::Localhost("profiles/web.json".to_owned()))
        .app_armor(AppArmor::RuntimeDefault);
    let other = Container::new("other", "busybox")
        .readiness(Probe::grpc(9000))
        .liveness(Probe::tcp(9000))
        .post_start(Hook::http("/hello", 9000))
        .privileged();
    let mut bundle = Bundle::new("kitchen");
    bundle.add(Pod::new("web", container).container(other));
    check(&bundle, &expect_file!["kitchen/container.yaml"]);
}

#[test]
fn every_kind_of_volume() {
    let scratch = PersistentVolumeClaim::new("scratch", "10Gi").label("tier", "scratch");
    let all = Volume::projected("all")
        .config_map("settings")
        .secret("db")
        .file("name", MetaField::PodName)
        .token("token", "vault", seconds(3600))
        .mode(0o440);
    let facts = Volume::downward("facts").file("labels", MetaField::Labels).resource(
        "limit",
        "web",
        ResourceField::memory_limit().in_units(Bytes::mib(1)),
    );
    let volumes = Container::new("web", "nginx:1.27")
        .mount(Volume::empty_dir("cache").in_memory().size_limit("64Mi"), "/cache")
        .mount(Volume::host_path("logs", "/var/log").must_be(HostPathType::Directory), Mount::at("/logs").read_only())
        .mount(Volume::config_map("site").item("index.html", "index.html").mode(0o444).optional(), "/site")
        .mount(Volume::secret("tls.example.com").mode(0o400), "/tls")
        .mount(Volume::claim("data").read_only(), Mount::at("/data").sub_path("html"))
        .mount(Volume::nfs("nfs", "10.0.0.7", "/exports").read_only(), "/nfs")
        .mount(Volume::csi("vault", "vault.csi.example.com").attribute("class", "db").fs_type("ext4").read_only(), "/v")
        .mount(Volume::ephemeral("scratch", scratch), Mount::at("/scratch").sub_path_expr("$(POD_NAME)"))
        .mount(Volume::image("model", "registry.example.com/model:1").pull(Pull::Always), "/model")
        .mount(Volume::iscsi("disk", "10.0.0.8:3260", "iqn.2001-04.com.example:disk", 0).fs_type("ext4"), "/disk")
        .mount(Volume::fibre_channel("lun", ["50060e801049cfd1"], 0), "/lun")
        .mount(&all, Mount::at("/all").propagation(Propagation::HostToContainer))
        .mount(&facts, "/facts")
        .env("POD_NAME", Field::PodName)
        .device(Volume::claim("raw"), "/dev/xvda");
    let mut bundle = Bundle::new("kitchen");
    bundle.add(Pod::new("web", volumes).service_account("web"));
    check(&bundle, &expect_file!["kitchen/volumes.yaml"]);
}

#[test]
fn everything_a_pod_can_say() {
    let db = StatefulSet::new("db", Container::new("db", "mysql:8"));
    let mut bundle = Bundle::new("kitchen");
    let web = Deployment::new("web", Container::new("web", "nginx:1.27"))
        .label("tier", "front")
        .annotation("example.com/contact", "Ada")
        .namespace("shop")
        .finalizer("example.com/backup")
        .init(Container::new("migrate", "shop:1"))
        .sidecar(Container::new("log", "fluent-bit:4").readiness(Probe::tcp(2020)))
        .volume(Volume::empty_dir("unused"))
        .pod_label("version", "v1")
        .pod_annotation("example.com/scrape", "true")
        .service_account("web")
        .no_account_token()
        .pull_secret("registry")
        .grace(seconds(60))
        .share_processes()
        .no_service_links()
        .runtime_class("gvisor")
        .node_selector("kubernetes.io/arch", "amd64")
        .on_nodes(NodeRule::label("disk").is_in(["ssd", "nvme"]))
        .on_nodes(NodeRule::label("cores").more_than(7))
        .rather_on_nodes(10, NodeRule::label("old").is_absent())
        .toleration(Toleration::of("dedicated").value("web").no_schedule())
        .toleration(Toleration::of("node.kubernetes.io/unreachable").no_execute_for(seconds(30)))
        .toleration(Toleration::everything().prefer_no_schedule())
        .spread_over(Topology::Zone)
        .spread_over(Spread::over(Topology::Host).max_skew(2).min_places(3))
        .rather_apart(Topology::Host)
        .apart(Topology::Region)
        .near(&db, Topology::Zone)
        .rather_near(&db, Topology::Host)
        .away_from(&LabelRule::label("noisy").exists(), Topology::Host)
        .priority_class("important")
        .scheduler("own")
        .hostname("web")
        .subdomain("webs")
        .host_alias([10, 0, 0, 7], ["db.example.com", "db"])
        .dns(DnsPolicy::None)
        .nameserver([10, 0, 0, 53])
        .search_domain("example.com")
        .dns_option("ndots", "2")
        .run_as(1000)
        .run_as_group(1000)
        .fs_group(2000)
        .app_armor(AppArmor::RuntimeDefault)
        .sysctl("net.ipv4.tcp_syncookies", "1")
        .restricted()
        .replicas(3)
        .rolling(1, "25%")
        .min_ready(seconds(5))
        .history(3)
        .progress_deadline(seconds(120))
        .paused();
    bundle.add(web);
    let node = Pod::new("agent", Container::new("agent", "busybox").run_as_non_root())
        .host_network()
        .host_processes()
        .host_ipc()
        .never_restart()
        .deadline(seconds(60))
        .seccomp(Seccomp::Unconfined)
        .node_name("node-1");
    bundle.add(node);
    check(&bundle, &expect_file!["kitchen/pods.yaml"]);
}

#[test]
fn every_workload() {
    let www = PersistentVolumeClaim::new("www", "2Gi");
    let web = || Container::new("web", "nginx:1.27").port("http", 80);
    let set = StatefulSet::new("web", web())
        .labelled("app", "nginx")
        .service_name("nginx")
        .claim(&www, "/usr/share/nginx/html")
        .replicas(3)
        .parallel()
        .partition(2)
        .max_unavailable(1)
        .claims(Retention::Delete, Retention::Retain)
        .first_ordinal(1);
    let mut bundle = Bundle::new("kitchen");
    bundle.add(set.service()).add(set);
    bundle.add(StatefulSet::new("other", web()).on_delete());
    bundle.add(Deployment::new("once", web()).recreate());
    bundle.add(DaemonSet::new("agent", web()).rolling(0, 1).min_ready(seconds(1)));
    bundle.add(DaemonSet::new("other", web()).on_delete().history(2));
    bundle.add(ReplicaSet::new("copies", web()).replicas(2));
    let shards = Job::new("shards", Container::new("shard", "shop:1"))
        .indexed(8)
        .parallelism(4)
        .retries_per_index(1)
        .deadline(seconds(600))
        .keep_for(seconds(3600))
        .on_failure(FailureRule::disruption(Then::Ignore))
        .on_failure(FailureRule::exit_code([42], Then::FailJob).of_container("shard"))
        .on_failure(FailureRule::other_exit_code([1, 2], Then::FailIndex))
        .on_failure(FailureRule::condition("ConfigIssue", Then::Count))
        .suspended();
    let report = Job::new("report", Container::new("report", "shop:1")).retries(2).completions(2).restart_on_failure();
    bundle.add(shards).add(report.clone());
    let nightly = CronJob::new("nightly", "30 4 * * mon", report)
        .time_zone("Europe/Berlin")
        .concurrency(Concurrency::Forbid)
        .start_within(seconds(300))
        .history(1, 3)
        .suspended();
    bundle.add(nightly);
    check(&bundle, &expect_file!["kitchen/workloads.yaml"]);
}
