//! Config maps and secrets, as files and as environment.

use kprov::Bundle;
use kprov::build::*;

use super::{Tutorial, only};

/// The files and what says the same.
pub const TUTORIALS: &[Tutorial] = &[
    ("s51-secret-environment.yaml", secret_environment),
    ("s52-secret-files.yaml", secret_files),
    ("s53-microprofile.yaml", microprofile),
    ("s54-redis-config.yaml", redis_config),
];

/// A secret as environment variables.
#[must_use]
pub fn secret_environment() -> Bundle {
    let db = Secret::new("db-secret").bytes("username", "node-app").bytes("password", "s3cr3t");
    let node = Container::new("credential-env", "nodejs")
        .env("DB_USER", db.key("username"))
        .env("DB_PASSWORD", db.key("password"));
    let mut app = Bundle::new("secret-environment");
    app.add(db).add(Pod::new("credential-env-pod", node).never_restart());
    app
}

/// The same secret as files.
#[must_use]
pub fn secret_files() -> Bundle {
    let credentials = Volume::secret("db-secret").named("credvolume");
    let node = Container::new("credential-files", "nodejs").mount(credentials, Mount::at("/etc/creds").read_only());
    only(Pod::new("credential-files-pod", node))
}

/// A service that is told its name and its users.
#[must_use]
pub fn microprofile() -> Bundle {
    let name = ConfigMap::new("sys-app-name").file("name", "my-system");
    let users = Secret::new("sys-app-credentials").text("username", "bob").text("password", "bobpwd");
    let system = Container::new("system-container", "system:1.0-SNAPSHOT")
        .unnamed_port(9080)
        .env("APP_NAME", name.key("name"))
        .env("SYSTEM_APP_USERNAME", users.key("username"))
        .env("SYSTEM_APP_PASSWORD", users.key("password"));
    let system = Deployment::new("system-deployment", system).label("app", "system").labelled("app", "system");
    let service = Service::new("system-service", &system).port(9080, 9080).node_port().at(31000);
    let mut app = Bundle::new("microprofile");
    app.add(name).add(users).add(system).add(service);
    app
}

/// Redis, with its configuration from a config map.
#[must_use]
pub fn redis_config() -> Bundle {
    let config =
        ConfigMap::new("example-redis-config").file("redis-config", "maxmemory 2mb\nmaxmemory-policy allkeys-lru\n");
    let file = Volume::config_map(&config).named("config").item("redis-config", "redis.conf");
    let redis = Container::new("redis", "redis:6.0.5")
        .command(["redis-server", "/redis-master/redis.conf"])
        .env("MASTER", "true")
        .unnamed_port(6379)
        .limit("cpu", Cpu::millis(100))
        .mount(Volume::empty_dir("data"), "/redis-master-data")
        .mount(file, "/redis-master");
    let mut app = Bundle::new("redis-config");
    app.add(config).add(Pod::new("redis", redis));
    app
}
