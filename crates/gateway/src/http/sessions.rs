//! Sessions of the older protocol versions: a connection that outlives requests, and streams that can be resumed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::value::RawValue;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{IdKey, envelope, params::CancelledParams, trace::TraceContext};
use warrantor_model::{Digest, MandateId, TemplateId};

use super::{
    behind::Behind,
    callers::Caller,
    stream::{EventBody, EventStream, From},
};
use crate::{
    exchange::{Flight, Outlet, lock},
    tidings::{Changed, Told},
};

/// Most requests of a session that may be unanswered.
const MAX_IN_FLIGHT: usize = 256;
/// Most streams of answered requests that are kept for resuming.
const KEPT_STREAMS: usize = 32;
/// The stream of what is said unasked.
const STANDING: u64 = 0;

/// A session.
pub(super) struct Session<P: DecisionPoint> {
    pub(super) caller: Arc<Caller>,
    pub(super) mandate: MandateId,
    /// The name under which its caller asked for the mandate.
    pub(super) named: TemplateId,
    pub(super) behind: Behind<P>,
    /// What its endpoint was configured with.
    pub(super) configured: Digest,
    in_flight: Mutex<HashMap<IdKey, Flight>>,
    streams: Mutex<Streams>,
    used: Mutex<Instant>,
    is_initialized: AtomicBool,
    /// Its place among the gateway's sessions.
    _room: OwnedSemaphorePermit,
}

struct Streams {
    last: u64,
    kept: VecDeque<(u64, Arc<EventStream>)>,
    standing: Arc<EventStream>,
}

/// A request that has begun.
pub(super) struct Begun {
    pub(super) flight: Flight,
    pub(super) stream: Arc<EventStream>,
    pub(super) name: u64,
}

impl<P: DecisionPoint> Session<P> {
    pub(super) fn new(
        caller: Arc<Caller>,
        (named, mandate): (TemplateId, MandateId),
        behind: Behind<P>,
        configured: Digest,
        room: OwnedSemaphorePermit,
    ) -> Arc<Self> {
        let standing = Arc::new(EventStream::default());
        let is_set = behind.is_set();
        for connection in behind.begun() {
            let told = Arc::clone(&standing);
            connection.while_open(|exchange| async move {
                loop {
                    for news in exchange.news.next().await {
                        // A set has tools alone.
                        let is_told = !is_set || news == Told::Changed(Changed::Tools);
                        if is_told && let Some(line) = exchange.told(&news).await {
                            told.tell(line);
                        }
                    }
                }
            });
        }
        Arc::new(Self {
            caller,
            mandate,
            named,
            behind,
            configured,
            in_flight: Mutex::default(),
            streams: Mutex::new(Streams { last: STANDING, kept: VecDeque::new(), standing }),
            used: Mutex::new(Instant::now()),
            is_initialized: AtomicBool::new(false),
            _room: room,
        })
    }

    /// Takes note that the client is there.
    pub(super) fn touch(&self) {
        *lock(&self.used) = Instant::now();
    }

    /// Whether nothing has happened for so long, and nobody listens.
    pub(super) fn is_idle(&self, patience: Duration) -> bool {
        lock(&self.used).elapsed() > patience
            && lock(&self.in_flight).is_empty()
            && !lock(&self.streams).standing.has_reader()
    }

    /// Begins a request, unless its id is taken or too many are under way.
    pub(super) fn begin(
        &self,
        key: &IdKey,
        trace: Option<TraceContext<'static>>,
    ) -> Result<Begun, &'static str> {
        let mut in_flight = lock(&self.in_flight);
        if in_flight.contains_key(key) {
            return Err("a request with this id is still unanswered");
        }
        if in_flight.len() >= MAX_IN_FLIGHT {
            return Err("too many requests are unanswered");
        }
        let stream = Arc::new(EventStream::default());
        let told = Arc::clone(&stream);
        let outlet: Outlet = Arc::new(move |message| told.tell(message));
        let flight = Flight::new(outlet).within(trace);
        in_flight.insert(key.clone(), flight.clone());
        let mut streams = lock(&self.streams);
        streams.last = streams.last.saturating_add(1);
        let name = streams.last;
        streams.kept.push_back((name, Arc::clone(&stream)));
        // Those of answered requests go first; one that is still awaited is somebody's.
        while streams.kept.len() > KEPT_STREAMS {
            let Some(oldest) = streams.kept.iter().position(|(_, stream)| stream.has_ended()) else { break };
            streams.kept.remove(oldest);
        }
        Ok(Begun { flight, stream, name })
    }

    /// Keeps the stream of a request no longer: its client has the answer.
    pub(super) fn forget(&self, name: u64) {
        lock(&self.streams).kept.retain(|(kept, _)| *kept != name);
    }

    /// A request is answered.
    pub(super) fn done(&self, key: &IdKey) {
        lock(&self.in_flight).remove(key);
        self.touch();
    }

    /// What the client says without wanting an answer.
    pub(super) fn notified(&self, method: &str, params: Option<&RawValue>) {
        match method {
            "notifications/initialized" if !self.is_initialized.swap(true, Ordering::SeqCst) => {
                for connection in self.behind.begun() {
                    let initialized = envelope::notification("notifications/initialized", None);
                    connection.exchange.upstream.post(initialized);
                    connection.listen();
                }
            }
            "notifications/cancelled" => {
                let Ok(cancelled) = CancelledParams::parse(params) else { return };
                let flight = lock(&self.in_flight).get(cancelled.request_id.key()).cloned();
                if let Some(flight) = flight {
                    flight.take_back();
                }
            }
            "notifications/roots/list_changed" => {
                self.behind.begun().for_each(|connection| connection.exchange.roots_changed());
            }
            other => tracing::debug!(method = other, "a notification of the client was not passed on"),
        }
    }

    /// The stream that a client reads with a GET: of what is said unasked, or the one that an event's id names.
    pub(super) fn read(&self, resume: Option<&str>) -> Option<EventBody> {
        let streams = lock(&self.streams);
        let Some(id) = resume else {
            return Some(
                EventBody::new(Arc::clone(&streams.standing), Some(STANDING), From::Unread).opening(),
            );
        };
        let (name, number) = id.split_once('-')?;
        let (name, number): (u64, u64) = (name.parse().ok()?, number.parse().ok()?);
        let stream = match name {
            STANDING => Some(&streams.standing),
            name => streams.kept.iter().find(|(kept, _)| *kept == name).map(|(_, stream)| stream),
        }?;
        Some(EventBody::new(Arc::clone(stream), Some(name), From::After(number)).opening())
    }

    /// Ends the stream of what is said unasked, so that its client lets go.
    pub(super) fn end_streams(&self) {
        lock(&self.streams).standing.end(None);
    }

    /// Ends the session: its streams, its calls under way, its upstream.
    pub(super) fn end(&self) {
        self.behind.close();
        self.end_streams();
    }
}
