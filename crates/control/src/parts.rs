//! Parts of mandates: what is said of one that is handed on, and how it is written for a place that knows neither the mandate nor our names.

use serde_json::{Map, Value, json};
use warrantor_model::{
    AgentId, Json, ServerName, Terms,
    source::{Compared, Selector, Source},
};

/// Members of a part that whoever hands it on may say; the others are those of the mandate above.
const SAID: [&str; 7] = ["purpose", "grants", "limits", "slots", "expires_in", "expires_at", "delegation"];
/// Members of a mandate that go with a part to another domain. What is left out is not handed on there: requests in somebody's own words are nobody's business.
const CROSSING: [&str; 2] = ["purpose", "limits"];
/// Members of a grant that name something of a server: `server/name`.
const NAMING: [&str; 5] = ["tool", "prompt", "resource", "completion", "client"];
/// Members of bounds that name where a value comes from.
const SOURCES: [&str; 2] = ["from", "also_from"];
/// Members of bounds that are values, which are never looked into.
const VALUES: [&str; 5] = ["equals", "in", "min", "max", "otherwise"];

/// Whether a line of a mandate may be said to another domain, by the tool that it names there (none where it names effects) and the line itself.
pub type May<'a> = dyn Fn(Option<&str>, &Map<String, Value>) -> bool + 'a;

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
/// `may` says whether every agent above may do that much: a tool's name there, or none for a grant by effects.
///
/// A grant that rests on anything elsewhere is left out, since nobody could judge it there: an earlier call or a source at another server, the request, the slots
/// and the addresses of somebody whom the other side does not know, a record, and whoever is asked. None when no grant is left.
#[must_use]
pub fn told(document: &Json, server: &ServerName, may: &May<'_>) -> Option<Map<String, Value>> {
    let prefix = format!("{server}/");
    let own = |name: &str| name.strip_prefix(&prefix).map(str::to_owned);
    let grants: Vec<Value> = document
        .get("grants")?
        .as_array()?
        .iter()
        .filter_map(|grant| {
            let grant = grant.to_value()?;
            let grant = grant.as_object()?;
            let renamed = renamed(grant, Some(server), &own)?;
            may(renamed.get("tool").and_then(Value::as_str), grant).then_some(renamed)
        })
        .collect();
    if grants.is_empty() {
        return None;
    }
    let crossing = CROSSING.into_iter();
    let crossing = crossing.filter_map(|name| Some((name.to_owned(), document.get(name)?.to_value()?)));
    let mut terms: Map<String, Value> = crossing.collect();
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
    let full = |name: &str| Some(format!("{server}/{}", name.trim_start()));
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
    let each = |value: &Value, change: &dyn Fn(&str) -> Option<String>| -> Option<Value> {
        let changed = value.as_array()?.iter().map(|one| change(one.as_str()?).map(Value::String));
        Some(Value::Array(changed.collect::<Option<_>>()?))
    };
    let mut changed = Map::new();
    for (member, value) in grant {
        let value = match member.as_str() {
            // What a prompt or a resource does to its agent's ceiling is looked at nowhere here, so tools alone leave.
            other if leaving.is_some() && other != "tool" && NAMING.contains(&other) => return None,
            naming if NAMING.contains(&naming) => Value::String(name(value.as_str()?.trim())?),
            "servers" => match leaving {
                None => value.clone(),
                Some(server) => {
                    let named = value.as_array()?.iter().any(|one| one.as_str() == Some(server.as_str()));
                    if named {
                        continue;
                    }
                    return None;
                }
            },
            // Exceptions elsewhere except nothing here.
            "except" => {
                let here = value.as_array()?.iter().filter_map(|one| name(one.as_str()?.trim()));
                Value::Array(here.map(Value::String).collect())
            }
            "after" => each(value, &|one| (!one.contains('$')).then(|| name(one.trim()))?)?,
            // Whoever would be asked there is somebody else.
            "ask" => return None,
            "arguments" => {
                let bounds = value.as_object()?.iter();
                let bounds =
                    bounds.map(|(path, one)| Some((path.clone(), bound(one, leaving.is_some(), name)?)));
                Value::Object(bounds.collect::<Option<_>>()?)
            }
            _ => value.clone(),
        };
        changed.insert(member.clone(), value);
    }
    Some(Value::Object(changed))
}

/// Bounds of an argument, and of the holes of its template, with the names in its sources changed. A value that is in none of these is refused: whoever would
/// be asked about it there knows nothing of it.
fn bound(bounds: &Value, leaves: bool, name: &dyn Fn(&str) -> Option<String>) -> Option<Value> {
    let Some(members) = bounds.as_object() else { return Some(bounds.clone()) };
    let mut changed = Map::new();
    let mut has_sources = false;
    for (member, value) in members {
        let value = match member.as_str() {
            sources if SOURCES.contains(&sources) => {
                has_sources = true;
                let sources = value.as_array()?.iter();
                let sources = sources.map(|one| source(one.as_str()?, leaves, name).map(Value::String));
                Value::Array(sources.collect::<Option<_>>()?)
            }
            values if VALUES.contains(&values) => value.clone(),
            _ => bound(value, leaves, name)?,
        };
        changed.insert(member.clone(), value);
    }
    if has_sources {
        changed.insert("otherwise".to_owned(), "deny".into());
    }
    Some(Value::Object(changed))
}

/// A source that means the same on both sides: a result or an earlier call at this very server, or nothing at all.
fn source(text: &str, leaves: bool, name: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let text = text.trim();
    let changed = match text.split_once(':') {
        Some((kind @ ("tool" | "call"), rest)) => format!("{kind}:{}", name(rest.trim_start())?),
        _ => text.to_owned(),
    };
    // On either side one of the two names the server.
    let full: Source = if leaves { text } else { changed.as_str() }.parse().ok()?;
    let means_the_same = match &full {
        Source::Tool(source) => is_plain(&source.arguments) && is_plain(&source.selector),
        Source::Call { .. } | Source::Computed | Source::Any => true,
        Source::Request | Source::Slot(_) | Source::Own | Source::Person | Source::Record(_) => false,
    };
    means_the_same.then_some(changed)
}

/// Whether a selector compares with nothing but what is written in it.
fn is_plain(selector: &Selector) -> bool {
    selector.0.iter().all(|comparison| matches!(comparison.value, Compared::Text(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(document: &Value) -> Option<Value> {
        told(&Json::from_value(document), &"partner".parse().unwrap(), &|_, _| true).map(Value::Object)
    }

    #[test]
    fn what_is_granted_at_one_server_is_said_in_that_servers_own_words() {
        let document = json!({
            "id": "pay", "person": "alice", "agent": "bot", "purpose": "settle", "request": "please pay for my flat",
            "slots": { "payee": "DE1" }, "limits": { "calls": 3 }, "expires_in": "1h",
            "grants": [
                { "tool": "partner/list" },
                { "tool": "files/read" },
                { "tool": "partner/pay", "arguments": { "to": { "equals": "$payee", "from": [" tool:partner/list(kind=bank)#/iban", "any"] }, "/sum": { "max": 5 } }, "after": ["partner/list()"] },
                { "effects": ["read"], "servers": ["files", "partner"], "except": ["partner/secret", "files/x"] },
                { "effects": ["read"], "servers": ["files"] },
                { "resource": "partner/notes" },
            ],
        });
        assert_eq!(
            said(&document),
            Some(json!({
                "purpose": "settle", "limits": { "calls": 3 },
                "grants": [
                    { "tool": "list" },
                    { "tool": "pay", "arguments": { "to": { "equals": "$payee", "from": ["tool:list(kind=bank)#/iban", "any"], "otherwise": "deny" }, "/sum": { "max": 5 } }, "after": ["list()"] },
                    { "effects": ["read"], "except": ["secret"] },
                ],
            }))
        );
        let may = |tool: Option<&str>, _: &Map<String, Value>| tool == Some("list");
        let some = told(&Json::from_value(&document), &"partner".parse().unwrap(), &may).unwrap();
        assert_eq!(some["grants"], json!([{ "tool": "list" }]));
    }

    #[test]
    fn a_grant_that_rests_on_anything_elsewhere_is_not_said() {
        let bounds = |bounds: Value| json!({ "tool": "partner/pay", "arguments": { "to": bounds } });
        for grant in [
            json!({ "tool": "partnership/pay" }),
            json!({ "resource": "partner/notes" }),
            json!({ "prompt": "partner/notes" }),
            json!({ "client": "partner/sampling" }),
            json!({ "tool": "partner/pay", "after": ["files/read()"] }),
            json!({ "tool": "partner/pay", "after": ["partner/list(name=$slot.payee)"] }),
            json!({ "tool": "partner/pay", "ask": "group:finance" }),
            json!({ "tool": "partner/pay", "ask": "person" }),
            bounds(json!({ "from": ["tool:files/read"] })),
            bounds(json!({ "from": [" tool: files/read"] })),
            bounds(json!({ "from": ["tool:partner/list(name=$slot.payee)#/iban"] })),
            bounds(json!({ "from": ["tool:partner/list#/iban[owner=$self]"] })),
            bounds(json!({ "from": ["record:invoice#iban"] })),
            bounds(json!({ "from": [" record:invoice#iban"] })),
            bounds(json!({ "from": ["request"] })),
            bounds(json!({ "from": ["any", "self"] })),
            bounds(json!({ "from": ["person"] })),
            bounds(json!({ "from": ["slot:payee"] })),
            bounds(json!({ "template": "To {who}", "who": { "also_from": ["call:files/read#x"] } })),
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
            { "tool": "pay", "arguments": { "to": { "from": ["tool:list#/iban"], "otherwise": "ask", "equals": { "from": ["x"] } } }, "after": ["list()"] },
            { "effects": ["read"], "except": ["secret"] },
        ]);
        assert_eq!(
            take(json!({ "purpose": "settle", "expires_at": "2030-01-01T00:00:00Z", "grants": grants })),
            Some(json!({
                "purpose": "settle", "expires_at": "2030-01-01T00:00:00Z",
                "grants": [
                    { "tool": "bank/pay", "arguments": { "to": { "from": ["tool:bank/list#/iban"], "otherwise": "deny", "equals": { "from": ["x"] } } }, "after": ["bank/list()"] },
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
            json!({ "purpose": "p", "grants": [{ "tool": "pay", "ask": "person" }] }),
            json!({ "purpose": "p", "grants": [{ "tool": "pay", "arguments": { "to": { "from": ["request"] } } }] }),
            json!({ "purpose": "p", "slots": { "a": "b" }, "grants": [{ "tool": "list" }] }),
        ] {
            assert_eq!(take(other.clone()), None, "{other}");
        }
    }
}
