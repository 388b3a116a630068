//! What a client can be asked, and what a server offers: as far as it is known here, so that nothing else is announced.

use serde_json::value::RawValue;

use crate::{Fragment, ShapeError, fragment::ObjectWriter, members::Members, tasks};

/// What a client can be asked. Members that are not known here are left out: they would be a way out for data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    elicitation: Option<Elicitation>,
    sampling: Option<Sampling>,
    /// Whether it tells of changes.
    roots: Option<bool>,
    /// Whether answers may come as tasks.
    tasks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Elicitation {
    form: bool,
    url: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sampling {
    tools: bool,
    context: bool,
}

impl Capabilities {
    /// Reads the capabilities of a client.
    ///
    /// # Errors
    /// [`ShapeError`] when it is no object of objects.
    pub fn read(raw: &RawValue) -> Result<Self, ShapeError> {
        let members = Members::read(raw, "capabilities")?;
        let inner = |member: &'static str| -> Result<Option<Members<'_>>, ShapeError> {
            members.object(member)?.map(|raw| Members::read(raw, member)).transpose()
        };
        Ok(Self {
            elicitation: inner("elicitation")?.map(|modes| Elicitation {
                form: modes.get("form").is_some(),
                url: modes.get("url").is_some(),
            }),
            sampling: inner("sampling")?.map(|modes| Sampling {
                tools: modes.get("tools").is_some(),
                context: modes.get("context").is_some(),
            }),
            tasks: tasks::named_in(&members),
            roots: inner("roots")?.map(|roots| roots.get("listChanged").map(RawValue::get) == Some("true")),
        })
    }

    /// Only those that are granted, by the names of manifests: `elicitation`, `sampling`, `roots`, `tasks`.
    #[must_use]
    pub fn only(self, granted: impl Fn(&str) -> bool) -> Self {
        Self {
            elicitation: self.elicitation.filter(|_| granted("elicitation")),
            sampling: self.sampling.filter(|_| granted("sampling")),
            roots: self.roots.filter(|_| granted("roots")),
            tasks: self.tasks && granted("tasks"),
        }
    }

    /// Whether a server may ask this with these parameters. An elicitation is by form or by URL, and who says nothing of it means forms.
    #[must_use]
    pub fn can(self, asked: &str, params: Option<&RawValue>) -> bool {
        let Some(modes) = self.elicitation.filter(|_| asked == "elicitation") else { return self.has(asked) };
        let members = params.and_then(|params| Members::read(params, "params").ok());
        match members.map(|members| members.text("mode", 16).map(|mode| mode.map(|mode| mode.into_owned()))) {
            None | Some(Ok(None)) => modes.form || !modes.url,
            Some(Ok(Some(mode))) if mode == "form" => modes.form || !modes.url,
            Some(Ok(Some(mode))) if mode == "url" => modes.url,
            Some(_) => false,
        }
    }

    /// Whether a server may ask this at all.
    #[must_use]
    pub fn has(self, asked: &str) -> bool {
        match asked {
            "elicitation" => self.elicitation.is_some(),
            "sampling" => self.sampling.is_some(),
            "roots" => self.roots.is_some(),
            "tasks" => self.tasks,
            _ => false,
        }
    }

    /// As it is announced.
    #[must_use]
    pub fn fragment(self) -> Fragment<'static> {
        let flags = |flags: &[(&str, bool)]| {
            let given = flags.iter().filter(|(_, given)| *given);
            given
                .fold(ObjectWriter::new(), |out, (name, _)| out.member(name, &Fragment::empty_object()))
                .finish()
        };
        let roots = self.roots.map(|changes| match changes {
            true => ObjectWriter::new().member("listChanged", &Fragment::boolean(true)).finish(),
            false => Fragment::empty_object(),
        });
        let extension = self
            .tasks
            .then(|| ObjectWriter::new().member(tasks::EXTENSION, &Fragment::empty_object()).finish());
        ObjectWriter::new()
            .maybe("roots", roots.as_ref())
            .maybe(
                "sampling",
                self.sampling.map(|s| flags(&[("tools", s.tools), ("context", s.context)])).as_ref(),
            )
            .maybe(
                "elicitation",
                self.elicitation.map(|e| flags(&[("form", e.form), ("url", e.url)])).as_ref(),
            )
            .maybe("extensions", extension.as_ref())
            .finish()
    }
}

/// What a server may ask, by its method: the name in manifests.
#[must_use]
pub fn asked_by(method: &str) -> Option<&'static str> {
    match method {
        "elicitation/create" => Some("elicitation"),
        "sampling/createMessage" => Some("sampling"),
        "roots/list" => Some("roots"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_and_granted_is_announced() {
        let raw: &RawValue = serde_json::from_str(
            r#"{"roots":{"listChanged":true},"sampling":{"tools":{"x":"secret"}},"elicitation":{"form":{},"url":{}},"experimental":{"x":{}}}"#,
        )
        .unwrap();
        let all = Capabilities::read(raw).unwrap();
        assert_eq!(
            all.fragment().as_str(),
            r#"{"roots":{"listChanged":true},"sampling":{"tools":{}},"elicitation":{"form":{},"url":{}}}"#
        );
        let some = all.only(|name| name == "elicitation");
        assert_eq!(some.fragment().as_str(), r#"{"elicitation":{"form":{},"url":{}}}"#);
        assert!(some.has("elicitation") && !some.has("sampling") && !some.has("tasks"));
        let form: &RawValue = serde_json::from_str(r#"{"mode":"form"}"#).unwrap();
        let url: &RawValue = serde_json::from_str(r#"{"mode":"url"}"#).unwrap();
        let other: &RawValue = serde_json::from_str(r#"{"mode":"voice"}"#).unwrap();
        let forms = Capabilities::read(serde_json::from_str(r#"{"elicitation":{}}"#).unwrap()).unwrap();
        for (able, mode, can) in [
            (forms, None, true),
            (forms, Some(form), true),
            (forms, Some(url), false),
            (all, Some(url), true),
            (all, Some(other), false),
            (Capabilities::default(), None, false),
        ] {
            assert_eq!(able.can("elicitation", mode), can, "{able:?} {mode:?}");
        }
        assert_eq!(Capabilities::default().fragment().as_str(), "{}");
        for bad in ["[]", r#"{"sampling":true}"#] {
            assert!(Capabilities::read(serde_json::from_str(bad).unwrap()).is_err(), "{bad}");
        }
    }
}
