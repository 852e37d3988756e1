//! A client that costs little: prebuilt bodies over connections that stay open.
//!
//! Owns as much of HTTP/1.1 as the servers here speak. It knows nothing of what is sent.

use std::io::{BufRead as _, BufReader, IoSlice, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that stays open.
pub struct Connection {
    stream: BufReader<TcpStream>,
    port: u16,
}

/// An answer: its status and its body.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Where bodies are sent, and as what.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    pub path: &'static str,
    pub headers: &'static str,
}

// === impl Connection ===

impl Connection {
    /// Connects; `None` where nobody listens yet.
    pub fn try_open(port: u16) -> Option<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let stream = BufReader::new(stream);
        Some(Connection { stream, port })
    }

    /// Connects to a server that listens.
    pub fn open(port: u16) -> Connection {
        Connection::try_open(port).unwrap_or_else(|| panic!("nobody listens on {port}"))
    }

    /// Sends a body and waits for the answer.
    pub fn post(&mut self, door: Door, body: &[u8]) -> Answer {
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n{}content-length: {}\r\n\r\n",
            door.path,
            self.port,
            door.headers,
            body.len()
        );
        self.exchange(head.as_bytes(), body)
            .unwrap_or_else(|error| panic!("{}: {error}", door.path))
    }

    /// Asks, and waits for the answer.
    pub fn get(&mut self, path: &str) -> Answer {
        self.try_get(path)
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// As `get`, where the server may be gone or not there yet.
    pub fn try_get(&mut self, path: &str) -> std::io::Result<Answer> {
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\n\r\n",
            self.port
        );
        self.exchange(head.as_bytes(), b"")
    }

    fn exchange(&mut self, head: &[u8], body: &[u8]) -> std::io::Result<Answer> {
        let stream = self.stream.get_mut();
        let sent = stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)])?;
        let head_sent = sent.min(head.len());
        stream.write_all(&head[head_sent..])?;
        stream.write_all(&body[sent - head_sent..])?;
        self.answer()
    }

    fn answer(&mut self) -> std::io::Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(format!("no answer: {line:?}")))?;
        let (mut length, mut is_chunked) = (0, false);
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let header = line.trim_ascii_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            is_chunked |= header == "transfer-encoding: chunked";
        }
        let mut body = Vec::new();
        if !is_chunked {
            body.resize(length, 0);
            self.stream.read_exact(&mut body)?;
        }
        while is_chunked {
            line.clear();
            self.stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
            let from = body.len();
            body.resize(from + size + 2, 0);
            self.stream.read_exact(&mut body[from..])?;
            body.truncate(from + size);
            is_chunked = size > 0;
        }
        Ok(Answer { status, body })
    }
}

// === impl Answer ===

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends every lane over a connection of its own; the wall seconds that took.
pub fn send(port: u16, door: Door, lanes: &[Vec<Vec<u8>>]) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for lane in lanes {
            scope.spawn(move || {
                let mut connection = Connection::open(port);
                for body in lane {
                    let answer = connection.post(door, body);
                    let status = answer.status;
                    assert!(matches!(status, 200..300), "{status}: {}", answer.text());
                }
            });
        }
    });
    begun.elapsed().as_secs_f64()
}

/// One answer over a connection of its own.
pub fn get(port: u16, path: &str) -> String {
    let answer = Connection::open(port).get(path);
    assert!(
        matches!(answer.status, 200..300),
        "{path}: {}",
        answer.text()
    );
    answer.text()
}
