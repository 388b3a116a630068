//! Guesses about tools that nobody has described, by the words of their names and schemas.
//!
//! Every guess is for a person to review, and errs on the side of more: what the name does not tell is `write`, and a server's own
//! hints add effects and never take one away.

use warrantor_model::{Effect, Json, Kind};

/// A guess and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guess<T> {
    pub(crate) value: T,
    pub(crate) why: String,
}

/// Words that tell what a tool does. `noun` words name things as often as they tell a deed (`get_order`, `list_posts`): a plain verb beside them counts
/// for more.
const VERBS: [(Effect, bool, &[&str]); 13] = [
    (
        Effect::Read,
        false,
        &[
            "read",
            "get",
            "list",
            "search",
            "find",
            "fetch",
            "show",
            "lookup",
            "query",
            "describe",
            "count",
            "browse",
            "inspect",
            "retrieve",
            "download",
            "explain",
            "summarize",
            "compare",
            "validate",
            "check",
            "view",
            "load",
            "is",
            "has",
            "echo",
            "ping",
            "tail",
            "grep",
            "scan",
            "analyze",
            "calculate",
            "convert",
            "translate",
        ],
    ),
    (
        Effect::Read,
        true,
        &["status", "info", "history", "stats", "tree", "preview", "details", "diff", "report", "log"],
    ),
    (
        Effect::Write,
        false,
        &[
            "write",
            "create",
            "add",
            "update",
            "edit",
            "set",
            "put",
            "insert",
            "append",
            "move",
            "rename",
            "copy",
            "save",
            "modify",
            "change",
            "mark",
            "make",
            "patch",
            "upsert",
            "replace",
            "restore",
            "enable",
            "disable",
            "assign",
            "complete",
            "close",
            "reopen",
            "resolve",
            "start",
            "stop",
            "cancel",
            "reserve",
            "register",
            "schedule",
            "reschedule",
            "snooze",
            "toggle",
            "pin",
            "sync",
            "merge",
            "commit",
            "store",
            "remember",
            "draft",
            "generate",
        ],
    ),
    (
        Effect::Write,
        true,
        &["archive", "tag", "label", "book", "note", "star", "flag", "import", "branch", "fork"],
    ),
    (
        Effect::Destroy,
        false,
        &[
            "delete",
            "remove",
            "destroy",
            "drop",
            "purge",
            "erase",
            "clear",
            "truncate",
            "wipe",
            "kill",
            "terminate",
            "uninstall",
            "unlink",
            "del",
            "rm",
            "discard",
            "overwrite",
            "reset",
            "expire",
        ],
    ),
    (Effect::Destroy, true, &["trash"]),
    (
        Effect::Egress,
        false,
        &[
            "send",
            "publish",
            "forward",
            "upload",
            "notify",
            "broadcast",
            "submit",
            "dispatch",
            "push",
            "announce",
            "reply",
        ],
    ),
    (
        Effect::Egress,
        true,
        &["post", "email", "mail", "message", "comment", "tweet", "export", "webhook", "sms", "call", "dm"],
    ),
    (
        Effect::Share,
        false,
        &["share", "invite", "grant", "allow", "permit", "authorize", "unshare", "subscribe"],
    ),
    (
        Effect::Pay,
        false,
        &["pay", "purchase", "buy", "refund", "checkout", "withdraw", "wire", "donate", "spend", "sell"],
    ),
    (Effect::Pay, true, &["transfer", "charge", "order", "deposit", "payout", "trade", "payment"]),
    (
        Effect::Execute,
        false,
        &["execute", "exec", "eval", "run", "spawn", "invoke", "deploy", "install", "evaluate"],
    ),
    (Effect::Execute, true, &["shell", "command", "script", "terminal", "bash", "code", "sql", "console"]),
];
/// Words that stand for money: whatever is done to it but looking pays.
const MONEY: [&str; 6] = ["money", "funds", "cash", "payment", "payments", "salary"];
/// Words that stand for secrets and sign-in, wherever they stand in a name.
const CREDENTIALS: [&str; 14] = [
    "password",
    "passwords",
    "passphrase",
    "secret",
    "secrets",
    "credential",
    "credentials",
    "token",
    "tokens",
    "apikey",
    "login",
    "authenticate",
    "otp",
    "mfa",
];

/// The words of a name, in lower case: `sendMoney`, `send_money`, `send-money` and `send.money` are the same two.
pub(crate) fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut previous_lower = false;
    for c in name.chars() {
        let divides = !c.is_alphabetic() || (c.is_uppercase() && previous_lower);
        if divides && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
        }
        previous_lower = c.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn deed(word: &str) -> Option<(Effect, bool)> {
    VERBS.iter().find(|(_, _, known)| known.contains(&word)).map(|(effect, noun, _)| (*effect, *noun))
}

/// The effects of a tool, by its name and, as hints that only add, by what the server says of it.
pub(crate) fn effects(name: &str, tool: &Json) -> Guess<Vec<Effect>> {
    let words = words(name);
    let known: Vec<(&str, Effect, bool)> =
        words.iter().filter_map(|w| deed(w).map(|(effect, noun)| (w.as_str(), effect, noun))).collect();
    let decisive = known.iter().find(|(_, _, noun)| !noun).or_else(|| known.first());
    let mut why = Vec::new();
    let mut effects = match decisive {
        Some((word, effect, _)) => {
            why.push(format!("the name says {word:?}"));
            vec![*effect]
        }
        None => {
            why.push("the name does not say what it does: REVIEW".to_owned());
            vec![Effect::Write]
        }
    };
    let mut add = |effect: Effect, reason: String| {
        if !effects.contains(&effect) {
            effects.push(effect);
            why.push(reason);
        }
    };
    // A plain verb further on (`search_and_replace`, `fetch_and_delete`) is a deed of its own.
    for (word, effect, _) in known.iter().filter(|(_, _, noun)| !noun) {
        add(*effect, format!("and {word:?}"));
    }
    let reads = decisive.is_some_and(|(_, effect, _)| *effect == Effect::Read);
    if let Some(word) = words.iter().find(|word| MONEY.contains(&word.as_str()) && !reads) {
        add(Effect::Pay, format!("it is about {word}"));
    }
    if let Some(word) = words.iter().find(|word| CREDENTIALS.contains(&word.as_str())) {
        add(Effect::Credential, format!("it is about a {word}"));
    }
    let hint = |name: &str| match tool.get("annotations").and_then(|a| a.get(name)) {
        Some(Json::Bool(hint)) => Some(*hint),
        _ => None,
    };
    if hint("readOnlyHint") == Some(false) {
        let beyond = effects_beyond_read(&known, &words);
        if !beyond {
            add(Effect::Write, "the server says that it does not only read".to_owned());
        }
    }
    if hint("destructiveHint") == Some(true) && hint("readOnlyHint") != Some(true) {
        add(Effect::Destroy, "the server calls it destructive".to_owned());
    }
    if hint("openWorldHint") == Some(true) {
        add(Effect::Egress, "the server says that it reaches an open world".to_owned());
    }
    if decisive.is_none() && hint("readOnlyHint") == Some(true) {
        why.push("the server calls it read-only; if that is so, write [read]".to_owned());
    }
    effects.sort();
    Guess { value: effects, why: why.join(", ") }
}

fn effects_beyond_read(known: &[(&str, Effect, bool)], words: &[String]) -> bool {
    known.iter().any(|(_, effect, noun)| !noun && *effect != Effect::Read)
        || known.is_empty()
        || words.iter().any(|word| CREDENTIALS.contains(&word.as_str()))
}

/// What a word at the end of an argument's name says of its kind.
const KINDS: [(Kind, &[&str]); 9] = [
    (Kind::Mail, &["email", "emails", "mail", "cc", "bcc"]),
    (Kind::Url, &["url", "urls", "uri", "uris", "link", "href", "webhook", "endpoint"]),
    (Kind::Host, &["host", "hostname", "domain"]),
    (Kind::Path, &["path", "paths", "filepath", "file", "files", "filename", "directory", "dir", "folder"]),
    (Kind::Account, &["iban", "account", "bic"]),
    (Kind::Phone, &["phone", "telephone", "mobile", "msisdn"]),
    (Kind::Date, &["date", "day", "birthday"]),
    (Kind::Time, &["time", "datetime", "timestamp", "at"]),
    (Kind::Id, &["id", "ids", "uuid", "guid", "identifier", "sha"]),
];

/// The kind of an argument, by its schema's `format` and the last word of its name. Kinds are for texts only, but for numbers that are amounts.
pub(crate) fn kind(name: &str, schema: &Json) -> Option<Guess<Kind>> {
    let types = types(schema);
    let words = words(name);
    let last = words.last().map(String::as_str).unwrap_or_default();
    if types.iter().any(|name| matches!(*name, "number" | "integer")) {
        return AMOUNTS
            .contains(&last)
            .then(|| Guess { value: Kind::Number, why: format!("a number called {last:?}") });
    }
    if !types.contains(&"string") {
        return None;
    }
    let by_format = match schema.get("format").and_then(Json::as_str) {
        Some("email" | "idn-email") => Some(Kind::Mail),
        Some("uri" | "url" | "iri" | "uri-reference") => Some(Kind::Url),
        Some("hostname" | "idn-hostname") => Some(Kind::Host),
        Some("date") => Some(Kind::Date),
        Some("date-time") => Some(Kind::Time),
        Some("uuid") => Some(Kind::Id),
        _ => None,
    };
    if let Some(kind) = by_format {
        return Some(Guess { value: kind, why: "its format".to_owned() });
    }
    KINDS
        .iter()
        .find(|(_, known)| known.contains(&last))
        .map(|(kind, _)| Guess { value: *kind, why: format!("its name says {last:?}") })
}

const AMOUNTS: [&str; 8] = ["amount", "price", "total", "sum", "value", "cost", "fee", "quantity"];
const TARGETS: [&str; 12] = [
    "recipient",
    "recipients",
    "to",
    "user",
    "username",
    "channel",
    "payee",
    "participants",
    "attendees",
    "members",
    "number",
    "address",
];
const CODE: [&str; 7] = ["command", "code", "script", "query", "sql", "expression", "program"];
const RIGHTS: [&str; 6] = ["role", "roles", "permission", "permissions", "scope", "access"];

/// Whether an argument decides where a consequential deed goes, and so has to be bounded by value.
pub(crate) fn sensitive(name: &str, kind: Option<Kind>, effects: &[Effect]) -> Option<Guess<()>> {
    let words = words(name);
    let last = words.last().map(String::as_str).unwrap_or_default();
    let has = |several: &[Effect]| effects.iter().any(|effect| several.contains(effect));
    let why = |text: &str| Some(Guess { value: (), why: text.to_owned() });
    let leads_out = matches!(kind, Some(Kind::Mail | Kind::Url | Kind::Host | Kind::Account | Kind::Phone));
    if has(&[Effect::Egress, Effect::Share, Effect::Pay]) && (leads_out || TARGETS.contains(&last)) {
        return why("it decides who gets it");
    }
    if has(&[Effect::Pay]) && AMOUNTS.contains(&last) {
        return why("it decides how much");
    }
    if has(&[Effect::Share, Effect::Credential]) && RIGHTS.contains(&last) {
        return why("it decides what someone may do");
    }
    if has(&[Effect::Execute]) && CODE.contains(&last) {
        return why("it decides what runs");
    }
    None
}

/// The types a schema names, through `anyOf` and `oneOf`.
fn types(schema: &Json) -> Vec<&str> {
    let own: Vec<&str> = match schema.get("type") {
        Some(Json::String(name)) => vec![name],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    };
    let branches = ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten();
    own.into_iter()
        .chain(branches.filter_map(|branch| branch.get("type").and_then(Json::as_str)))
        .filter(|name| *name != "null")
        .collect()
}

/// The arguments of a tool that a kind could be said of: texts and numbers, those in lists, and those one object below.
pub(crate) fn arguments(schema: &Json) -> Vec<(String, String, &Json)> {
    let mut found = Vec::new();
    collect(schema, "", 0, &mut found);
    found
}

fn collect<'a>(schema: &'a Json, above: &str, depth: usize, found: &mut Vec<(String, String, &'a Json)>) {
    const DEEPEST: usize = 3;
    for (name, member) in schema.get("properties").and_then(Json::as_object).unwrap_or_default() {
        let escaped = name.replace('~', "~0").replace('/', "~1");
        // A name that a path would read as `*`, `**` or `@keys` cannot be written as a path.
        if matches!(name.as_str(), "*" | "**" | "@keys") || depth >= DEEPEST {
            continue;
        }
        let path = if above.is_empty() { escaped } else { format!("{above}/{escaped}") };
        let kinds = types(member);
        match member.get("items").filter(|_| kinds.contains(&"array")) {
            Some(items) if types(items).contains(&"object") => {
                collect(items, &format!("{path}/*"), depth.saturating_add(1), found);
            }
            Some(items) => found.push((format!("{path}/*"), name.clone(), items)),
            None if kinds.contains(&"object") => collect(member, &path, depth.saturating_add(1), found),
            None => found.push((path, name.clone(), member)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_apart_into_words() {
        for (name, expected) in [
            ("send_money", "send money"),
            ("sendMoney", "send money"),
            ("send-money.v2", "send money v"),
            ("HTTPGet", "httpget"),
            ("a/b", "a b"),
            ("", ""),
        ] {
            assert_eq!(words(name).join(" "), expected, "{name}");
        }
    }

    #[test]
    fn effects_follow_the_words_and_hints_only_add() {
        for (name, annotations, expected) in [
            ("read_file", "{}", "read"),
            ("get_order", "{}", "read"),
            ("order_status", "{}", "pay"),
            ("list_posts", "{}", "read"),
            ("delete_file", "{}", "destroy"),
            ("send_email", "{}", "egress"),
            ("email_send", "{}", "egress"),
            ("pay_invoice", "{}", "pay"),
            ("send_money", "{}", "egress pay"),
            ("list_payments", "{}", "read"),
            ("transfer", "{}", "pay"),
            ("run_query", "{}", "read execute"),
            ("search_and_replace", "{}", "read write"),
            ("get_password", "{}", "read credential"),
            ("share_file", "{}", "share"),
            ("frobnicate", "{}", "write"),
            ("frobnicate", r#"{"readOnlyHint":true}"#, "write"),
            ("read_file", r#"{"readOnlyHint":false}"#, "read write"),
            ("delete_file", r#"{"readOnlyHint":true}"#, "destroy"),
            ("write_file", r#"{"destructiveHint":true}"#, "write destroy"),
            ("fetch_page", r#"{"openWorldHint":true}"#, "read egress"),
            ("createUser", r#"{"openWorldHint":false,"destructiveHint":false}"#, "write"),
        ] {
            let tool = Json::parse(format!(r#"{{"annotations":{annotations}}}"#).as_bytes()).unwrap();
            let guess = effects(name, &tool);
            let mut found: Vec<&str> = guess.value.iter().map(|effect| effect.as_str()).collect();
            let mut wanted: Vec<&str> = expected.split(' ').collect();
            found.sort_unstable();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "{name} {annotations}: {}", guess.why);
        }
    }

    #[test]
    fn kinds_follow_formats_and_names() {
        for (name, schema, expected) in [
            ("path", r#"{"type":"string"}"#, Some(Kind::Path)),
            ("filePath", r#"{"type":"string"}"#, Some(Kind::Path)),
            ("path_count", r#"{"type":"string"}"#, None),
            ("path", r#"{"type":"boolean"}"#, None),
            ("x", r#"{"type":"string","format":"email"}"#, Some(Kind::Mail)),
            ("x", r#"{"anyOf":[{"type":"string"},{"type":"null"}],"format":"date-time"}"#, Some(Kind::Time)),
            ("amount", r#"{"type":"number"}"#, Some(Kind::Number)),
            ("limit", r#"{"type":"integer"}"#, None),
            ("user_id", r#"{"type":["string","null"]}"#, Some(Kind::Id)),
        ] {
            let schema = Json::parse(schema.as_bytes()).unwrap();
            assert_eq!(kind(name, &schema).map(|guess| guess.value), expected, "{name}");
        }
    }

    #[test]
    fn arguments_are_found_in_lists_and_objects() {
        let schema = r#"{"properties":{"a":{"type":"string"},"l":{"type":"array","items":{"type":"string"}},
            "o":{"type":"object","properties":{"x/y":{"type":"string"}}},
            "m":{"type":"array","items":{"type":"object","properties":{"b":{"type":"number"}}}},"*":{"type":"string"}}}"#;
        let schema = Json::parse(schema.as_bytes()).unwrap();
        let paths: Vec<_> = arguments(&schema).into_iter().map(|(path, _, _)| path).collect();
        assert_eq!(paths, ["a", "l/*", "o/x~1y", "m/*/b"]);
    }
}
