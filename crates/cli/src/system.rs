//! Where the outside enters: the wall clock, the system's randomness, who runs us.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use warrantor_model::{Clock, Evidence, Randomness, Timestamp, time::NoRandomness};

/// The wall clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(jiff::Timestamp::now().as_microsecond())
    }
}

/// The operating system's generator.
pub(crate) struct SystemBytes(SystemRandom);

impl SystemBytes {
    pub(crate) fn new() -> Self {
        Self(SystemRandom::new())
    }
}

impl Randomness for SystemBytes {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill(buffer).map_err(|_| NoRandomness)
    }
}

/// Time since the machine started, the time of suspend included: leases are measured with it.
pub(crate) fn uptime() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
    Duration::new(seconds, nanos)
}

/// The local user who runs us: layer 1's evidence in `run`, and the hand in records of administration.
pub(crate) fn local_user() -> Evidence {
    let uid = rustix::process::getuid().as_raw();
    Evidence::LocalUser { uid, name: user_name(uid) }
}

/// The system's name for a user id. The environment is not asked: whoever starts us could set it.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
