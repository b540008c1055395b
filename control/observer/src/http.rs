//! The HTTP server: one request a connection, GET of `/metrics`, within fixed limits (ATK-56).

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};

use crate::{CLIENTS_MAX, HEAD_MAX, PATIENCE, metrics};

/// What a full house says; a fresh socket's buffer takes it.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// Answers clients for ever with the text that `exposition` gives. Must run in a `LocalSet`.
pub(crate) async fn serve<E, T>(listener: TcpListener, exposition: Rc<E>)
where
    E: Fn() -> T + 'static,
    T: Future<Output = Option<Bytes>> + 'static,
{
    let seats = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(_) => {
                // Out of descriptors, or the client has gone already.
                sleep(PATIENCE / 50).await;
                continue;
            }
        };
        let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
            let _ = stream.try_write(FULL);
            continue;
        };
        let exposition = Rc::clone(&exposition);
        drop(spawn_local(async move {
            let _ = timeout(PATIENCE, converse(stream, &*exposition)).await;
            drop(seat);
        }));
    }
}

/// One connection.
async fn converse<E, T>(stream: TcpStream, exposition: &E) -> io::Result<()>
where
    E: Fn() -> T,
    T: Future<Output = Option<Bytes>>,
{
    let service = service_fn(|request: Request<Incoming>| async move {
        Ok::<_, Infallible>(answer(request.method(), request.uri().path(), exposition).await)
    });
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD_MAX)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .map_err(io::Error::other)
}

async fn answer<E, T>(method: &Method, path: &str, exposition: &E) -> Response<Full<Bytes>>
where
    E: Fn() -> T,
    T: Future<Output = Option<Bytes>>,
{
    if method != Method::GET {
        let mut refused = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return refused;
    }
    if path != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "there is nothing here: ask for /metrics\n");
    }
    match exposition().await {
        Some(text) => {
            let mut response = Response::new(Full::new(text));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE));
            response
        }
        None => plain(StatusCode::INTERNAL_SERVER_ERROR, "the figures cannot be written\n"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests;
