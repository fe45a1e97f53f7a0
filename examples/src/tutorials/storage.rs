//! Volumes, the claims for them, and the classes that they are made by.

use kprov::Bundle;
use kprov::build::*;

use super::{Tutorial, only};

/// The files and what says the same.
pub const TUTORIALS: &[Tutorial] = &[
    ("s38-empty-dir.yaml", empty_dir),
    ("s39-host-path.yaml", host_path),
    ("s41-zone.yaml", zone),
    ("s42-claim.yaml", claim),
    ("s43-host-path-volume.yaml", host_path_volume),
    ("s44-binding-rules.yaml", binding_rules),
    ("s45-sidecar-logging.yaml", sidecar_logging),
    ("s46-sub-path.yaml", sub_path),
    ("s47-config-map-volume.yaml", config_map_volume),
    ("s48-local-volumes.yaml", local_volumes),
    ("s49-storage-class.yaml", storage_class),
    ("s50-many-volumes.yaml", many_volumes),
];

/// A pod with an empty folder.
#[must_use]
pub fn empty_dir() -> Bundle {
    let web = httpd("empty-dir-demo-ctr").mount(Volume::empty_dir("test-volume"), "/test");
    only(Pod::new("empty-dir-demo", web))
}

/// A pod that sees a folder of its node.
#[must_use]
pub fn host_path() -> Bundle {
    let web = httpd("host-path-demo-ctr").mount(Volume::host_path("test-volume", "/etc"), "/test");
    only(Pod::new("host-path-demo", web))
}

/// A cloud's disk, and a pod in its zone.
#[must_use]
pub fn zone() -> Bundle {
    let disk = Source::csi("ebs.csi.aws.com", "vol-0eb2505986bf40ee1").file_system("ext4");
    let pod = Pod::new("ebs-demo", httpd("ebs-demo-ctr")).node_selector(Topology::Zone.key(), "eu-central-1a");
    let mut app = Bundle::new("zone");
    app.add(PersistentVolume::new("ebs-pv", "16Gi", disk)).add(pod);
    app
}

/// A claim, and the pod that uses it.
#[must_use]
pub fn claim() -> Bundle {
    let claim = PersistentVolumeClaim::new("ebs-pvc", "4Gi");
    let web = httpd("pv-demo-ctr").mount(Volume::claim(&claim).named("test-volume"), "/test");
    let mut app = Bundle::new("claim");
    app.add(claim).add(Pod::new("pv-demo", web));
    app
}

/// Two web servers that share a folder of their node through a claim.
#[must_use]
pub fn host_path_volume() -> Bundle {
    let volume = PersistentVolume::new("hostpath-pv", "10Gi", Source::host_path("/home/data"))
        .label("type", "local")
        .class("local")
        .reclaim(Reclaim::Retain);
    let claim = PersistentVolumeClaim::new("hostpath-pvc", "5Gi").class("local").volume_label("type", "local");
    let web = Container::new("httpd", "httpd:latest")
        .port("web", 80)
        .mount(Volume::claim(&claim).named("web"), "/usr/local/apache2/htdocs");
    let web = Deployment::new("httpd", web).labelled("app", "httpd").replicas(2);
    let mut app = Bundle::new("host-path-volume");
    app.add(volume).add(claim).add(web);
    app
}

/// A volume, and a claim that it does not fit in size, mode or access.
#[must_use]
pub fn binding_rules() -> Bundle {
    let volume = PersistentVolume::new("nfs-pv", "100Gi", Source::nfs("172.17.0.2", "/tmp"))
        .label("type", "nfs")
        .class("slow")
        .recycle()
        .mount_option("hard")
        .mount_option("nfsvers=4.1");
    let claim = PersistentVolumeClaim::new("block-pvc", "200Gi")
        .label("app", "block")
        .class("slow")
        .block()
        .access(Access::ReadWriteMany);
    let mut app = Bundle::new("binding-rules");
    app.add(volume).add(claim);
    app
}

/// A web server, and a container that reads its log aloud.
#[must_use]
pub fn sidecar_logging() -> Bundle {
    let logs = Volume::empty_dir("varlog");
    let web = Container::new("nginx", "nginx").unnamed_port(80).mount(&logs, "/var/log/nginx");
    let reader = Container::new("busybox", "busybox")
        .args(["/bin/sh", "-c", "tail -n+1 -f /var/log/nginx/access.log"])
        .mount(&logs, "/var/log/nginx");
    only(Pod::new("sidecar-logging", web).label("app", "sidecar-logging").container(reader))
}

/// Two containers with a part each of one volume.
#[must_use]
pub fn sub_path() -> Bundle {
    let site = Volume::claim("my-lemp-site-data").named("site-data");
    let mysql = Container::new("mysql", "mysql")
        .env("MYSQL_ROOT_PASSWORD", "rootpasswd")
        .mount(&site, Mount::at("/var/lib/mysql").sub_path("mysql"));
    let nginx = Container::new("nginx", "nginx").mount(&site, Mount::at("/usr/share/nginx/html").sub_path("html"));
    only(Pod::new("my-lemp-site", mysql).container(nginx))
}

/// A config map that somebody else has made, as files.
#[must_use]
pub fn config_map_volume() -> Bundle {
    let config = Volume::config_map("apache-config").named("config");
    only(Pod::new("httpd", Container::new("httpd", "httpd").mount(config, "/etc/apache2/")))
}

/// A disk of one node, and a disk of two zones.
#[must_use]
pub fn local_volumes() -> Bundle {
    let local = PersistentVolume::new("local-pv", "100Gi", Source::local("/mnt/disks/ssd1"))
        .class("local-storage")
        .reclaim(Reclaim::Delete)
        .on_nodes(NodeRule::label("kubernetes.io/hostname").is_in(["example-node"]));
    let zones = PersistentVolume::new("gce-pv", "400Gi", Source::gce_disk("my-data-disk").file_system("ext4"))
        .label("failure-domain.beta.kubernetes.io/zone", "us-central1-a__us-central1-b");
    let mut app = Bundle::new("local-volumes");
    app.add(local).add(zones);
    app
}

/// Two ways to make volumes, and a claim that asks for one of them.
#[must_use]
pub fn storage_class() -> Bundle {
    let provisioned = StorageClass::new("storage-class-name", "kubernetes.io/aws-ebs")
        .parameter("type", "io1")
        .parameter("iopsPerGB", "10")
        .parameter("fsType", "ext4");
    let claim = PersistentVolumeClaim::new("mypvc", "100Gi").class(&provisioned);
    let mut app = Bundle::new("storage-class");
    app.add(provisioned).add(fast()).add(claim);
    app
}

/// A search engine with a claim, a secret and a config map.
#[must_use]
pub fn many_volumes() -> Bundle {
    let elastic = Container::new("elastic", "elastic:latest")
        .unnamed_port(9200)
        .mount(Volume::claim("es-pv-claim").named("es-persistent-storage"), "/var/lib/data")
        .mount(Volume::secret("es-secret").named("es-secret-dir"), "/var/lib/secret")
        .mount(Volume::config_map("es-config-map").named("es-config-dir"), "/var/lib/config");
    only(Deployment::new("elastic", elastic).label("app", "elastic").labelled("app", "elastic").replicas(1))
}

/// The class that several tutorials take their disks from.
pub(super) fn fast() -> StorageClass {
    StorageClass::new("fast", "k8s.io/minikube-hostpath").reclaim(Reclaim::Retain).parameter("type", "pd-ssd")
}

fn httpd(name: &'static str) -> Container {
    Container::new(name, "httpd:alpine")
}
