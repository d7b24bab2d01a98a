//! The common part of the receivers in Rust: how they receive their arguments and report their results.
//!
//! ```text
//! PROGRAM PORT [WORD ...] [verify]
//! ```

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// What the command line asks for.
pub struct Task {
    /// The port of the sender, on 127.0.0.1.
    pub port: u16,
    /// What stands between the port and `verify`.
    pub words: Vec<String>,
    /// Whether every frame has to be digested; such a run is not timed.
    pub verify: bool,
}

impl Task {
    /// # Panics
    ///
    /// If there is no port.
    #[must_use]
    pub fn from_command_line() -> Self {
        let mut words: Vec<String> = std::env::args().skip(1).collect();
        let verify = words.last().is_some_and(|word| word == "verify");
        if verify {
            words.pop();
        }
        assert!(!words.is_empty(), "PORT [WORD ...] [verify]");
        let port = words.remove(0).parse().expect("a port");
        Task { port, words, verify }
    }

    /// How many connections to open, where that is the first word.
    ///
    /// # Panics
    ///
    /// If the word is no count.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.words.first().map_or(1, |word| word.parse().expect("a number of connections"))
    }
}

/// A clock that starts when the connection is established.
pub struct Clock(Instant);

impl Clock {
    #[must_use]
    pub fn start() -> Self {
        Clock(Instant::now())
    }

    #[must_use]
    pub fn stop(self) -> Duration {
        self.0.elapsed()
    }
}

/// What came over one connection.
#[derive(Default)]
pub struct Tally {
    pub frames: u64,
    pub bytes: u64,
    digest: Option<Sha256>,
}

impl Tally {
    #[must_use]
    pub fn new(verify: bool) -> Self {
        Tally { digest: verify.then(Sha256::new), ..Tally::default() }
    }

    /// Counts a frame, given without its separator.
    #[inline]
    pub fn frame(&mut self, content: &[u8]) {
        self.frames += 1;
        self.bytes += content.len() as u64;
        if let Some(digest) = &mut self.digest {
            digest.update(format!("{}:", content.len()));
            digest.update(content);
        }
    }

    /// Whether [`Tally::frame`] needs to see the bytes of a frame and not only their number.
    #[must_use]
    pub fn verifies(&self) -> bool {
        self.digest.is_some()
    }
}

/// Prints the sum of all connections; their digests are one where they are equal.
pub fn answer(tallies: Vec<Tally>, elapsed: Duration) {
    let frames: u64 = tallies.iter().map(|tally| tally.frames).sum();
    let bytes: u64 = tallies.iter().map(|tally| tally.bytes).sum();
    let mut digests: Vec<String> = tallies
        .into_iter()
        .filter_map(|tally| tally.digest)
        .map(|digest| format!("{:x}", digest.finalize()))
        .collect();
    digests.dedup();
    let digest = match digests.join(" ") {
        none if none.is_empty() => none,
        some => format!(r#","digest":"{some}""#),
    };
    println!(
        r#"{{"frames":{frames},"bytes":{bytes},"seconds":{:.9}{digest}}}"#,
        elapsed.as_secs_f64()
    );
}
