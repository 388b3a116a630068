//! Connections that read. In WAL mode they neither wait for the writer nor hold it up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;
use warrantor_store::{Closed, ReadError};

use crate::file::{File, Side};

/// Most of them.
const READERS: u32 = 2;

/// Connections that read, opened when they are first needed. Readings are made on threads that may wait.
#[derive(Debug)]
pub(crate) struct Readers {
    file: File,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

fn locked(idle: &Mutex<Vec<Connection>>) -> MutexGuard<'_, Vec<Connection>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Readers {
    pub(crate) fn new(file: File) -> Self {
        Self { file, places: Arc::new(Semaphore::new(READERS as usize)), idle: Arc::default() }
    }

    /// Makes a reading. A connection that fails is closed; the next reading opens another. Whoever gives up waiting leaves the reading its place until it ends.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| ReadError::unavailable(Closed))?;
        let (file, idle) = (self.file.clone(), Arc::clone(&self.idle));
        let read = tokio::task::spawn_blocking(move || {
            let lying = locked(&idle).pop();
            let connection = match lying {
                Some(connection) => connection,
                None => file.connect(Side::Reader).map_err(ReadError::unavailable)?,
            };
            let read = reading(&connection);
            if !matches!(read, Err(ReadError::Unavailable { .. })) && connection.is_autocommit() {
                locked(&idle).push(connection);
            }
            // Only now, so that there are never more connections than places.
            drop(place);
            read
        });
        read.await.map_err(ReadError::unavailable)?
    }

    /// Waits for the readings under way; then nothing is read any more.
    pub(crate) async fn close(&self) {
        let all = self.places.acquire_many(READERS).await;
        self.places.close();
        locked(&self.idle).clear();
        drop(all);
    }
}
