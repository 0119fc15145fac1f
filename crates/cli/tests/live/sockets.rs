//! The two ends of a connection: a listener says whom it sees, and who connects repeats it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Long enough for a handshake on one machine.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Tells everyone who connects which address it is seen with.
pub(super) fn listen(port: &str) -> Result<(), String> {
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).map_err(|error| error.to_string())?;
    for stream in listener.incoming().flatten() {
        let Ok(peer) = stream.peer_addr() else { continue };
        let mut stream = stream;
        // Who goes away before the answer has its reasons.
        _ = write!(stream, "{}", peer.ip());
    }
    Ok(())
}

/// Connects and prints what came of it, in the words of [`super::lab::meaning`].
pub(super) fn connect(to: &str) -> Result<(), String> {
    let to: SocketAddr = to.parse().map_err(|_| format!("{to} is no address"))?;
    let mut seen_as = String::new();
    let done = TcpStream::connect_timeout(&to, PATIENCE).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.read_to_string(&mut seen_as)
    });
    match done {
        Ok(_) => println!("delivered, seen as {seen_as}"),
        Err(error) => match error.kind() {
            ErrorKind::ConnectionRefused => println!("no-listener"),
            ErrorKind::TimedOut | ErrorKind::WouldBlock => println!("dropped"),
            ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => println!("unreachable"),
            other => return Err(format!("{to}: {other}: {error}")),
        },
    }
    Ok(())
}
