//! Parts of mandates: what is said of one that is handed on, and how it is written for a place that knows neither the mandate nor our names.

use serde_json::{Map, Value, json};
use warrantor_model::{AgentId, Json, ServerName, Terms};

/// Members of a part that whoever hands it on may say; the others are those of the mandate above.
const SAID: [&str; 7] = ["purpose", "grants", "limits", "slots", "expires_in", "expires_at", "delegation"];
/// Members of a mandate that go with a part to another domain. What is left out is not handed on there: requests in somebody's own words are nobody's business.
const CROSSING: [&str; 3] = ["purpose", "limits", "slots"];
/// Members of a grant that name something of a server: `server/name`.
const NAMING: [&str; 5] = ["tool", "prompt", "resource", "completion", "client"];
/// Members of bounds that name where a value comes from.
const SOURCES: [&str; 2] = ["from", "also_from"];
/// Members of bounds that are values, which are never looked into.
const VALUES: [&str; 5] = ["equals", "in", "min", "max", "otherwise"];

/// The document of a part for this agent: what was said of it, and the rest as it is above.
///
/// # Errors
/// What is not said of a part.
pub fn document(
    agent: &AgentId,
    said: &Map<String, Value>,
    above: &Json,
    terms: &Terms,
) -> Result<Json, String> {
    if let Some(other) = said.keys().find(|name| !SAID.contains(&name.as_str())) {
        return Err(format!("{other} is not said of a part: it has {}", SAID.join(", ")));
    }
    let mut document = json!({
        "id": format!("{}.{agent}", terms.template),
        "person": terms.person, "sponsor": terms.sponsor, "kind": terms.kind.as_str(),
        "agent": agent, "parent": terms.template,
    });
    if let Some(members) = document.as_object_mut() {
        members.extend(said.clone());
        // Where nothing is said it ends with what is above, and has the same limits, which count for both together.
        let says_end = ["expires_in", "expires_at"].iter().any(|name| members.contains_key(*name));
        let taken = ["expires_in", "expires_at"].into_iter().filter(|_| !says_end).chain(["limits"]);
        for name in taken {
            if let Some(value) = above.get(name).and_then(Json::to_value) {
                members.entry(name).or_insert(value);
            }
        }
    }
    Ok(Json::from_value(&document))
}

/// What of a mandate is said to another domain, in whose place `server` stands here: the grants at that server, with names as the place itself has them.
/// A grant that rests on anything elsewhere (an earlier call, a source, a group that is asked) is left out, since nobody could judge it there. None when no
/// grant is left.
#[must_use]
pub fn told(document: &Json, server: &ServerName) -> Option<Map<String, Value>> {
    let prefix = format!("{server}/");
    let own = |name: &str| name.strip_prefix(&prefix).map(str::to_owned);
    let grants: Vec<Value> = document
        .get("grants")?
        .as_array()?
        .iter()
        .filter_map(|grant| renamed(grant.to_value()?.as_object()?, Some(server), &own))
        .collect();
    if grants.is_empty() {
        return None;
    }
    let text = Value::Array(grants.clone()).to_string();
    let mut terms = Map::new();
    for name in CROSSING {
        let Some(mut value) = document.get(name).and_then(Json::to_value) else { continue };
        if let (true, Some(slots)) = (name == "slots", value.as_object_mut()) {
            slots.retain(|slot, _| {
                text.contains(&format!("${slot}")) || text.contains(&format!("slot:{slot}"))
            });
            if slots.is_empty() {
                continue;
            }
        }
        terms.insert(name.to_owned(), value);
    }
    terms.insert("grants".to_owned(), Value::Array(grants));
    Some(terms)
}

/// The same of what another domain said, with names as mandates here have them. None when something in it cannot be taken.
#[must_use]
pub fn taken(terms: &Map<String, Value>, server: &ServerName) -> Option<Map<String, Value>> {
    let known = |name: &str| CROSSING.contains(&name) || ["grants", "expires_at"].contains(&name);
    if terms.keys().any(|name| !known(name)) {
        return None;
    }
    let full = |name: &str| Some(format!("{server}/{name}"));
    let mut taken = terms.clone();
    // A part that grants nothing is a mistake of whoever said it.
    let grants = terms.get("grants")?.as_array().filter(|grants| !grants.is_empty())?;
    let grants = grants.iter().map(|grant| {
        let mut grant = grant.as_object()?.clone();
        // Whoever speaks of effects speaks of this place's.
        if grant.contains_key("effects") && grant.insert("servers".to_owned(), json!([server])).is_some() {
            return None;
        }
        renamed(&grant, None, &full)
    });
    taken.insert("grants".to_owned(), Value::Array(grants.collect::<Option<_>>()?));
    Some(taken)
}

/// A grant with every name of a server's offers changed; none where one cannot be. `leaving` says at which server, for a grant that names servers.
fn renamed(
    grant: &Map<String, Value>,
    leaving: Option<&ServerName>,
    name: &dyn Fn(&str) -> Option<String>,
) -> Option<Value> {
    let mut changed = Map::new();
    for (member, value) in grant {
        let value = match member.as_str() {
            naming if NAMING.contains(&naming) => Value::String(name(value.as_str()?)?),
            "servers" => match leaving {
                None => value.clone(),
                Some(server) => {
                    let named = value.as_array()?.iter().any(|one| one.as_str() == Some(server.as_str()));
                    if named { continue } else { return None }
                }
            },
            // Exceptions elsewhere except nothing here.
            "except" => Value::Array(
                value.as_array()?.iter().filter_map(|one| name(one.as_str()?)).map(Value::String).collect(),
            ),
            "after" => Value::Array(
                value
                    .as_array()?
                    .iter()
                    .map(|one| name(one.as_str()?).map(Value::String))
                    .collect::<Option<_>>()?,
            ),
            "ask" if value.as_str() != Some("person") => return None,
            "arguments" => {
                let bounds = value.as_object()?.iter();
                let bounds = bounds.map(|(path, one)| Some((path.clone(), bound(one, name)?)));
                Value::Object(bounds.collect::<Option<_>>()?)
            }
            _ => value.clone(),
        };
        changed.insert(member.clone(), value);
    }
    Some(Value::Object(changed))
}

/// Bounds of an argument, and of the holes of its template, with the names in its sources changed.
fn bound(bounds: &Value, name: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    let Some(members) = bounds.as_object() else { return Some(bounds.clone()) };
    let mut changed = Map::new();
    for (member, value) in members {
        let value = match member.as_str() {
            sources if SOURCES.contains(&sources) => {
                let sources =
                    value.as_array()?.iter().map(|one| source(one.as_str()?, name).map(Value::String));
                Value::Array(sources.collect::<Option<_>>()?)
            }
            values if VALUES.contains(&values) => value.clone(),
            _ => bound(value, name)?,
        };
        changed.insert(member.clone(), value);
    }
    Some(Value::Object(changed))
}

/// A source. One that names records is of types that the other side does not know.
fn source(text: &str, name: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    match text.split_once(':') {
        Some((kind @ ("tool" | "call"), rest)) => Some(format!("{kind}:{}", name(rest)?)),
        Some(("record" | "records", _)) => None,
        _ => Some(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(document: &Value) -> Option<Value> {
        told(&Json::from_value(document), &"partner".parse().unwrap()).map(Value::Object)
    }

    #[test]
    fn what_is_granted_at_one_server_is_said_in_that_servers_own_words() {
        let document = json!({
            "id": "pay", "person": "alice", "agent": "bot", "purpose": "settle", "request": "please pay for my flat",
            "slots": { "payee": "DE1", "home": "Hauptstr. 1" }, "limits": { "calls": 3 }, "expires_in": "1h",
            "grants": [
                { "tool": "partner/list" },
                { "tool": "files/read" },
                { "tool": "partner/pay", "arguments": { "to": { "equals": "$payee", "from": ["tool:partner/list#/iban", "request"] }, "/sum": { "max": 5 } }, "after": ["partner/list()"] },
                { "effects": ["read"], "servers": ["files", "partner"], "except": ["partner/secret", "files/x"] },
                { "effects": ["read"], "servers": ["files"] },
                { "resource": "partner/notes" },
            ],
        });
        assert_eq!(
            said(&document),
            Some(json!({
                "purpose": "settle", "limits": { "calls": 3 }, "slots": { "payee": "DE1" },
                "grants": [
                    { "tool": "list" },
                    { "tool": "pay", "arguments": { "to": { "equals": "$payee", "from": ["tool:list#/iban", "request"] }, "/sum": { "max": 5 } }, "after": ["list()"] },
                    { "effects": ["read"], "except": ["secret"] },
                    { "resource": "notes" },
                ],
            }))
        );
    }

    #[test]
    fn a_grant_that_rests_on_anything_elsewhere_is_not_said() {
        let bounds = |bounds: Value| json!({ "tool": "partner/pay", "arguments": { "to": bounds } });
        for grant in [
            json!({ "tool": "partnership/pay" }),
            json!({ "tool": "partner/pay", "after": ["files/read()"] }),
            json!({ "tool": "partner/pay", "ask": "group:finance" }),
            bounds(json!({ "from": ["tool:files/read"] })),
            bounds(json!({ "from": ["record:invoice#/iban"] })),
            bounds(json!({ "template": "To {who}", "who": { "also_from": ["call:files/read#/x"] } })),
        ] {
            let document = json!({ "purpose": "p", "grants": [grant.clone()] });
            assert_eq!(said(&document), None, "{grant}");
        }
    }

    #[test]
    fn what_was_said_is_taken_in_our_words_and_nothing_else_is() {
        let take =
            |terms: Value| taken(terms.as_object().unwrap(), &"bank".parse().unwrap()).map(Value::Object);
        let grants = json!([
            { "tool": "pay", "arguments": { "to": { "from": ["tool:list#/iban"], "equals": { "from": ["x"] } } }, "after": ["list()"] },
            { "effects": ["read"], "except": ["secret"] },
        ]);
        assert_eq!(
            take(json!({ "purpose": "settle", "expires_at": "2030-01-01T00:00:00Z", "grants": grants })),
            Some(json!({
                "purpose": "settle", "expires_at": "2030-01-01T00:00:00Z",
                "grants": [
                    { "tool": "bank/pay", "arguments": { "to": { "from": ["tool:bank/list#/iban"], "equals": { "from": ["x"] } } }, "after": ["bank/list()"] },
                    { "effects": ["read"], "except": ["bank/secret"], "servers": ["bank"] },
                ],
            }))
        );
        for other in [
            json!({ "purpose": "p" }),
            json!({ "purpose": "p", "grants": {} }),
            json!({ "purpose": "p", "grants": [] }),
            json!({ "purpose": "p", "grants": [1] }),
            json!({ "purpose": "p", "grants": [{ "tool": "list" }], "person": "bob" }),
            json!({ "purpose": "p", "grants": [{ "tool": "list" }], "delegation": { "depth": 9 } }),
            json!({ "purpose": "p", "grants": [{ "effects": ["read"], "servers": ["files"] }] }),
            json!({ "purpose": "p", "grants": [{ "tool": 7 }] }),
            json!({ "purpose": "p", "grants": [{ "tool": "pay", "ask": "group:board" }] }),
        ] {
            assert_eq!(take(other.clone()), None, "{other}");
        }
    }
}
