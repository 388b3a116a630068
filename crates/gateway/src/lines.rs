//! Newline-delimited messages over byte streams, bounded.

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};
use warrantor_mcp::LineSplitter;

/// What came from a peer.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A line without its end.
    Line(Vec<u8>),
    /// A line beyond the bound; it was skipped.
    TooLong,
    /// The stream ended or failed.
    End,
}

/// How many lines may wait between reader and session: a peer that is faster than we are is held back by its own pipe.
const QUEUE: usize = 64;

/// Reads lines until the stream ends.
pub(crate) fn read(
    mut stream: impl AsyncRead + Unpin + Send + 'static,
    bound: usize,
) -> mpsc::Receiver<Incoming> {
    let (lines, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let mut splitter = LineSplitter::new(bound);
        let mut chunk = vec![0; 64 << 10];
        loop {
            let count = match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(count) => count,
            };
            splitter.push(chunk.get(..count).unwrap_or_default());
            while let Some(line) = splitter.next_line() {
                let incoming = match line {
                    Ok(line) if line.iter().all(u8::is_ascii_whitespace) => continue,
                    Ok(line) => Incoming::Line(line.to_vec()),
                    Err(_) => Incoming::TooLong,
                };
                if lines.send(incoming).await.is_err() {
                    return;
                }
            }
        }
        // A last line without its end was cut off; nobody can tell whether it is whole.
        let _ = lines.send(Incoming::End).await;
    });
    receiver
}

/// Writes lines in the order they are given, until the sender is dropped or the stream fails.
pub(crate) fn write(
    mut stream: impl AsyncWrite + Unpin + Send + 'static,
) -> (mpsc::Sender<Vec<u8>>, tokio::task::JoinHandle<()>) {
    let (sender, mut lines) = mpsc::channel::<Vec<u8>>(QUEUE);
    let task = tokio::spawn(async move {
        while let Some(mut line) = lines.recv().await {
            end(&mut line);
            if stream.write_all(&line).await.is_err() || stream.flush().await.is_err() {
                break;
            }
        }
    });
    (sender, task)
}

/// Ends a message as a line. A line break within a message is white space between its parts, for within strings it is escaped: what HTTP
/// brought may hold some, and each would begin another message.
pub(crate) fn end(message: &mut Vec<u8>) {
    for byte in message.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    message.push(b'\n');
}
