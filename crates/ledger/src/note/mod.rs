//! C2SP signed notes: a text and under it lines that sign it.
//!
//! Kept true: a note is bounded in bytes and signatures before anything is decoded; its text is exactly what was signed; a
//! [`VerifiedNote`] has at least one good signature of a key that the caller trusts and no bad one of such a key.
//! Signatures of unknown keys are passed over, so that a log can change keys and gather cosignatures without breaking
//! anyone.
//!
//! Only Ed25519 keys (type `0x01`) sign and verify here. Not known here: what the text says.

mod key;
mod name;

use aws_lc_rs::{
    error::Unspecified,
    signature::{ED25519, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

pub use key::{KeyId, SigningKey, SigningKeyError, VerifierKey, VerifierKeyError};
pub use name::{KeyName, KeyNameError, MAX_NAME_BYTES};

/// The most bytes in a note, signatures included.
pub const MAX_NOTE_BYTES: usize = 64 * 1024;
/// The most signature lines in a note.
pub const MAX_SIGNATURES: usize = 64;

/// What opens a signature line: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Why a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// More than [`MAX_NOTE_BYTES`]. The sender's fault.
    #[error(
        "a note of {found} bytes is over the bound of {MAX_NOTE_BYTES}: send a note alone, without other data"
    )]
    TooLong {
        /// The bytes there were.
        found: usize,
    },
    /// Not UTF-8, or a control character other than a line feed. The sender's fault.
    #[error(
        "byte {at} of the note is not text: a note is UTF-8 without control characters other than line feeds"
    )]
    NotText {
        /// Where it stands, in bytes from 0.
        at: usize,
    },
    /// No text, empty line, signatures. The sender's fault.
    #[error("the note has no signatures: they follow its text after an empty line and end in a line feed")]
    Unsigned,
    /// A line after the text that is no signature. The sender's fault.
    #[error("signature line {line} of the note is malformed: write `\u{2014} NAME BASE64`")]
    SignatureLine {
        /// The line, counted from 1 at the first signature.
        line: usize,
    },
    /// More than [`MAX_SIGNATURES`]. The sender's fault.
    #[error("the note has more than {MAX_SIGNATURES} signatures: drop those that nobody asks for")]
    TooManySignatures,
    /// Two different trusted keys answer to one name and id. The caller's fault.
    #[error("two trusted keys are called {name} with id {id}: drop one, or rename its log")]
    AmbiguousKey {
        /// Their name.
        name: KeyName,
        /// Their id.
        id: KeyId,
    },
    /// A trusted key's signature is not of this text: the note is forged or was changed.
    #[error(
        "the signature of {name} with key {id} does not fit the note: it was changed or forged, do not use it"
    )]
    BadSignature {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },
    /// No trusted key signed: the note is forged, or the caller lacks the key.
    #[error("no trusted key signed the note: get the log's verifier key from its operator, on another way")]
    NoTrustedSignature,
}

/// Why a note was not signed. The caller's fault, but for the last.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SignError {
    /// The text is empty, does not end in a line feed, or holds what no note may.
    #[error("the text to sign is no note text: it ends in a line feed and has no other control character")]
    Text,
    /// No key, or too many.
    #[error("{found} keys cannot sign a note: give 1 to {MAX_SIGNATURES}")]
    Keys {
        /// How many keys were given.
        found: usize,
    },
    /// Text and signatures come to more than [`MAX_NOTE_BYTES`].
    #[error("the signed note would have {size} bytes, over the bound of {MAX_NOTE_BYTES}: shorten its text")]
    TooLong {
        /// The bytes it would have.
        size: usize,
    },
    /// The cryptographic library failed, which it does when it is out of memory.
    #[error("the note could not be signed: see that the process has memory left, then try again")]
    Library(#[from] Unspecified),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signature {
    name: KeyName,
    id: KeyId,
    bytes: Vec<u8>,
}

/// A well-formed note of which nothing was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnverifiedNote {
    text: String,
    signatures: Vec<Signature>,
}

/// A note that a trusted key signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedNote {
    text: String,
    signers: Vec<VerifierKey>,
}

impl UnverifiedNote {
    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`] for what is over a bound or not of the form; never one about a signature's fit.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLong { found: bytes.len() });
        }
        let note = std::str::from_utf8(bytes).map_err(|e| NoteError::NotText { at: e.valid_up_to() })?;
        if let Some(at) = control_character(note) {
            return Err(NoteError::NotText { at });
        }
        // The text may hold empty lines itself, signatures may not: the last one divides.
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(NoteError::Unsigned)?;
        let lines = signatures.strip_suffix('\n').ok_or(NoteError::Unsigned)?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err(NoteError::TooManySignatures);
        }
        let signatures = lines
            .split('\n')
            .enumerate()
            .map(|(at, line)| Signature::parse(line).ok_or(NoteError::SignatureLine { line: at + 1 }));
        Ok(Self { text: format!("{text}\n"), signatures: signatures.collect::<Result<_, _>>()? })
    }

    /// Checks every signature of a trusted key; others are passed over.
    ///
    /// # Errors
    /// [`NoteError`] when a trusted key's signature does not fit, when none is there, or when keys are ambiguous.
    pub fn verify(self, trusted: &[VerifierKey]) -> Result<VerifiedNote, NoteError> {
        let mut signers: Vec<VerifierKey> = Vec::new();
        for signature in &self.signatures {
            let Some(key) = signature.key_among(trusted)? else { continue };
            let public = UnparsedPublicKey::new(&ED25519, key.public());
            if public.verify(self.text.as_bytes(), &signature.bytes).is_err() {
                return Err(NoteError::BadSignature { name: signature.name.clone(), id: signature.id });
            }
            if !signers.contains(key) {
                signers.push(key.clone());
            }
        }
        if signers.is_empty() {
            return Err(NoteError::NoTrustedSignature);
        }
        Ok(VerifiedNote { text: self.text, signers })
    }

    /// The text that the signatures claim to sign, with its final line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl VerifiedNote {
    /// The text that was signed, with its final line feed.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The trusted keys that signed it, at least one, each once.
    #[must_use]
    pub fn signers(&self) -> &[VerifierKey] {
        &self.signers
    }
}

impl Signature {
    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
        let decoded = STANDARD.decode(encoded).ok()?;
        let (id, bytes) = decoded.split_first_chunk()?;
        if bytes.is_empty() {
            return None;
        }
        Some(Self { name: name.parse().ok()?, id: KeyId::from_bytes(*id), bytes: bytes.to_vec() })
    }

    fn key_among<'k>(&self, trusted: &'k [VerifierKey]) -> Result<Option<&'k VerifierKey>, NoteError> {
        let mut known = trusted.iter().filter(|key| *key.name() == self.name && key.id() == self.id);
        let Some(key) = known.next() else { return Ok(None) };
        if known.any(|other| other != key) {
            return Err(NoteError::AmbiguousKey { name: self.name.clone(), id: self.id });
        }
        Ok(Some(key))
    }
}

/// Signs a text with each of these keys and returns the note. While keys change, the old and the new one both sign.
///
/// # Errors
/// [`SignError`]: what came out would not be taken by [`UnverifiedNote::parse`].
pub fn sign(text: &str, keys: &[&SigningKey]) -> Result<String, SignError> {
    if !text.ends_with('\n') || control_character(text).is_some() {
        return Err(SignError::Text);
    }
    if keys.is_empty() || keys.len() > MAX_SIGNATURES {
        return Err(SignError::Keys { found: keys.len() });
    }
    let mut note = format!("{text}\n");
    for key in keys {
        let signed = [key.verifier().id().as_bytes(), &key.sign(text.as_bytes())?].concat();
        note.push_str(&format!("{SIGNATURE_MARK}{} {}\n", key.verifier().name(), STANDARD.encode(signed)));
    }
    if note.len() > MAX_NOTE_BYTES {
        return Err(SignError::TooLong { size: note.len() });
    }
    Ok(note)
}

/// Where the first control character below a space stands that is no line feed.
fn control_character(text: &str) -> Option<usize> {
    text.bytes().position(|b| b < b' ' && b != b'\n')
}
