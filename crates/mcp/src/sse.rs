//! Server-sent events, as Streamable HTTP uses them: each event carries one message.
//!
//! Reading follows the event stream grammar of the HTML standard (section 9.2.5) and is bounded: an event beyond the bound is reported once
//! and dropped, and the stream goes on behind it. Writing splits data at line breaks, so that nothing in a message can end its
//! event and begin another; in JSON a line break is white space, for within strings it is escaped.

use thiserror::Error;

/// Longest event id that is kept, in bytes.
pub const MAX_ID_BYTES: usize = 1024;

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// The id of the last event that had one, this one included: where to resume.
    pub id: Option<String>,
    /// The data, its lines joined by line feeds. Empty for an event that only sets an id.
    pub data: Vec<u8>,
    /// Milliseconds to wait before connecting anew, when the stream says so.
    pub retry: Option<u64>,
}

/// An event was longer than the bound. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an event is longer than {bound} bytes")]
pub struct EventTooLong {
    /// The bound, in bytes of data.
    pub bound: usize,
}

/// Chunks go in, events come out.
#[derive(Debug)]
pub struct EventReader {
    bound: usize,
    /// Bytes of a line that has not ended.
    line: Vec<u8>,
    /// The line is longer than any that counts; its bytes are not kept.
    line_too_long: bool,
    /// A carriage return ended the last line; a line feed that follows belongs to it.
    after_return: bool,
    begun: bool,
    id: Option<String>,
    data: Vec<u8>,
    has_data: bool,
    has_id: bool,
    retry: Option<u64>,
    too_long: bool,
}

impl EventReader {
    /// A reader of events with at most `bound` bytes of data.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            bound,
            line: Vec::new(),
            line_too_long: false,
            after_return: false,
            begun: false,
            id: None,
            data: Vec::new(),
            has_data: false,
            has_id: false,
            retry: None,
            too_long: false,
        }
    }

    /// Takes the next bytes of the stream, and gives the events that end within them.
    pub fn push(&mut self, mut chunk: &[u8]) -> Vec<Result<Event, EventTooLong>> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.after_return) {
            match chunk.split_first() {
                Some((b'\n', rest)) => chunk = rest,
                Some(_) => {}
                None => self.after_return = true,
            }
        }
        while let Some(end) = memchr::memchr2(b'\n', b'\r', chunk) {
            let (line, rest) = chunk.split_at(end);
            self.keep(line);
            let returned = rest.first() == Some(&b'\r');
            let rest = rest.get(1..).unwrap_or_default();
            chunk = match rest.split_first() {
                Some((b'\n', after)) if returned => after,
                None if returned => {
                    self.after_return = true;
                    rest
                }
                _ => rest,
            };
            events.extend(self.line_ended());
        }
        self.keep(chunk);
        events
    }

    /// Where to resume, when the stream has said so.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    fn keep(&mut self, bytes: &[u8]) {
        // A line is a field's name, a colon, a space and data, and more than that is beyond the bound in any case.
        if self.line.len().saturating_add(bytes.len()) > self.bound.saturating_add(64) {
            self.line_too_long = true;
            self.line = Vec::new();
        } else if !self.line_too_long {
            self.line.extend_from_slice(bytes);
        }
    }

    fn line_ended(&mut self) -> Option<Result<Event, EventTooLong>> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.begun, true) && line.starts_with(b"\xEF\xBB\xBF") {
            line.drain(..3);
        }
        if std::mem::take(&mut self.line_too_long) {
            self.too_long = true;
            return None;
        }
        if line.is_empty() {
            return self.event_ended();
        }
        let (field, value) = match memchr::memchr(b':', &line) {
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line.as_slice(), &[][..]),
        };
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                if self.data.len().saturating_add(value.len()) > self.bound {
                    self.too_long = true;
                    self.data = Vec::new();
                } else if !self.too_long {
                    self.data.extend_from_slice(value);
                }
            }
            b"id" if value.len() <= MAX_ID_BYTES && !value.contains(&0) => {
                if let Ok(id) = std::str::from_utf8(value) {
                    self.id = (!id.is_empty()).then(|| id.to_owned());
                    self.has_id = true;
                }
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.retry = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            }
            // The event's type and comments carry nothing here; other fields are to be ignored.
            _ => {}
        }
        None
    }

    fn event_ended(&mut self) -> Option<Result<Event, EventTooLong>> {
        let data = std::mem::take(&mut self.data);
        let has_data = std::mem::take(&mut self.has_data);
        let has_id = std::mem::take(&mut self.has_id);
        let retry = self.retry.take();
        if std::mem::take(&mut self.too_long) {
            return Some(Err(EventTooLong { bound: self.bound }));
        }
        (has_data || has_id || retry.is_some()).then(|| Ok(Event { id: self.id.clone(), data, retry }))
    }
}

/// Writes a message as an event, under an id to resume at if it has one. The id must hold no line break.
#[must_use]
pub fn write_event(id: Option<&str>, message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len().saturating_add(64));
    if let Some(id) = id {
        out.extend_from_slice(b"id: ");
        out.extend(id.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        out.push(b'\n');
    }
    for line in message.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bound: usize, stream: &[u8]) -> Vec<Result<Event, EventTooLong>> {
        EventReader::new(bound).push(stream)
    }

    fn data(stream: &str) -> Vec<String> {
        let events = read(1 << 10, stream.as_bytes()).into_iter();
        events.map(|event| String::from_utf8(event.unwrap().data).unwrap()).collect()
    }

    #[test]
    fn events_are_read_as_the_html_standard_says() {
        for (stream, wanted) in [
            ("data: a\n\n", vec!["a"]),
            ("data:a\r\n\r\n", vec!["a"]),
            ("data: a\r\rdata: b\r\r", vec!["a", "b"]),
            ("data:  a\n\n", vec![" a"]),
            ("data: a\ndata: b\n\n", vec!["a\nb"]),
            ("data\n\n", vec![""]),
            (": keep-alive\n\n", vec![]),
            ("event: message\ndata: a\n\n", vec!["a"]),
            ("foo: x\ndata: a\n\n", vec!["a"]),
            ("\u{feff}data: a\n\n", vec!["a"]),
            ("data: a\n", vec![]),
            ("data: {\"x\":\"data: b\"}\n\n", vec!["{\"x\":\"data: b\"}"]),
        ] {
            assert_eq!(data(stream), wanted, "{stream:?}");
        }
    }

    #[test]
    fn an_id_stays_until_another_comes_and_says_where_to_resume() {
        let mut reader = EventReader::new(100);
        let ids: Vec<_> = reader
            .push(b"id: 1\ndata: a\n\ndata: b\n\nid: 2\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n")
            .into_iter()
            .map(|event| event.unwrap().id)
            .collect();
        let some = |id: &str| Some(id.to_owned());
        assert_eq!(ids, [some("1"), some("1"), some("2"), some("2"), None]);
        assert_eq!(reader.last_id(), None);
    }

    #[test]
    fn the_time_before_connecting_anew_is_told() {
        let events = read(
            100,
            b"retry: 500\ndata: a\n\nretry: 1x\ndata: b\n\nretry: 99999999999999999999999\ndata: c\n\n",
        );
        let retries: Vec<_> = events.into_iter().map(|event| event.unwrap().retry).collect();
        assert_eq!(retries, [Some(500), None, None]);
    }

    #[test]
    fn an_event_beyond_the_bound_is_reported_once_and_the_next_is_read() {
        for stream in ["data: 12345678901\n\ndata: b\n\n", "data: 123456\ndata: 123456\n\ndata: b\n\n"] {
            let events = read(10, stream.as_bytes());
            assert_eq!(events.len(), 2, "{stream:?}");
            assert_eq!(events[0], Err(EventTooLong { bound: 10 }));
            assert_eq!(events[1].as_ref().unwrap().data, b"b");
        }
        let mut reader = EventReader::new(10);
        for _ in 0..10_000 {
            assert!(reader.push(&[b'x'; 100]).is_empty());
        }
        assert!(reader.line.capacity() < 1000);
    }

    proptest! {
        /// However the stream is cut, the same events come out; and no message can break out of its event.
        #[test]
        fn what_is_written_is_read_again(messages in prop::collection::vec("[ -~\r\n:]{0,40}", 1..6), cut in 1usize..20) {
            let mut stream = Vec::new();
            for (n, message) in messages.iter().enumerate() {
                stream.extend(write_event(Some(&n.to_string()), message.as_bytes()));
            }
            let mut reader = EventReader::new(1 << 10);
            let read: Vec<Event> =
                stream.chunks(cut).flat_map(|chunk| reader.push(chunk)).map(|event| event.unwrap()).collect();
            let told: Vec<String> = read.iter().map(|event| String::from_utf8(event.data.clone()).unwrap()).collect();
            let wanted: Vec<String> = messages.iter().map(|message| message.replace('\r', "\n")).collect();
            prop_assert_eq!(told, wanted);
        }

        #[test]
        fn no_stream_makes_the_reader_fail(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10)) {
            let mut reader = EventReader::new(32);
            for chunk in chunks {
                for event in reader.push(&chunk) {
                    prop_assert!(event.map_or(true, |event| event.data.len() <= 32));
                }
            }
        }
    }
}
