//! The socket that zebra connects to, and its connection. One at a time: a second one of the right user
//! takes the place of the first, which may hang. Others are closed at once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use super::peer;
use crate::names;

/// So long nobody is let in after a stranger: a local user who connects all the time costs little.
const AFTER_STRANGER: Duration = Duration::from_millis(1);
/// The same when the kernel refuses, for lack of descriptors.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The socket.
#[derive(Debug)]
pub(crate) struct Port {
    listener: Option<TcpListener>,
    stream: Option<TcpStream>,
    /// The user who may speak beside root.
    user: Option<u32>,
    not_before: Instant,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// Somebody has connected.
    Caller(io::Result<(TcpStream, SocketAddr)>),
    /// Something has come by the connection, or its end.
    Readable,
}

impl Port {
    /// No socket: nothing ever happens.
    pub(crate) fn closed() -> Self {
        Self { listener: None, stream: None, user: None, not_before: Instant::now() }
    }

    /// Whether there is a socket.
    pub(crate) const fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// Listens for `user` and root. To be called inside the event loop.
    ///
    /// # Errors
    /// A sentence with cause and remedy.
    pub(crate) fn open(listen: SocketAddr, user: &str) -> Result<Self, String> {
        let listener = std::net::TcpListener::bind(listen)
            .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
            .and_then(TcpListener::from_std)
            .map_err(|error| {
                format!(
                    "cannot listen at fpm.listen = \"{listen}\": {error}; end who uses it, or name another"
                )
            })?;
        Ok(Self { listener: Some(listener), user: names::user(user), ..Self::closed() })
    }

    /// The next that happens. It may be given up at any time.
    pub(crate) async fn event(&self) -> Event {
        let caller = async {
            let Some(listener) = &self.listener else { return std::future::pending().await };
            sleep_until(self.not_before).await;
            listener.accept().await
        };
        let readable = async {
            let Some(stream) = &self.stream else { return std::future::pending().await };
            // An error is found by reading.
            let _ = stream.readable().await;
        };
        tokio::select! {
            caller = caller => Event::Caller(caller),
            () = readable => Event::Readable,
        }
    }

    /// Judges a caller (security.md D8). One who may speak takes the place of the connection that there is.
    ///
    /// # Errors
    /// Why not, in words.
    pub(crate) fn admit(&mut self, caller: io::Result<(TcpStream, SocketAddr)>) -> Result<(), String> {
        let (stream, address) = caller.map_err(|error| {
            self.not_before = Instant::now() + AFTER_FAILURE;
            format!("a connection could not be taken: {error}; raise the limit of open files")
        })?;
        let user = stream.local_addr().and_then(|own| peer::user_of(address, own));
        let allowed = |user: u32| user == 0 || Some(user) == self.user;
        let why = match user {
            Ok(Some(user)) if allowed(user) => {
                self.stream = Some(stream);
                return Ok(());
            }
            Ok(Some(user)) => format!("user {user} has connected"),
            Ok(None) => "somebody has connected and gone".to_owned(),
            Err(error) => format!("somebody has connected whom the kernel does not name ({error})"),
        };
        self.not_before = Instant::now() + AFTER_STRANGER;
        Err(why)
    }

    /// Takes what has come, as much as there is room for. `None`: the connection has ended.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> Option<usize> {
        let stream = self.stream.as_ref()?;
        match stream.try_read(room) {
            Ok(count) if count > 0 => Some(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(0),
            Ok(_) | Err(_) => {
                self.close();
                None
            }
        }
    }

    /// Ends the connection.
    pub(crate) fn close(&mut self) {
        self.stream = None;
    }

    /// Whether the configured user exists; else only root may speak.
    pub(crate) const fn knows_user(&self) -> bool {
        self.user.is_some()
    }
}
