//! The shape of a tool's arguments, read from its pinned JSON Schema: which members there are, and the Cedar type of each.
//!
//! The validator judges whether arguments are valid; the shape only tells which places a schema names, so that paths can be
//! checked at load and undeclared members refused, and how values become Cedar values. What the shape does not understand it leaves out:
//! then no path leads there, no policy can read it, and a member there counts as undeclared.

use std::collections::BTreeMap;

use cedar_policy::RestrictedExpression;
use warrantor_model::{
    Decimal, Json,
    path::{Path, Segment, Step},
};

/// Deepest schema that is followed, `$ref`s counted.
const MAX_SCHEMA_DEPTH: usize = 24;
/// Most places of one schema that are looked at, shared out evenly at every branching: a schema that refers to itself several times has
/// more of them than anyone could look at, and none may use up what another needs.
const MAX_SCHEMA_PLACES: usize = 1 << 14;

/// What a schema says of one place.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shape {
    /// Named members and whether they are required.
    members: BTreeMap<String, (Shape, bool)>,
    /// What members that are not named may be; `None` when the schema does not explicitly allow any.
    additional: Option<Box<Shape>>,
    /// What elements may be.
    items: Option<Box<Shape>>,
    /// The scalar type, when there is exactly one.
    scalar: Option<Scalar>,
    /// More than one sort of value: no Cedar type fits.
    mixed: bool,
    /// Explicitly anything: whatever is below is allowed and named by nobody.
    open: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scalar {
    String,
    Long,
    Decimal,
    Bool,
}

/// A number that Cedar cannot hold exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inexact {
    /// The attribute it stands at: the name of the member that holds it, or a container of that.
    pub(crate) attribute: String,
    pub(crate) literal: String,
}

impl Shape {
    /// Reads an input schema.
    pub(crate) fn of(schema: &Json) -> Self {
        read(schema, schema, 0, MAX_SCHEMA_PLACES)
    }

    /// Whether a path can lead anywhere. `**` and everything below an explicitly open place can.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.reaches(path.segments())
    }

    fn reaches(&self, segments: &[Segment]) -> bool {
        if self.open {
            return true;
        }
        let Some((segment, rest)) = segments.split_first() else { return true };
        match segment {
            Segment::Deep => true,
            Segment::Keys => self.is_object(),
            Segment::Any => {
                self.members.values().any(|(shape, _)| shape.reaches(rest))
                    || self.additional.as_ref().is_some_and(|shape| shape.reaches(rest))
                    || self.items.as_ref().is_some_and(|shape| shape.reaches(rest))
            }
            Segment::Name(name) => {
                self.members.get(name).is_some_and(|(shape, _)| shape.reaches(rest))
                    || self.additional.as_ref().is_some_and(|shape| shape.reaches(rest))
                    || (name.bytes().all(|b| b.is_ascii_digit())
                        && self.items.as_ref().is_some_and(|shape| shape.reaches(rest)))
            }
        }
    }

    fn is_object(&self) -> bool {
        !self.members.is_empty() || self.additional.is_some()
    }

    /// Whether the schema names the member at this location, or explicitly allows ones it does not name.
    pub(crate) fn declares(&self, location: &[Step]) -> Declared {
        let Some((step, rest)) = location.split_first() else { return Declared::Named };
        if self.open {
            return Declared::Allowed;
        }
        match step {
            Step::Index(_) => self.items.as_ref().map_or(Declared::Not, |items| items.declares(rest)),
            Step::Member(name) => match (self.members.get(name), &self.additional) {
                (Some((shape, _)), _) => shape.declares(rest),
                (None, Some(shape)) => match shape.declares(rest) {
                    Declared::Named if rest.is_empty() => Declared::Allowed,
                    other => other,
                },
                (None, None) => Declared::Not,
            },
        }
    }

    /// The names at the top, for messages.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.members.keys().map(String::as_str).collect()
    }

    /// The Cedar type as the schema language writes it; `None` when no type fits.
    pub(crate) fn cedar_type(&self) -> Option<String> {
        if self.mixed {
            return None;
        }
        if let Some(scalar) = self.scalar {
            return Some(
                match scalar {
                    Scalar::String => "String",
                    Scalar::Long => "Long",
                    Scalar::Decimal => "decimal",
                    Scalar::Bool => "Bool",
                }
                .to_owned(),
            );
        }
        if let Some(items) = &self.items {
            return items.cedar_type().map(|element| format!("Set<{element}>"));
        }
        (!self.members.is_empty()).then(|| self.cedar_record())
    }

    /// The Cedar record type of an object, attributes that no type fits left out. Every attribute is optional but those that the schema
    /// requires and that always convert: numbers may be left out where they do not convert exactly.
    pub(crate) fn cedar_record(&self) -> String {
        let attributes: Vec<String> = self
            .members
            .iter()
            .filter_map(|(name, (shape, required))| {
                let optional = if *required && shape.always_converts() { "" } else { "?" };
                Some(format!("{}{optional}: {}", quoted(name), shape.cedar_type()?))
            })
            .collect();
        format!("{{ {} }}", attributes.join(", "))
    }

    fn always_converts(&self) -> bool {
        !self.mixed
            && match (self.scalar, &self.items) {
                (Some(Scalar::Long | Scalar::Decimal), _) => false,
                (Some(_), _) => true,
                (None, Some(items)) => items.always_converts(),
                (None, None) => self.members.values().all(|(shape, _)| shape.always_converts()),
            }
    }

    /// The value as a Cedar expression of [`Shape::cedar_type`]; `None` when it is absent, has no type, or is of another type. Numbers that do
    /// not convert exactly are left out and told.
    pub(crate) fn cedar_value(
        &self,
        name: &str,
        value: &Json,
        inexact: &mut Vec<Inexact>,
    ) -> Option<RestrictedExpression> {
        self.cedar_type()?;
        match (value, self.scalar, &self.items) {
            (Json::String(s), Some(Scalar::String), _) => Some(RestrictedExpression::new_string(s.clone())),
            (Json::Bool(b), Some(Scalar::Bool), _) => Some(RestrictedExpression::new_bool(*b)),
            (Json::Number(literal), Some(scalar @ (Scalar::Long | Scalar::Decimal)), _) => {
                let converted = match scalar {
                    Scalar::Long => long(value).map(RestrictedExpression::new_long),
                    _ => value.as_decimal().and_then(cedar_decimal).map(RestrictedExpression::new_decimal),
                };
                if converted.is_none() {
                    inexact.push(Inexact { attribute: name.to_owned(), literal: literal.to_string() });
                }
                converted
            }
            (Json::Array(elements), None, Some(items)) => {
                // One element left out would make the set another set.
                let values: Option<Vec<_>> =
                    elements.iter().map(|element| items.cedar_value(name, element, inexact)).collect();
                values.map(RestrictedExpression::new_set)
            }
            (Json::Object(_), None, None) => self.cedar_object(value, inexact),
            _ => None,
        }
    }

    /// An object as a Cedar record. Attributes the shape does not type are left out.
    pub(crate) fn cedar_object(
        &self,
        value: &Json,
        inexact: &mut Vec<Inexact>,
    ) -> Option<RestrictedExpression> {
        let members = value.as_object()?;
        let attributes: Vec<(String, RestrictedExpression)> = members
            .iter()
            .filter_map(|(name, member)| {
                let (shape, _) = self.members.get(name)?;
                let before = inexact.len();
                let value = shape.cedar_value(name, member, inexact);
                // Whoever looks at a container as a whole looks at what is missing in it.
                if let Some(below) = inexact.get(before).filter(|below| below.attribute != *name) {
                    inexact.push(Inexact { attribute: name.clone(), literal: below.literal.clone() });
                }
                Some((name.clone(), value?))
            })
            .collect();
        RestrictedExpression::new_record(attributes).ok()
    }
}

/// How a schema speaks of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declared {
    /// It names it.
    Named,
    /// It does not name it, and explicitly allows such members.
    Allowed,
    /// It does not name it.
    Not,
}

fn long(value: &Json) -> Option<i64> {
    let number = value.as_decimal()?.normalize();
    (number.scale() == 0).then(|| i64::try_from(number.mantissa()).ok()).flatten()
}

/// Cedar's `decimal` has four places and the range of a 64-bit integer of ten-thousandths.
pub(crate) fn cedar_decimal(number: Decimal) -> Option<String> {
    let number = number.normalize();
    if number.scale() > 4 {
        return None;
    }
    let mut tenthousandths = number;
    tenthousandths.rescale(4);
    i64::try_from(tenthousandths.mantissa()).ok()?;
    Some(if number.scale() == 0 { format!("{number}.0") } else { number.to_string() })
}

/// A name as a quoted Cedar attribute or id.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.escape_default())
}

fn read(schema: &Json, root: &Json, depth: usize, places: usize) -> Shape {
    if depth > MAX_SCHEMA_DEPTH || places == 0 {
        return Shape { mixed: true, ..Shape::default() };
    }
    let share = places.saturating_sub(1).checked_div(children(schema)).unwrap_or_default();
    let below = |schema: &Json| read(schema, root, depth.saturating_add(1), share);
    if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
        return match resolve(root, reference) {
            Some(target) => below(target),
            None => Shape { mixed: true, ..Shape::default() },
        };
    }
    let mut shape = Shape::default();
    let types = type_names(schema);
    let scalars: Vec<Scalar> = types
        .iter()
        .filter_map(|name| match *name {
            "string" => Some(Scalar::String),
            "integer" => Some(Scalar::Long),
            "number" => Some(Scalar::Decimal),
            "boolean" => Some(Scalar::Bool),
            _ => None,
        })
        .collect();
    shape.scalar = match scalars.as_slice() {
        [] => enum_scalar(schema),
        [one] => Some(*one),
        _ => None,
    };
    shape.mixed = types.iter().filter(|name| **name != "null").count() > 1;
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Json::as_array)
        .map(|names| names.iter().filter_map(Json::as_str).collect())
        .unwrap_or_default();
    for (name, member) in schema.get("properties").and_then(Json::as_object).unwrap_or_default() {
        let is_required = required.contains(&name.as_str()) && !admits_null(member, root, 0);
        shape.members.insert(name.clone(), (below(member), is_required));
    }
    shape.additional = match schema.get("additionalProperties") {
        Some(Json::Bool(true)) => Some(Box::new(Shape { mixed: true, open: true, ..Shape::default() })),
        Some(open @ Json::Object(_)) => Some(Box::new(below(open))),
        _ => None,
    };
    if let Some(patterns) = schema.get("patternProperties").and_then(Json::as_object) {
        for (_, member) in patterns {
            let pattern = below(member);
            shape.additional = Some(Box::new(match shape.additional.take() {
                Some(other) => merge(*other, pattern, Join::Either),
                None => pattern,
            }));
        }
    }
    if let Some(items @ Json::Object(_)) = schema.get("items") {
        shape.items = Some(Box::new(below(items)));
    } else if types.contains(&"array") {
        shape.items = Some(Box::new(Shape { mixed: true, ..Shape::default() }));
    }
    for branch in schema.get("allOf").and_then(Json::as_array).unwrap_or_default() {
        shape = merge(shape, below(branch), Join::Both);
    }
    for key in ["anyOf", "oneOf"] {
        let branches = schema.get(key).and_then(Json::as_array).unwrap_or_default();
        let either = branches
            .iter()
            .filter(|branch| type_names(branch) != ["null"])
            .map(below)
            .reduce(|a, b| merge(a, b, Join::Either));
        if let Some(either) = either {
            shape = merge(shape, either, Join::Both);
        }
    }
    shape
}

/// How many schemas a schema leads to.
fn children(schema: &Json) -> usize {
    let members = ["properties", "patternProperties"].map(|key| schema.get(key).and_then(Json::as_object));
    let branches = ["allOf", "anyOf", "oneOf"].map(|key| schema.get(key).and_then(Json::as_array));
    let single = ["$ref", "items", "additionalProperties"].map(|key| usize::from(schema.get(key).is_some()));
    let members = members.into_iter().flatten().map(<[_]>::len);
    members.chain(branches.into_iter().flatten().map(<[_]>::len)).chain(single).sum()
}

fn type_names(schema: &Json) -> Vec<&str> {
    match schema.get("type") {
        Some(Json::String(name)) => vec![name.as_str()],
        Some(Json::Array(names)) => names.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// `enum` and `const` of strings only, without a `type`, are strings.
fn enum_scalar(schema: &Json) -> Option<Scalar> {
    let all_strings =
        |values: &[Json]| !values.is_empty() && values.iter().all(|value| value.as_str().is_some());
    match (schema.get("enum").and_then(Json::as_array), schema.get("const")) {
        (Some(values), _) if all_strings(values) => Some(Scalar::String),
        (None, Some(Json::String(_))) => Some(Scalar::String),
        _ => None,
    }
}

fn admits_null(schema: &Json, root: &Json, depth: usize) -> bool {
    if depth > MAX_SCHEMA_DEPTH {
        return true;
    }
    let below = |schema: &Json| admits_null(schema, root, depth.saturating_add(1));
    if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
        return resolve(root, reference).is_none_or(below);
    }
    let branches = |key| schema.get(key).and_then(Json::as_array);
    let types = type_names(schema);
    types.contains(&"null")
        || (types.is_empty()
            && match (branches("anyOf"), branches("oneOf")) {
                (Some(branches), _) | (None, Some(branches)) => branches.iter().any(below),
                (None, None) => true,
            })
}

/// Follows a reference within the document.
fn resolve<'a>(root: &'a Json, reference: &str) -> Option<&'a Json> {
    let pointer = reference.strip_prefix('#')?;
    pointer.split('/').skip(1).try_fold(root, |at, part| {
        let name = part.replace("~1", "/").replace("~0", "~");
        match at {
            Json::Object(_) => at.get(&name),
            Json::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        }
    })
}

/// How two shapes of one value stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    /// The value has both.
    Both,
    /// The value has one of them.
    Either,
}

/// The union of two shapes: what either names. Where their types differ there is no Cedar type. A member is required where both
/// alternatives require it, or one of two shapes that hold together.
fn merge(a: Shape, b: Shape, join: Join) -> Shape {
    let blank =
        |shape: &Shape| shape.scalar.is_none() && shape.items.is_none() && !shape.is_object() && !shape.mixed;
    let alone = |mut shape: Shape| {
        if join == Join::Either {
            shape.members.values_mut().for_each(|(_, required)| *required = false);
        }
        shape
    };
    if blank(&a) {
        return alone(b);
    }
    if blank(&b) {
        return alone(a);
    }
    let sort = |shape: &Shape| (shape.scalar, shape.items.is_some(), shape.is_object());
    let mixed = a.mixed || b.mixed || sort(&a) != sort(&b);
    let scalar = if a.scalar == b.scalar { a.scalar } else { None };
    let mut members = BTreeMap::new();
    let mut others = b.members;
    for (name, (shape, required)) in a.members {
        let merged = match others.remove(&name) {
            Some((other, too)) if join == Join::Both => (merge(shape, other, join), required || too),
            Some((other, too)) => (merge(shape, other, join), required && too),
            None => (shape, required && join == Join::Both),
        };
        members.insert(name, merged);
    }
    members.extend(
        others.into_iter().map(|(name, (shape, required))| (name, (shape, required && join == Join::Both))),
    );
    let both = |a: Option<Box<Shape>>, b: Option<Box<Shape>>| match (a, b) {
        (Some(a), Some(b)) => Some(Box::new(merge(*a, *b, join))),
        (one, other) => one.or(other),
    };
    Shape {
        members,
        additional: both(a.additional, b.additional),
        items: both(a.items, b.items),
        scalar,
        mixed,
        open: if join == Join::Both { a.open && b.open } else { a.open || b.open },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(schema: &str) -> Shape {
        Shape::of(&Json::parse(schema.as_bytes()).unwrap())
    }

    #[test]
    fn types_follow_the_schema_and_what_fits_none_is_left_out() {
        let cases = [
            (
                r#"{"properties":{"a":{"type":"string"},"n":{"type":"integer"}},"required":["a","n"]}"#,
                r#"{ "a": String, "n"?: Long }"#,
            ),
            (
                r#"{"properties":{"a":{"anyOf":[{"type":"number"},{"type":"null"}]}},"required":["a"]}"#,
                r#"{ "a"?: decimal }"#,
            ),
            (r#"{"properties":{"a":{"type":["string","null"]}},"required":["a"]}"#, r#"{ "a"?: String }"#),
            (r#"{"properties":{"a":{"type":["string","integer"]}}}"#, "{  }"),
            (
                r#"{"properties":{"a":{"type":"array","items":{"type":"string"}}},"required":["a"]}"#,
                r#"{ "a": Set<String> }"#,
            ),
            (r#"{"properties":{"a":{"enum":["x","y"]}},"required":["a"]}"#, r#"{ "a"?: String }"#),
            (r#"{"properties":{"a":{}}}"#, "{  }"),
            (
                r##"{"properties":{"a":{"$ref":"#/$defs/A"}},"$defs":{"A":{"type":"object","properties":{"b":{"type":"boolean"}},"required":["b"]}},"required":["a"]}"##,
                r#"{ "a": { "b": Bool } }"#,
            ),
            (
                r#"{"anyOf":[{"properties":{"a":{"type":"string"},"c":{"type":"string"}},"required":["a","c"]},
                    {"properties":{"b":{"type":"string"},"c":{"type":"string"}},"required":["b","c"]}]}"#,
                r#"{ "a"?: String, "b"?: String, "c": String }"#,
            ),
            (
                r#"{"properties":{"a":{"type":"string"}},"required":["a"],
                    "allOf":[{"properties":{"b":{"type":"string"}},"required":["b"]}],"anyOf":[{},{"properties":{"d":{"type":"string"}},"required":["d"]}]}"#,
                r#"{ "a": String, "b": String, "d"?: String }"#,
            ),
            (r##"{"properties":{"a":{"$ref":"#"}}}"##, "{  }"),
        ];
        for (schema, expected) in cases {
            let record = shape(schema).cedar_record();
            if schema.contains("\"$ref\":\"#\"") {
                assert!(record.len() < 4096, "a recursive schema ends");
            } else {
                assert_eq!(record, expected, "{schema}");
            }
        }
    }

    #[test]
    fn a_schema_that_refers_to_itself_many_times_is_bounded() {
        let members: Vec<String> = (0..9).map(|n| format!(r##""m{n}":{{"$ref":"#"}}"##)).collect();
        let shape = shape(&format!(r#"{{"properties":{{{}}}}}"#, members.join(",")));
        assert!(shape.cedar_record().len() < 1_000_000);
        let deep: Path = "m0/m8/m0".parse().unwrap();
        assert!(shape.has(&deep), "each branch is followed as far as any other");
    }

    #[test]
    fn numbers_convert_exactly_or_are_told() {
        let shape = shape(r#"{"properties":{"n":{"type":"integer"},"d":{"type":"number"}}}"#);
        let cases = [
            (r#"{"n":1}"#, 0),
            (r#"{"n":1.0}"#, 0),
            (r#"{"n":9223372036854775807}"#, 0),
            (r#"{"n":9223372036854775808}"#, 1),
            (r#"{"d":1.2345}"#, 0),
            (r#"{"d":1.23450}"#, 0),
            (r#"{"d":1.23456}"#, 1),
            (r#"{"d":922337203685477.5807}"#, 0),
            (r#"{"d":922337203685477.5808}"#, 1),
            (r#"{"d":1e30,"n":1e30}"#, 2),
        ];
        for (arguments, count) in cases {
            let mut inexact = Vec::new();
            assert!(shape.cedar_object(&Json::parse(arguments.as_bytes()).unwrap(), &mut inexact).is_some());
            assert_eq!(inexact.len(), count, "{arguments}");
        }
    }

    #[test]
    fn undeclared_members_are_told_from_explicitly_allowed_ones() {
        let shape = shape(
            r#"{"properties":{"o":{"type":"object","additionalProperties":true},"a":{"type":"object"},"m":{"type":"object","additionalProperties":{"type":"string"}},
                "l":{"type":"array","items":{"type":"object","properties":{"x":{"type":"string"}}}}}}"#,
        );
        let member = |name: &str| Step::Member(name.to_owned());
        for (location, declared) in [
            (vec![member("a")], Declared::Named),
            (vec![member("b")], Declared::Not),
            (vec![member("a"), member("x")], Declared::Not),
            (vec![member("m"), member("x")], Declared::Allowed),
            (vec![member("o"), member("x"), Step::Index(0), member("y")], Declared::Allowed),
            (vec![member("l"), Step::Index(3), member("x")], Declared::Named),
            (vec![member("l"), Step::Index(3), member("y")], Declared::Not),
        ] {
            assert_eq!(shape.declares(&location), declared, "{location:?}");
        }
        for (path, there) in [
            ("a", true),
            ("b", false),
            ("m/x", true),
            ("l/*/x", true),
            ("l/0/x", true),
            ("l/*/y", false),
            ("m/@keys", true),
            ("**", true),
        ] {
            assert_eq!(shape.has(&path.parse().unwrap()), there, "{path}");
        }
    }
}
