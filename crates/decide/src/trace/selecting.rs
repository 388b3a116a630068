//! Selectors, judged on a record.

use std::collections::BTreeMap;

use warrantor_model::{
    Json, Kind, Person, Selector,
    path::{Coverage, Step, walk},
    source::{Compared, Comparison, Operator},
};

use super::history::scalar_text;
use crate::kind::{canonical, host_of, same};

/// What references in a selector refer to.
pub(crate) struct Referred<'a> {
    pub(crate) person: Option<&'a Person>,
    pub(crate) slots: Option<&'a BTreeMap<String, Json>>,
}

impl Referred<'_> {
    /// The texts on the right-hand side of a comparison; any of them will do.
    fn texts(&self, value: &Compared) -> Vec<String> {
        match value {
            Compared::Text(text) => vec![text.clone()],
            Compared::Slot(name) => {
                self.slots.and_then(|slots| slots.get(name)).map(scalar_text).into_iter().collect()
            }
            Compared::Own => self.person.map(own_values).unwrap_or_default(),
        }
    }
}

/// A person's own addresses and handles.
pub(crate) fn own_values(person: &Person) -> Vec<String> {
    person.mail.iter().chain(person.handles.values()).cloned().collect()
}

/// The value at a location.
pub(crate) fn at<'a>(value: &'a Json, location: &[Step]) -> Option<&'a Json> {
    location.iter().try_fold(value, |value, step| match step {
        Step::Member(name) => value.get(name),
        Step::Index(index) => value.as_array()?.get(*index),
    })
}

/// Whether every comparison holds on a record. `element` is what `.` means; `kind` gives the kinds of fields.
pub(crate) fn holds(
    selector: &Selector,
    record: &Json,
    element: Option<&Json>,
    kind: &dyn Fn(&[Step]) -> Option<Kind>,
    referred: &Referred<'_>,
) -> bool {
    selector.0.iter().all(|comparison| compares(comparison, record, element, kind, referred))
}

fn compares(
    comparison: &Comparison,
    record: &Json,
    element: Option<&Json>,
    kind: &dyn Fn(&[Step]) -> Option<Kind>,
    referred: &Referred<'_>,
) -> bool {
    let expected = referred.texts(&comparison.value);
    let Some(path) = &comparison.path else {
        let element = element.unwrap_or(record);
        return expected.iter().any(|text| compare(comparison.operator, element, kind(&[]), text));
    };
    let mut found = false;
    walk(record, &mut Vec::new(), &mut |location, value| {
        let here = match path.covers(location) {
            Some(Coverage::Itself) => true,
            // An array argument compares by membership.
            Some(Coverage::Container) => matches!(location.last(), Some(Step::Index(_))),
            None => false,
        };
        found |=
            here && expected.iter().any(|text| compare(comparison.operator, value, kind(location), text));
    });
    found
}

fn compare(operator: Operator, value: &Json, kind: Option<Kind>, expected: &str) -> bool {
    if matches!(value, Json::Null | Json::Object(_) | Json::Array(_)) {
        return false;
    }
    let kind = kind.unwrap_or_default();
    let text = scalar_text(value);
    match operator {
        Operator::Equal => match value {
            Json::Number(_) => value
                .as_decimal()
                .is_some_and(|number| warrantor_model::decimal::exact(expected) == Some(number)),
            Json::Bool(b) => b.to_string() == expected,
            _ => same(kind, &text, expected, false),
        },
        Operator::Begins => canonical(kind, &text).is_ok_and(|form| {
            !expected.is_empty()
                && form.starts_with(&canonical(kind, expected).unwrap_or_else(|_| expected.to_owned()))
        }),
        Operator::Contains => contains_words(&text, expected),
        Operator::Host => host_of(kind, &text)
            .is_ok_and(|host| canonical(Kind::Host, expected).is_ok_and(|wanted| wanted == host)),
    }
}

/// Whether the words of a phrase stand in a text one after the other, whatever their case. Words are runs of letters and digits.
fn contains_words(text: &str, phrase: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect()
    };
    let (text, phrase) = (words(text), words(phrase));
    !phrase.is_empty() && text.windows(phrase.len()).any(|window| window == phrase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_compare_as_they_say() {
        let record = Json::parse(
            br#"{"name":"ACME GmbH, Berlin","iban":"DE89 3704","amount":12.50,"tags":["rent","Home"],"open":true,"url":"https://a.example/x"}"#,
        )
        .unwrap();
        let kind = |location: &[Step]| match location {
            [Step::Member(name)] if name == "iban" => Some(Kind::Account),
            [Step::Member(name)] if name == "url" => Some(Kind::Url),
            _ => None,
        };
        let slots = BTreeMap::from([("v".to_owned(), Json::String("acme gmbh".into()))]);
        let referred = Referred { person: None, slots: Some(&slots) };
        for (selector, expected) in [
            ("[name~=$slot.v]", true),
            ("[name~=GmbH Berlin]", true),
            ("[name~=Gmb]", false),
            ("[name~=Berlin ACME]", false),
            ("[name=ACME GmbH]", false),
            ("[name^=ACME]", true),
            ("[name^=\"\"]", false),
            ("[iban=de893704]", true),
            ("[amount=12.5]", true),
            ("[tags=rent]", true),
            ("[tags=rents]", false),
            ("[open=true, tags/1=Home]", true),
            ("[open=true, tags/1=home]", false),
            ("[name~=$slot.w]", false),
            ("[missing=x]", false),
            ("[name=$self]", false),
        ] {
            let selector: Selector = selector.parse().unwrap();
            assert_eq!(holds(&selector, &record, None, &kind, &referred), expected, "{selector}");
        }
        let element = Json::String("Hotel One".into());
        let selector: Selector = "[.~=one]".parse().unwrap();
        assert!(holds(&selector, &record, Some(&element), &kind, &referred));
    }
}
