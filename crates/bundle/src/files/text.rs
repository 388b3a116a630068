//! Texts with a form of their own, for the schemas.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! texts {
    ($($name:ident $title:literal $pattern:literal $description:literal;)*) => {$(
        #[doc = $description]
        #[derive(Debug, Clone, Copy)]
        pub enum $name {}

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    )*};
}

texts! {
    IdText "Id" "^[A-Za-z0-9][A-Za-z0-9._@+:-]{0,127}$"
        "A name: ASCII letters, digits and `._-@+:`, at most 128 of them, a letter or digit first.";
    NameText "Name" "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
        "A name: ASCII letters, digits and `._-`, at most 128 of them, a letter or digit first.";
    ToolText "ToolName" "^[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}$"
        "A tool as its server names it.";
    ToolRefText "ToolReference" "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}/[A-Za-z0-9_][A-Za-z0-9._/-]{0,127}$"
        "A tool of a server: `server/tool`.";
    PathText "Path" "^([^~]|~0|~1)*$"
        "A path into a value: segments joined by `/` (`~1` for a `/` and `~0` for a `~` within a name), `*` for any one member or element, `**` for any depth, `@keys` for the member names at this place; the empty path is the whole value.";
    DigestText "Digest" "^sha256:[0-9a-f]{64}$"
        "A SHA-256 digest: `sha256:` and 64 lower-case hexadecimal digits.";
    TimestampText "Timestamp" "^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}"
        "An instant: RFC 3339 with an offset, such as `2026-01-31T12:00:00Z`.";
    DurationText "Duration" "[0-9]"
        "A length of time: numbers with units, such as `30m`, `24h` or `7d`. A day is 24 hours.";
    AccountableText "Accountable" "^(group:)?[A-Za-z0-9][A-Za-z0-9._@+:-]{0,127}$"
        "A person's id, or `group:NAME` for any active person of a group.";
    AskedText "Asked" "^(person|group:[A-Za-z0-9][A-Za-z0-9._@+:-]{0,127})$"
        "Who is asked: `person` for the mandate's person, or `group:NAME`.";
    EarlierText "EarlierCall" "^[^/(]+/[^(]+(\\(.*\\))?$"
        "An earlier call: `server/tool`, or `server/tool(argument=value, …)`.";
    SourceText "Source" "^(request|self|person|computed|any|(slot|record|records|tool|call):.+)$"
        "Where a value comes from: `request`, `slot:NAME`, `self`, `person`, `record:TYPE#path[field=value]`, `records:…`, `tool:server/tool(argument=value)#path[field=value]`, `call:server/tool#argument`, `computed`, `any`.";
}
