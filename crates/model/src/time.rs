//! Instants and the two seams through which the outside enters: the clock and randomness.
//!
//! An instant is a count of microseconds since 1970-01-01T00:00:00Z, so that records, stores and comparisons agree on one integer.

use std::{fmt, str::FromStr, time::Duration};

use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// An instant, in microseconds since the Unix epoch, UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
)]
#[serde(try_from = "String", into = "String")]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] i64);

/// Why a text is no instant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{found:?} is no instant: write RFC 3339 with an offset, such as 2026-01-31T12:00:00Z ({cause})")]
pub struct TimestampError {
    found: String,
    cause: String,
}

impl Timestamp {
    /// An instant from microseconds since the Unix epoch. Clamped to what RFC 3339 can write (years up to 9999), so that every
    /// instant has a text.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        const SECOND: i64 = 1_000_000;
        let first = jiff::Timestamp::MIN.as_second().saturating_add(1).saturating_mul(SECOND);
        let last = jiff::Timestamp::MAX.as_second().saturating_sub(1).saturating_mul(SECOND);
        Self(micros.clamp(first, last))
    }

    /// Microseconds since the Unix epoch.
    #[must_use]
    pub fn as_micros(self) -> i64 {
        self.0
    }

    /// The instant in RFC 3339 with three decimal places, cut: the form of Cedar's `datetime`.
    #[must_use]
    pub fn to_millis_text(self) -> String {
        let millis = self.0.div_euclid(1000);
        jiff::Timestamp::from_millisecond(millis)
            .map_or_else(|_| format!("{millis}ms"), |t| format!("{t:.3}"))
    }

    /// The instant this much later; saturates.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The instant this much earlier; saturates.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        Self::from_micros(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The minute it is in, for people: `29 November 2026, 13:05 UTC`.
    #[must_use]
    pub fn in_words(self) -> String {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => instant.strftime("%-d %B %Y, %H:%M UTC").to_string(),
            Err(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => write!(f, "{instant:.6}"),
            // Unreachable through the constructors, which clamp; decoded records may hold anything.
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        jiff::Timestamp::from_str(text).map(|instant| Self(instant.as_microsecond())).map_err(|cause| {
            TimestampError { found: text.chars().take(60).collect(), cause: cause.to_string() }
        })
    }
}

impl TryFrom<String> for Timestamp {
    type Error = TimestampError;
    fn try_from(text: String) -> Result<Self, TimestampError> {
        text.parse()
    }
}

impl From<Timestamp> for String {
    fn from(instant: Timestamp) -> Self {
        instant.to_string()
    }
}

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{found:?} is no duration: write a number and a unit, such as 30m, 24h or 7d ({cause})")]
pub struct DurationError {
    found: String,
    cause: String,
}

/// Reads a duration such as `30m`, `24h`, `7d` or `1h 30m`. A day is 24 hours.
///
/// # Errors
/// [`DurationError`] when it does not parse, is zero or negative, or is longer than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let wrong = |cause: String| DurationError { found: text.chars().take(60).collect(), cause };
    let span = jiff::Span::from_str(text).map_err(|cause| wrong(cause.to_string()))?;
    let signed = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|cause| wrong(cause.to_string()))?;
    let duration = Duration::try_from(signed).map_err(|_| wrong("it is negative".into()))?;
    if duration.is_zero() {
        return Err(wrong("it is zero".into()));
    }
    if duration > Duration::from_secs(100 * 365 * 24 * 3600) {
        return Err(wrong("it is longer than 100 years".into()));
    }
    Ok(duration)
}

/// Tells the time. The wall clock enters in the binary only; tests move theirs by hand.
pub trait Clock: Send + Sync {
    /// The instant it is now.
    fn now(&self) -> Timestamp;
}

/// Gives unpredictable bytes. The operating system's generator enters in the binary only.
pub trait Randomness: Send + Sync {
    /// Fills the buffer.
    ///
    /// # Errors
    /// [`NoRandomness`] when the generator cannot answer; whoever asked must refuse.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness>;
}

/// The generator of random bytes did not answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the operating system gave no random bytes")]
pub struct NoRandomness;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_survive_their_text() {
        let instant: Timestamp = "2026-10-05T12:34:56.789012Z".parse().unwrap();
        assert_eq!(instant.to_string(), "2026-10-05T12:34:56.789012Z");
        assert_eq!("2026-10-05T14:34:56.789012+02:00".parse::<Timestamp>().unwrap(), instant);
        assert!("2026-10-05".parse::<Timestamp>().is_err());
        assert!(Timestamp::from_micros(i64::MAX).to_string().starts_with("9999"));
        assert!(Timestamp::from_micros(i64::MIN).to_string().starts_with("-009999"));
        assert!(Timestamp::from_micros(i64::MIN).plus(Duration::MAX) > instant);
    }

    #[test]
    fn people_read_a_time_to_the_minute() {
        let at: Timestamp = "2026-11-09T03:05:59.999999Z".parse().unwrap();
        assert_eq!(at.in_words(), "9 November 2026, 03:05 UTC");
    }

    #[test]
    fn durations_need_a_unit_and_a_length() {
        for (text, seconds) in
            [("30m", 1800), ("24h", 86_400), ("7d", 604_800), ("1h 30m", 5400), ("90s", 90)]
        {
            assert_eq!(parse_duration(text).unwrap().as_secs(), seconds, "{text}");
        }
        for bad in ["", "30", "-5m", "0s", "5 fortnights", "1000000d"] {
            assert!(parse_duration(bad).is_err(), "{bad} was taken");
        }
    }
}
