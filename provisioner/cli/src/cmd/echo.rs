//! `kprov echo-server`: the program of the built-in image.

use crate::args::EchoServer;

pub(crate) async fn run(options: EchoServer) -> anyhow::Result<()> {
    Ok(kprov_node::echo::serve(options.listen).await?)
}
