//! What others hand us as proof: nothing is taken that would be written otherwise, nothing unsigned is verified.

use warrantor_ledger::checkpoint::{Checkpoint, UnverifiedCheckpoint};
use warrantor_ledger::evidence::UnverifiedEvidence;
use warrantor_ledger::merkle::leaf_hash;
use warrantor_ledger::note::{KeyName, UnverifiedNote, VerifierKey};
use warrantor_ledger::{Frontier, MAX_SIZE, Tile};

use crate::Reading;

/// The text of a note is what stands before its signatures; without a trusted key nothing verifies.
pub(crate) fn note(bytes: &[u8]) -> Reading {
    let read = UnverifiedNote::parse(bytes);
    if let Ok(note) = &read {
        assert!(bytes.starts_with(note.text().as_bytes()), "the text is not that of the note");
        assert!(note.text().ends_with('\n'), "the text does not end its last line");
        assert!(note.clone().verify(&[]).is_err(), "verified without a trusted key");
    }
    Reading::of(&read)
}

/// A checkpoint has one written form, alone and within its note.
pub(crate) fn checkpoint(bytes: &[u8]) -> Reading {
    if let Ok(alone) = Checkpoint::parse(bytes) {
        assert_eq!(alone.to_string().as_bytes(), bytes, "a second form");
        return Reading::Taken;
    }
    let read = UnverifiedCheckpoint::parse(bytes);
    if let Ok(signed) = &read {
        let claimed = signed.claimed().clone();
        assert!(bytes.starts_with(claimed.to_string().as_bytes()), "a second form");
        assert!(signed.clone().verify(claimed.origin(), &[]).is_err(), "verified without a trusted key");
    }
    Reading::of(&read)
}

/// A frontier has one form in bytes, and grows by one leaf at a time.
pub(crate) fn frontier(bytes: &[u8]) -> Reading {
    let read = Frontier::from_bytes(bytes);
    if let Ok(frontier) = &read {
        assert_eq!(frontier.to_bytes(), bytes, "a second form");
        if frontier.size() < MAX_SIZE {
            let mut grown = frontier.clone();
            grown.push(leaf_hash(b"one more"));
            assert_eq!(grown.size(), frontier.size() + 1);
            assert_ne!(grown.root(), frontier.root(), "a leaf that the root does not show");
            let again = Frontier::from_bytes(&grown.to_bytes());
            assert!(again.is_ok_and(|again| again.root() == grown.root()), "not read back");
        }
    }
    Reading::of(&read)
}

/// Evidence is read without being believed.
pub(crate) fn evidence(bytes: &[u8]) -> Reading {
    let read = UnverifiedEvidence::parse(bytes);
    if let (Ok(evidence), Ok(origin)) = (&read, "example.com/log".parse::<KeyName>()) {
        assert!(
            evidence.clone().verify(b"entry".to_vec(), &origin, &[]).is_err(),
            "verified without a trusted key"
        );
    }
    Reading::of(&read)
}

/// A verifier key has one written form.
pub(crate) fn key(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let read = text.parse::<VerifierKey>();
    if let Ok(key) = &read {
        assert_eq!(key.to_string(), text, "a second form");
    }
    Reading::of(&read)
}

/// A tile has one path, and only where a tree can have it.
pub(crate) fn tile(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let read = text.parse::<Tile>();
    if let Ok(tile) = &read {
        assert_eq!(tile.to_string(), text, "a second form");
        assert_eq!(Tile::new(tile.level(), tile.index(), tile.width()).as_ref(), Ok(tile));
    }
    Reading::of(&read)
}
