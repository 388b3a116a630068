//! Nouns that are read from bytes.

use warrantor_model::record::Record;
use warrantor_model::{Json, Path};

use crate::Reading;

/// What is read keeps its meaning in its canonical form, and that form is a fixed point.
pub(crate) fn json(bytes: &[u8]) -> Reading {
    let read = Json::parse(bytes);
    if let Ok(value) = &read {
        let canonical = value.canonical();
        let again = Json::parse(canonical.as_bytes());
        assert!(again.as_ref().is_ok_and(|again| again.same(value)), "another value: {canonical}");
        assert!(again.is_ok_and(|again| again.canonical() == canonical), "not a fixed point: {canonical}");
        assert!(value.same(value), "not the same as itself: {canonical}");
    }
    Reading::of(&read)
}

/// A record has one form in bytes; what lacks the last members, as earlier versions wrote it, is shorter and means the same.
pub(crate) fn record(bytes: &[u8]) -> Reading {
    let read = Record::from_bytes(bytes);
    if let Ok(record) = &read {
        let canonical = record.to_bytes().unwrap_or_default();
        let again = Record::from_bytes(&canonical);
        assert!(again.is_ok_and(|again| again == *record), "another record: {record:?}");
        let is_earlier = bytes.len() < canonical.len();
        assert!(bytes == canonical || is_earlier, "a second form: {record:?}");
    }
    Reading::of(&read)
}

/// A path that is written and read again is the same path.
pub(crate) fn path(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let read = text.parse::<Path>();
    if let Ok(path) = &read {
        let written = path.to_string();
        assert!(written.parse::<Path>().is_ok_and(|again| again == *path), "read otherwise: {written}");
    }
    Reading::of(&read)
}
