//! The server over real TCP, with clients that behave and clients that do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::task::LocalSet;

use super::*;

/// Runs clients against a server whose metrics are `text`.
fn with_server(text: &'static str, clients: impl FnOnce(SocketAddr) + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let exposition = Rc::new(move || std::future::ready(Some(Bytes::from_static(text.as_bytes()))));
        let server = spawn_local(serve(listener, exposition));
        tokio::task::spawn_blocking(move || clients(address)).await.unwrap();
        server.abort();
    });
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    // A server that closes with unread bytes resets the connection behind its answer.
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn one_path_one_method() {
    with_server("figures\n", |address| {
        let good = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(good.starts_with("HTTP/1.1 200 OK\r\n"), "{good}");
        assert!(good.to_lowercase().contains("content-type: application/openmetrics-text; version=1.0.0"));
        assert!(good.ends_with("\r\n\r\nfigures\n"), "{good}");
        let other = ask(address, "GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(other.starts_with("HTTP/1.1 404 "), "{other}");
        for method in ["POST", "PUT", "DELETE", "HEAD", "TRACE", "CONNECT"] {
            let answer = ask(address, &format!("{method} /metrics HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 405 "), "{method}: {answer}");
        }
        let long = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(HEAD_MAX));
        let answer = ask(address, &long);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        let noise = ask(address, "\u{1}\u{2}\u{3}\r\n\r\n");
        assert!(noise.is_empty() || noise.starts_with("HTTP/1.1 400 "), "{noise}");
    });
}

#[test]
fn slow_clients_are_cut_off_and_hold_nobody_up() {
    with_server("figures\n", |address| {
        let begun = Instant::now();
        let mut slow: Vec<TcpStream> = (0..CLIENTS_MAX - 1)
            .map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ").unwrap();
                stream
            })
            .collect();
        let good = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(good.ends_with("figures\n"), "{good}");
        slow.push(TcpStream::connect(address).unwrap());
        let full = ask(address, "");
        assert!(full.starts_with("HTTP/1.1 503 "), "{full}");
        for stream in &mut slow {
            stream.set_read_timeout(Some(PATIENCE * 10)).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
        }
        assert!(begun.elapsed() < PATIENCE * 10);
        let good = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(good.ends_with("figures\n"), "{good}");
    });
}
