//! Over standard input and output. Owns: that what comes before a client has opened ends nothing, and that the end of the input is
//! the end.

use rmcp::{
    RoleServer, ServiceExt as _,
    model::{ClientJsonRpcMessage, ClientRequest},
    service::TxJsonRpcMessage,
    transport::{Transport, async_rw::AsyncRwTransport},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Server;

/// Serves one client until its input ends or `closing` says so.
///
/// # Errors
///
/// In words: it did not open as the protocol has it.
pub async fn serve<R, W>(server: Server, (from, to): (R, W), closing: CancellationToken) -> Result<(), String>
where
    R: AsyncRead + Send + Sync + Unpin + 'static,
    W: AsyncWrite + Send + Sync + Unpin + 'static,
{
    let gone = CancellationToken::new();
    let opening = Opening { inner: AsyncRwTransport::new_server(from, to), is_open: false, gone: gone.clone() };
    let running = tokio::select! {
        running = server.serve(opening) => match running {
            Ok(running) => running,
            // It went before it had opened.
            Err(_) if gone.is_cancelled() => return Ok(()),
            Err(error) => return Err(error.to_string()),
        },
        () = closing.cancelled() => return Ok(()),
    };
    let stop = running.cancellation_token();
    tokio::select! {
        ended = running.waiting() => ended.map(|_| ()).map_err(|error| error.to_string()),
        () = gone.cancelled() => {
            // Calls that are under way: what they wrote is in the journal, and nobody is there to be told.
            stop.cancel();
            Ok(())
        }
        () = closing.cancelled() => {
            stop.cancel();
            Ok(())
        }
    }
}

/// Lets nothing but requests through until a client has opened, and says when it is gone: a notice before that would end it all.
struct Opening<T> {
    inner: T,
    is_open: bool,
    gone: CancellationToken,
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Opening<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(message)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            let Some(message) = self.inner.receive().await else {
                self.gone.cancel();
                return None;
            };
            match &message {
                ClientJsonRpcMessage::Request(request) => {
                    let is_question =
                        matches!(request.request, ClientRequest::DiscoverRequest(_) | ClientRequest::PingRequest(_));
                    self.is_open |= !is_question;
                    return Some(message);
                }
                _ if self.is_open => return Some(message),
                _ => {}
            }
        }
    }

    fn close(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send {
        self.inner.close()
    }
}
