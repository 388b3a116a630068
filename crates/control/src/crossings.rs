//! Receipts of what crossed between domains: what is recorded here of each grant, and how it compares with what the other domain has recorded.
//!
//! A receipt stands in a record of the ledger, which signed checkpoints vouch for. Two domains that compare theirs find out whether one has taken a grant
//! that the other never made, or that it made in other words.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use warrantor_model::{
    Timestamp,
    record::{CrossingRecord, Event, Record, TokenChange},
};
use warrantor_store::{MAX_PAGE, ReadError, Store};

/// On which side of a grant a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// It made the grant.
    Gave,
    /// It made a token by the grant.
    Took,
    /// It was shown the grant, and made no token.
    Refused,
}

/// What is recorded of a grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt<T = CrossingRecord> {
    /// The record that it stands in.
    pub index: u64,
    /// Its leaf in the ledger's tree, by which a checkpoint vouches for it.
    pub leaf: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// On which side.
    pub side: Side,
    /// The agent here.
    pub agent: Option<String>,
    /// The mandate here.
    pub mandate: Option<String>,
    /// The token that was made, of a grant that was taken.
    pub token: Option<String>,
    /// Why none was made.
    pub reason: Option<String>,
    /// What both sides record alike.
    pub crossing: T,
}

impl Receipt {
    fn of(index: u64, leaf: String, record: Record) -> Option<Self> {
        let Event::Token(token) = record.event else { return None };
        let token = *token;
        let crossing = token.crossing?;
        let side = match token.change {
            TokenChange::Refused => Side::Refused,
            // Whoever made the grant named its record after it.
            TokenChange::Made if token.token.as_deref() == Some(crossing.id.as_str()) => Side::Gave,
            TokenChange::Made => Side::Took,
            TokenChange::Revoked => return None,
        };
        Some(Self {
            index,
            leaf,
            at: record.at,
            side,
            agent: token.agent,
            mandate: token.mandate,
            token: token.token.filter(|_| side == Side::Took),
            reason: token.reason,
            crossing,
        })
    }

    /// The other domain.
    #[must_use]
    pub fn other(&self) -> &str {
        match self.side {
            Side::Gave => &self.crossing.audience,
            Side::Took | Side::Refused => &self.crossing.issuer,
        }
    }
}

/// All receipts, or those of one domain, the earliest first. Records that do not read are passed over: verifying the ledger finds them.
///
/// # Errors
/// [`ReadError`].
pub async fn receipts<S: Store>(store: &S, domain: Option<&str>) -> Result<Vec<Receipt>, ReadError> {
    let (mut next, mut found) = (0u64, Vec::new());
    loop {
        let page = store.records(next, MAX_PAGE).await?;
        let Some(last) = page.last() else { return Ok(found) };
        next = last.index.saturating_add(1);
        let receipts = page.iter().filter_map(|row| {
            Receipt::of(row.index, row.leaf.to_string(), Record::from_bytes(&row.bytes).ok()?)
        });
        found.extend(receipts.filter(|receipt| domain.is_none_or(|domain| receipt.other() == domain)));
    }
}

/// How the receipts of two domains compare.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Compared {
    /// Whether every grant that either has taken was made by the other, in the same words.
    pub ok: bool,
    /// Grants that one made and the other took.
    pub matching: usize,
    /// Grants that one made, and the other has not taken. They may have ended unused.
    pub unused: Vec<String>,
    /// Grants that one has taken, and the other has not made.
    pub never_made: Vec<String>,
    /// Grants of which the two have recorded different things.
    pub differing: Vec<String>,
    /// Grants that one has made or taken more than once.
    pub twice: Vec<String>,
}

/// Why receipts cannot be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// They do not read.
    #[error("it is not what `audit crossings -o json` tells: {0}")]
    Format(#[from] serde_json::Error),
    /// They are of somebody else, or our own.
    #[error("entry {nth} is not what {domain} has recorded of a grant between it and us")]
    OfOthers {
        /// Which, from 1 on.
        nth: usize,
        /// The domain that was named.
        domain: String,
    },
    /// There is nothing here to compare with.
    #[error("nothing is recorded here of {domain}: name it as its tokens do, to the last character")]
    NothingOurs {
        /// The domain that was named.
        domain: String,
    },
}

/// Compares our receipts of a domain with what that domain told as JSON.
///
/// # Errors
/// [`CompareError`]: a name that is written in another way must not pass for books that agree.
pub fn compared(domain: &str, ours: &[Receipt], theirs: &[Receipt<Value>]) -> Result<Compared, CompareError> {
    for (nth, receipt) in theirs.iter().enumerate() {
        let by = match receipt.side {
            Side::Gave => "issuer",
            Side::Took | Side::Refused => "audience",
        };
        if receipt.crossing.get(by).and_then(Value::as_str) != Some(domain) {
            return Err(CompareError::OfOthers { nth: nth.saturating_add(1), domain: domain.to_owned() });
        }
    }
    if ours.is_empty() && !theirs.is_empty() {
        return Err(CompareError::NothingOurs { domain: domain.to_owned() });
    }
    // Whatever else the other side's version records of one stays its own.
    let known = |crossing: &Value| -> Result<Value, serde_json::Error> {
        let own: Kept = serde_json::from_value(crossing.clone())?;
        serde_json::to_value(own)
    };
    let mut told = Vec::new();
    for receipt in ours {
        told.push((receipt.side, serde_json::to_value(&receipt.crossing)?));
    }
    let ours = told.iter().map(|(side, crossing)| Ok((*side, known(crossing)?)));
    let ours = ours.collect::<Result<Vec<_>, serde_json::Error>>()?;
    let theirs = theirs.iter().map(|receipt| Ok((receipt.side, known(&receipt.crossing)?)));
    let theirs = theirs.collect::<Result<Vec<_>, serde_json::Error>>()?;
    let mut compared = Compared::default();
    for (made, taken) in [(&ours, &theirs), (&theirs, &ours)] {
        // One that stands twice was made, or counted, twice.
        let mut twice = Vec::new();
        let mut by_name = |side: Side, of: &[(Side, Value)]| -> BTreeMap<String, Value> {
            let mut all = BTreeMap::new();
            for (_, crossing) in of.iter().filter(|(on, _)| *on == side) {
                if all.insert(name(crossing), crossing.clone()).is_some() {
                    twice.push(name(crossing));
                }
            }
            all
        };
        let (made, taken) = (by_name(Side::Gave, made), by_name(Side::Took, taken));
        compared.twice.extend(twice);
        for (name, crossing) in &taken {
            match made.get(name) {
                Some(same) if same == crossing => compared.matching = compared.matching.saturating_add(1),
                Some(_) => compared.differing.push(name.clone()),
                None => compared.never_made.push(name.clone()),
            }
        }
        compared.unused.extend(made.into_keys().filter(|name| !taken.contains_key(name)));
    }
    compared.ok =
        compared.never_made.is_empty() && compared.differing.is_empty() && compared.twice.is_empty();
    Ok(compared)
}

fn name(crossing: &Value) -> String {
    let text = |name: &str| crossing.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{} of {}", text("id"), text("issuer"))
}

/// The members of a receipt that are compared.
#[derive(Serialize, Deserialize)]
struct Kept {
    grant: String,
    issuer: String,
    id: String,
    subject: String,
    audience: String,
    client: String,
    resource: Option<String>,
    mandate: Option<String>,
    task: Option<String>,
    part: Option<String>,
}

#[cfg(test)]
mod tests {
    use warrantor_model::Digest;

    use super::*;

    fn receipt(side: Side, id: &str, subject: &str) -> Receipt {
        Receipt {
            index: 0,
            leaf: String::new(),
            at: Timestamp::from_micros(0),
            side,
            agent: None,
            mandate: None,
            token: None,
            reason: None,
            crossing: CrossingRecord {
                grant: Digest::of(id.as_bytes()),
                issuer: "https://a.example".to_owned(),
                id: id.to_owned(),
                subject: subject.to_owned(),
                audience: "https://b.example".to_owned(),
                client: "bot".to_owned(),
                resource: None,
                mandate: None,
                task: None,
                part: None,
            },
        }
    }

    fn compare(domain: &str, ours: &[Receipt], theirs: &[Receipt]) -> Result<Compared, CompareError> {
        let told = serde_json::to_string(theirs).unwrap();
        compared(domain, ours, &serde_json::from_str::<Vec<Receipt<Value>>>(&told).unwrap())
    }

    /// As the domain that takes grants of `https://a.example`, or as that one, by what the other side has.
    fn judged(ours: &[Receipt], theirs: &[Receipt]) -> Compared {
        let gave = theirs.iter().any(|receipt| receipt.side == Side::Gave);
        let takes = ours.iter().any(|receipt| receipt.side == Side::Took);
        compare(if gave || takes { "https://a.example" } else { "https://b.example" }, ours, theirs).unwrap()
    }

    #[test]
    fn books_of_somebody_else_or_of_a_name_in_other_words_are_not_compared() {
        let (gave, took) = (receipt(Side::Gave, "k1", "alice"), receipt(Side::Took, "k1", "alice"));
        let one = std::slice::from_ref;
        for (what, domain, ours, theirs) in [
            ("another way to write it", "https://b.example/", one(&gave), one(&took)),
            ("another domain", "https://c.example", one(&gave), one(&took)),
            ("our own list", "https://b.example", one(&gave), one(&gave)),
        ] {
            let wrong = compare(domain, ours, theirs);
            assert!(matches!(wrong, Err(CompareError::OfOthers { nth: 1, .. })), "{what}: {wrong:?}");
        }
        let nothing = compare("https://b.example", &[], one(&took));
        assert!(matches!(nothing, Err(CompareError::NothingOurs { .. })), "{nothing:?}");
    }

    #[test]
    fn what_one_took_the_other_has_made_in_the_same_words_or_something_is_wrong() {
        let gave = |id: &str| receipt(Side::Gave, id, "alice");
        let took = |id: &str| receipt(Side::Took, id, "alice");
        let name = |id: &str| vec![format!("{id} of https://a.example")];
        let fine = Compared { ok: true, matching: 1, ..Compared::default() };
        for (what, ours, theirs, expected) in [
            ("nothing", vec![], vec![], Compared { ok: true, ..Compared::default() }),
            ("the same", vec![gave("k1")], vec![took("k1")], fine.clone()),
            ("the same the other way round", vec![took("k1")], vec![gave("k1")], fine.clone()),
            (
                "one that was not used",
                vec![gave("k1"), gave("k2")],
                vec![took("k1")],
                Compared { unused: name("k2"), ..fine.clone() },
            ),
            (
                "one that was refused",
                vec![gave("k2")],
                vec![receipt(Side::Refused, "k2", "alice")],
                Compared { ok: true, unused: name("k2"), ..Compared::default() },
            ),
            (
                "one that nobody made",
                vec![gave("k1")],
                vec![took("k1"), took("k3")],
                Compared { ok: false, never_made: name("k3"), ..fine.clone() },
            ),
            (
                "one that was taken twice",
                vec![gave("k1")],
                vec![took("k1"), took("k1")],
                Compared { ok: false, twice: name("k1"), ..fine },
            ),
            (
                "one in other words",
                vec![gave("k1")],
                vec![receipt(Side::Took, "k1", "mallory")],
                Compared { ok: false, differing: name("k1"), ..Compared::default() },
            ),
        ] {
            assert_eq!(judged(&ours, &theirs), expected, "{what}");
        }
    }
}
