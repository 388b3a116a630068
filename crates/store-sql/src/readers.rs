//! Connections that read. In WAL mode they neither wait for the writer nor hold it up.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use warrantor_store::{Closed, ReadError};

use crate::file::{File, Side};

/// Most of them.
const READERS: usize = 2;

/// Connections that read, opened when they are first needed. Readings are made on threads that may wait.
#[derive(Debug)]
pub(crate) struct Readers {
    file: File,
    places: Semaphore,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(crate) fn new(file: File) -> Self {
        Self { file, places: Semaphore::new(READERS), idle: Arc::default() }
    }

    /// Makes a reading. A connection that fails is closed; the next reading opens another.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let _place = self.places.acquire().await.map_err(|_| ReadError::unavailable(Closed))?;
        let (file, idle) = (self.file.clone(), Arc::clone(&self.idle));
        let read = tokio::task::spawn_blocking(move || {
            let lying = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match lying {
                Some(connection) => connection,
                None => file.connect(Side::Reader).map_err(ReadError::unavailable)?,
            };
            let read = reading(&connection);
            if !matches!(read, Err(ReadError::Unavailable { .. })) {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            read
        });
        read.await.map_err(ReadError::unavailable)?
    }

    /// Nothing is read any more.
    pub(crate) fn close(&self) {
        self.places.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
