//! Which annotation holds for each key: precedence, provenance, and what to say about values that do not parse.

use std::{fmt::Display, str::FromStr};

use crate::{
    Provider,
    annotations::{self, Annotation, ValueKind},
    effective::{Effective, Setting, Source},
    message::{Cause, Denial, Warning},
    scope::{Layer, Scope},
    types::{ParseError, shorten_to},
};

/// What the scopes say, in order of precedence, and what was found on the way.
pub(crate) struct Resolver<'a> {
    entries: Vec<Entry<'a>>,
    /// For the person who ran kubectl.
    pub(crate) warnings: Vec<Warning>,
    /// The keys that hold, of the provider at hand.
    pub(crate) effective: Vec<Effective>,
}

/// One known key of one object. Its value is trimmed and not empty.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    row: &'static Annotation,
    provider: Option<Provider>,
    layer: &'a Layer,
    /// The whole key, as it stands there.
    pub(crate) key: &'a str,
    /// The value.
    pub(crate) value: &'a str,
    /// Whether it is a key of the cloud's own webhook.
    native: bool,
}

impl Entry<'_> {
    /// The entry as a provenance.
    pub(crate) fn source(&self) -> Source {
        Source::Annotation {
            object: self.layer.object.clone(),
            key: self.key.to_owned(),
        }
    }

    /// The scope it stands in.
    pub(crate) fn scope(&self) -> Scope {
        self.layer.object.scope
    }

    /// Names it in a warning: `` `KEY` of OBJECT ``.
    pub(crate) fn name(&self) -> String {
        name(self.key, self.layer)
    }
}

impl<'a> Resolver<'a> {
    /// Reads the layers. Unknown keys of the prefix draw a warning each.
    pub(crate) fn new(layers: &'a [Layer], native_annotations: bool) -> Self {
        let mut this = Self {
            entries: Vec::new(),
            warnings: Vec::new(),
            effective: Vec::new(),
        };
        // A native annotation is a fallback: one of ours wins from whatever scope.
        for native in [false, true] {
            if native && !native_annotations {
                break;
            }
            for scope in Scope::ALL {
                for layer in layers.iter().filter(|layer| layer.object.scope == scope) {
                    this.read(layer, native);
                }
            }
        }
        this
    }

    fn read(&mut self, layer: &'a Layer, native: bool) {
        for (key, value) in layer.keys.iter() {
            let value = value.trim();
            if key.starts_with(annotations::PREFIX) == native {
                continue;
            }
            let found = if native {
                annotations::find_native(key).map(|(row, provider)| (row, Some(provider)))
            } else {
                annotations::find(key)
            };
            match found {
                Some((row, provider)) if !value.is_empty() => self.entries.push(Entry {
                    row,
                    provider,
                    layer,
                    key,
                    value,
                    native,
                }),
                Some(_) => {}
                None if native || self.is_full() => {}
                None => {
                    let nearest = annotations::nearest(key)
                        .map(|nearest| format!(": did you mean `{nearest}`?"))
                        .unwrap_or_default();
                    self.warn(
                        Cause::UnknownKey,
                        &format!("{} is not known{nearest}", name(key, layer)),
                    );
                }
            }
        }
    }

    /// Whether nothing is said at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether anything is said about a provider.
    pub(crate) fn speaks_of(&self, provider: Provider) -> bool {
        self.entries.iter().any(|e| e.provider == Some(provider))
    }

    /// The entry that holds for a key, unparsed.
    pub(crate) fn first(
        &self,
        row: &'static Annotation,
        provider: impl Into<Option<Provider>>,
    ) -> Option<Entry<'a>> {
        self.all(row, provider.into()).next()
    }

    /// The entry that holds among those of the cloud's own webhook.
    pub(crate) fn first_native(
        &self,
        row: &'static Annotation,
        provider: Provider,
    ) -> Option<Entry<'a>> {
        self.all(row, Some(provider)).find(|entry| entry.native)
    }

    fn all(
        &self,
        row: &'static Annotation,
        provider: Option<Provider>,
    ) -> impl Iterator<Item = Entry<'a>> {
        self.entries
            .iter()
            .filter(move |e| e.provider == provider && e.row.key == row.key)
            .copied()
    }

    /// The first value that is a boolean, with where it stands; those before it draw a warning each.
    pub(crate) fn boolean(
        &mut self,
        row: &'static Annotation,
        provider: Provider,
    ) -> Option<(bool, Entry<'a>)> {
        let parse = |value: &str| {
            if value.eq_ignore_ascii_case("true") {
                Some(true)
            } else if value.eq_ignore_ascii_case("false") {
                Some(false)
            } else {
                None
            }
        };
        let expected = || "`true` or `false`".to_owned();
        let (value, entry) = self.first_valid(row, provider, expected, parse)?;
        self.keep(row, provider, value, entry.source());
        Some((value, entry))
    }

    /// The first value that is a number of seconds, cut to the bounds of the key; the default where there is none.
    pub(crate) fn seconds(&mut self, row: &'static Annotation, provider: Provider) -> Setting<u64> {
        let (least, most) = match row.kind {
            ValueKind::Seconds { least, most } => (least, most),
            _ => (0, u64::MAX),
        };
        let expected = || format!("a whole number of seconds from {least} to {most}");
        // Any number of digits is a number, if one that is too large.
        let parse = |value: &str| {
            let is_number = value.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| value.parse().unwrap_or(u64::MAX))
        };
        let (value, from) = match self.first_valid(row, provider, expected, parse) {
            Some((value, entry)) => {
                let cut = value.clamp(least, most);
                if cut != value {
                    self.warn(
                        Cause::OutOfRange,
                        &format!(
                            "{} is `{}`: expected {}; it is cut to {cut}",
                            entry.name(),
                            shorten_to(entry.value, VALUE_CHARS),
                            expected(),
                        ),
                    );
                }
                (cut, entry.source())
            }
            None => {
                let default = row.default.and_then(|text| text.parse().ok());
                (default.unwrap_or(least), Source::Default)
            }
        };
        self.keep(row, provider, value, from.clone());
        Setting { value, from }
    }

    /// A value of a type of its own, else the operator's. One that does not parse refuses the pod if it would take effect,
    /// and otherwise draws a warning.
    pub(crate) fn parsed<T: FromStr<Err = ParseError> + Display + Clone>(
        &mut self,
        row: &'static Annotation,
        provider: Provider,
        in_effect: bool,
        operators: Option<&T>,
    ) -> Result<Option<T>, Denial> {
        let (value, from) = match (self.first(row, provider), operators) {
            (Some(entry), _) => match entry.value.parse::<T>() {
                Ok(value) => (value, entry.source()),
                Err(error) => {
                    self.refuse(entry, in_effect, error.allowed())?;
                    return Ok(None);
                }
            },
            (None, Some(value)) => (value.clone(), row.flag(provider)),
            (None, None) => return Ok(None),
        };
        self.keep(row, provider, &value, from);
        Ok(Some(value))
    }

    /// A value that is not allowed: refuses the pod if it would take effect, and otherwise draws a warning.
    pub(crate) fn refuse(
        &mut self,
        entry: Entry<'_>,
        in_effect: bool,
        allowed: String,
    ) -> Result<(), Denial> {
        if in_effect {
            return Err(Denial {
                object: Box::new(entry.layer.object.clone()),
                key: entry.key.to_owned(),
                value: entry.value.to_owned(),
                allowed,
            });
        }
        self.warn(
            Cause::InvalidValue,
            &format!(
                "{} is `{}`: expected {allowed}",
                entry.name(),
                shorten_to(entry.value, VALUE_CHARS),
            ),
        );
        Ok(())
    }

    /// Notes that a key holds, with its value and where that comes from.
    pub(crate) fn keep<T: Display>(
        &mut self,
        row: &'static Annotation,
        provider: Provider,
        value: T,
        from: Source,
    ) {
        self.effective.push(Effective {
            key: row.full_key(provider),
            value: value.to_string(),
            from,
        });
    }

    /// Adds a warning, unless there are more than anybody will be shown.
    pub(crate) fn warn(&mut self, cause: Cause, text: &str) {
        if !self.is_full() {
            self.warnings.push(Warning::new(cause, text));
        }
    }

    /// Whether further warnings are dropped: an object may carry a hundred thousand misspelt keys.
    pub(crate) fn is_full(&self) -> bool {
        self.warnings.len() >= WARNINGS_MAX
    }

    fn first_valid<T>(
        &mut self,
        row: &'static Annotation,
        provider: Provider,
        expected: impl Fn() -> String,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<(T, Entry<'a>)> {
        let mut invalid = Vec::new();
        let found = self.all(row, Some(provider)).find_map(|entry| {
            let value = parse(entry.value);
            if value.is_none() {
                invalid.push(entry);
            }
            Some((value?, entry))
        });
        for entry in invalid {
            self.warn(
                Cause::InvalidValue,
                &format!(
                    "{} is `{}`: expected {}; it counts as unset",
                    entry.name(),
                    shorten_to(entry.value, VALUE_CHARS),
                    expected(),
                ),
            );
        }
        found
    }
}

/// Names a key of an object so that a warning has room for more.
fn name(key: &str, layer: &Layer) -> String {
    format!(
        "`{}` of {}",
        shorten_to(key, 70),
        shorten_to(&layer.object.to_string(), 60)
    )
}

/// Most characters of a value in a warning.
const VALUE_CHARS: usize = 40;

/// Many more than are shown, few enough to cost nothing.
const WARNINGS_MAX: usize = 100;
