//! Bytes in both directions inside the messages of a WebSocket.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use futures::{SinkExt, StreamExt};
use jiff::ToSpan;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::tungstenite::Message;

use super::channels::{GOODBYE_SECONDS, Socket, goodbye};
use crate::world::Clock;

/// Bytes that may be under way inside.
pub(super) const INSIDE: usize = 64 << 10;

/// Carries what goes through the other side of `inside`, until that is closed or the client is gone.
pub(super) async fn carry(socket: Socket, inside: DuplexStream, clock: &Arc<dyn Clock>) {
    let (mut sink, mut stream) = socket.split();
    let (mut read, mut write) = tokio::io::split(inside);
    let mut heard = std::pin::pin!(async {
        while let Some(Ok(message)) = stream.next().await {
            let taken = match message {
                Message::Binary(bytes) => write.write_all(&bytes).await,
                Message::Close(_) => break,
                _ => Ok(()),
            };
            if taken.is_err() {
                // The rest is thrown away.
                while let Some(Ok(_)) = stream.next().await {}
                return;
            }
        }
        // Who reads inside may be gone already.
        let _ = write.shutdown().await;
    });
    let said = async {
        loop {
            let mut piece = BytesMut::with_capacity(INSIDE);
            if read.read_buf(&mut piece).await? == 0 {
                break;
            }
            sink.send(Message::binary(piece.freeze())).await.map_err(io::Error::other)?;
        }
        sink.send(goodbye()).await.map_err(io::Error::other)
    };
    let mut said = std::pin::pin!(said);
    tokio::select! {
        said = &mut said => {
            if let Err(error) = said {
                return tracing::debug!(%error, "a client is gone");
            }
            tokio::select! {
                () = heard => {}
                () = clock.sleep_until(clock.now() + GOODBYE_SECONDS.seconds()) => {}
            }
        }
        () = &mut heard => {}
    }
}
