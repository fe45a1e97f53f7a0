//! The limits that a shell sets by default are not those of the cluster.

use futures::future::try_join_all;
use http::StatusCode;
use kprov_tests::server::ApiServer;
use tokio::process::Command;

use super::KPROV;

#[tokio::test]
async fn more_connections_than_the_soft_limit_of_open_files_are_served() {
    let folder = tempfile::Builder::new().prefix("kp").tempdir().unwrap();
    let mut command = Command::new("prlimit");
    command.args(["--nofile=100:4096", KPROV]);
    let mut server = ApiServer::start_by(command, folder.path()).unwrap();
    let access = server.ready().await.unwrap();
    let mut connections = try_join_all((0..200).map(|_| access.connect())).await.unwrap();
    for connection in &mut connections {
        assert_eq!(connection.get("/readyz").await.unwrap().status, StatusCode::OK);
    }
    server.end().await.unwrap();
}
