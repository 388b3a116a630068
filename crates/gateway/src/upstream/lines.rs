//! An upstream that is spoken to in lines. One task writes, so that nobody who must not wait for the server waits for it.

use std::time::Duration;

use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot, watch},
};

use super::{NoAnswer, Waiting};

/// How long a write may take before the server counts as hanging.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// How many lines may wait to be written. Half of them are for requests: our answers to a server that asks and does not read are dropped first.
const QUEUE: usize = 1024;

pub(super) struct LineCarrier {
    queue: mpsc::Sender<Outgoing>,
    closing: watch::Sender<bool>,
}

/// A line to be written.
struct Outgoing {
    line: Vec<u8>,
    /// Our request, when it is one: it is not written once nobody waits for its answer.
    request: Option<u64>,
    written: oneshot::Sender<Result<(), NoAnswer>>,
}

impl LineCarrier {
    pub(super) fn new(writer: impl AsyncWrite + Send + Unpin + 'static, waiting: Waiting) -> Self {
        let (queue, lines) = mpsc::channel(QUEUE);
        let closing = watch::Sender::new(false);
        tokio::spawn(write(writer, lines, waiting, closing.subscribe()));
        Self { queue, closing }
    }

    /// Writes a request, unless nobody waits for its answer by the time it is its turn.
    pub(super) async fn send(&self, id: u64, line: Vec<u8>) -> Result<(), NoAnswer> {
        let (written, told) = oneshot::channel();
        match self.queue.send(Outgoing { line, request: Some(id), written }).await {
            Ok(()) => told.await.unwrap_or(Err(NoAnswer::Ended)),
            Err(_) => Err(NoAnswer::NotSent),
        }
    }

    pub(super) fn post(&self, line: Vec<u8>) {
        let (written, _) = oneshot::channel();
        if self.queue.try_send(Outgoing { line, request: None, written }).is_err() {
            tracing::warn!("the tool server does not read what it is sent");
        }
    }

    pub(super) fn post_answer(&self, line: Vec<u8>) {
        if self.queue.capacity() > QUEUE / 2 {
            self.post(line);
        }
    }

    pub(super) fn close(&self) {
        self.closing.send_replace(true);
    }
}

/// Writes lines in their order until the server is gone or given up, and tells of each whether a byte of it may have left.
async fn write(
    mut writer: impl AsyncWrite + Send + Unpin,
    mut lines: mpsc::Receiver<Outgoing>,
    waiting: Waiting,
    mut closing: watch::Receiver<bool>,
) {
    loop {
        let next = tokio::select! {
            biased;
            _ = closing.wait_for(|closing| *closing) => break,
            next = lines.recv() => next,
        };
        let Some(Outgoing { mut line, request, written }) = next else { break };
        if request.is_some_and(|id| !waiting.wants(id)) {
            let _ = written.send(Err(NoAnswer::NotSent));
            continue;
        }
        crate::lines::end(&mut line);
        let mut rest = line.as_slice();
        let whole = tokio::select! {
            biased;
            whole = tokio::time::timeout(WRITE_PATIENCE, put(&mut writer, &mut rest)) => matches!(whole, Ok(true)),
            _ = closing.wait_for(|closing| *closing) => false,
        };
        let outcome = match (whole, rest.len() == line.len()) {
            (true, _) => Ok(()),
            (false, true) => Err(NoAnswer::NotSent),
            (false, false) => Err(NoAnswer::Ended),
        };
        let broken = outcome.is_err();
        let _ = written.send(outcome);
        if broken {
            // Half a line was written at most: whatever followed would be read as its end.
            break;
        }
    }
    drop(writer);
    lines.close();
    while let Some(Outgoing { written, .. }) = lines.recv().await {
        let _ = written.send(Err(NoAnswer::NotSent));
    }
}

/// Writes all of it; `rest` is what was not written.
async fn put(writer: &mut (impl AsyncWrite + Unpin), rest: &mut &[u8]) -> bool {
    while !rest.is_empty() {
        match writer.write(rest).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => *rest = rest.get(count..).unwrap_or_default(),
        }
    }
    writer.flush().await.is_ok()
}
