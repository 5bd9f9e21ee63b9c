//! One section of one file: its keys are asked for, and what nobody asked for is an error.

use crate::error::{ConfigError, Problem, Warning};
use crate::kind::{Kind, Wrong, shown};
use crate::near::nearest;
use crate::place::{File, Place};
use std::collections::BTreeMap;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// What the sections of all files have to say.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<Warning>,
    /// Where each value stands, by key.
    pub(crate) origins: BTreeMap<String, Place>,
}

impl Report {
    pub(crate) fn error(&mut self, place: Place, problem: Problem) {
        self.errors.push(ConfigError { place, problem });
    }

    pub(crate) fn warn(&mut self, place: Place, text: String) {
        self.warnings.push(Warning { place, text });
    }
}

/// A section of a file.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    file: &'a File,
    table: &'a DeTable<'a>,
    /// With dots; empty for the file itself.
    pub(crate) name: String,
    /// Where it begins.
    pub(crate) place: Place,
    /// What was asked for.
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// All of a file.
    pub(crate) fn root(file: &'a File, table: &'a DeTable<'a>) -> Self {
        Self::new(file, table, String::new(), 0)
    }

    fn new(file: &'a File, table: &'a DeTable<'a>, name: String, byte: usize) -> Self {
        Self { file, table, name, place: file.place(byte), known: Vec::new() }
    }

    /// A key of this section, as messages and origins name it.
    pub(crate) fn key(&self, key: &str) -> String {
        let key = shown(key);
        if self.name.is_empty() { key } else { format!("{}.{key}", self.name) }
    }

    /// The line of a key's value.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        self.table.get(key).map_or_else(|| self.place.clone(), |v| self.file.place(v.span().start))
    }

    /// A key's text as it is written.
    pub(crate) fn text(&self, key: &str) -> Option<&'a str> {
        self.table.get(key)?.get_ref().as_str()
    }

    /// The value of a key, if it is there and right; where it stands is noted.
    pub(crate) fn take<T>(
        &mut self,
        key: &'static str,
        kind: &Kind<T>,
        report: &mut Report,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.get(key)?;
        match (kind.read)(value.get_ref()) {
            Ok(read) => {
                report.origins.insert(self.key(key), self.place_of(key));
                Some(read)
            }
            Err(Wrong(why)) => {
                self.wrong(key, value.get_ref(), value.span(), kind.expected, why, report);
                None
            }
        }
    }

    /// The value of a key that is one of a few words.
    pub(crate) fn choose<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        report: &mut Report,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.table.get(key)?;
        let text = value.get_ref().as_str();
        let chosen = text.and_then(|text| choices.iter().find(|(word, _)| *word == text));
        if let Some((_, chosen)) = chosen {
            report.origins.insert(self.key(key), self.place_of(key));
            return Some(*chosen);
        }
        let expected: Vec<_> = choices.iter().map(|(word, _)| format!("{word:?}")).collect();
        let near = text.and_then(|text| nearest(text, choices.iter().map(|(word, _)| *word)));
        let why = near.map(|near| format!("did you mean {near:?}?"));
        self.wrong(key, value.get_ref(), value.span(), &expected.join(" or "), why, report);
        None
    }

    /// The section of this name inside of this one.
    pub(crate) fn section(
        &mut self,
        key: &'static str,
        report: &mut Report,
    ) -> Option<Section<'a>> {
        self.known.push(key);
        let value = self.table.get(key)?;
        self.inner(key, value.get_ref(), value.span(), report)
    }

    /// All sections inside of this one, by name.
    pub(crate) fn sections(&self, report: &mut Report) -> Vec<(String, Section<'a>)> {
        let inner = self.table.iter().filter_map(|(key, value)| {
            let inner = self.inner(key.get_ref(), value.get_ref(), value.span(), report)?;
            Some((key.get_ref().to_string(), inner))
        });
        inner.collect()
    }

    fn inner(
        &self,
        key: &str,
        value: &'a DeValue<'a>,
        span: Range<usize>,
        report: &mut Report,
    ) -> Option<Section<'a>> {
        let name = self.key(key);
        if let Some(table) = value.as_table() {
            return Some(Section::new(self.file, table, name, span.start));
        }
        // `path = …` under `[source]`: the name is missing.
        let name = if self.name.is_empty() { name } else { format!("{}.NAME", self.name) };
        self.wrong(key, value, span, &format!("a section [{name}]"), None, report);
        None
    }

    /// The sections `[[key]]`, in their order.
    pub(crate) fn list(&mut self, key: &'static str, report: &mut Report) -> Vec<Section<'a>> {
        self.known.push(key);
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let expected = format!("sections [[{key}]]");
        let Some(items) = value.get_ref().as_array() else {
            self.wrong(key, value.get_ref(), value.span(), &expected, None, report);
            return Vec::new();
        };
        let sections = items.iter().filter_map(|item| {
            let Some(table) = item.get_ref().as_table() else {
                self.wrong(key, item.get_ref(), item.span(), &expected, None, report);
                return None;
            };
            Some(Section::new(self.file, table, key.to_owned(), item.span().start))
        });
        sections.collect()
    }

    /// Of these keys only one can be; one that is here takes the place of all from earlier files.
    pub(crate) fn one_of(&self, keys: &[&'static str], report: &mut Report) {
        let mut here = keys.iter().filter_map(|key| Some((*key, self.table.get(*key)?)));
        let Some((other, first)) = here.next() else { return };
        for key in keys {
            report.origins.remove(&self.key(key));
        }
        let line = self.file.place(first.span().start).line;
        for (key, value) in here {
            let place = self.file.place(value.span().start);
            report.error(place, Problem::Both { key: self.key(key), other, line });
        }
    }

    fn wrong(
        &self,
        key: &str,
        value: &DeValue<'_>,
        span: Range<usize>,
        expected: &str,
        why: Option<String>,
        report: &mut Report,
    ) {
        let (key, expected) = (self.key(key), expected.to_owned());
        let found = Wrong::found(value);
        let place = self.file.place(span.start);
        report.error(place, Problem::Value { key, expected, found, why });
    }

    /// What nobody asked for is an error.
    pub(crate) fn finish(self, report: &mut Report) {
        for key in self.table.keys() {
            let text: &str = key.get_ref();
            if self.known.contains(&text) {
                continue;
            }
            let nearest = nearest(text, self.known.iter().copied());
            let problem =
                Problem::UnknownKey { key: self.key(text), nearest, known: self.known.clone() };
            report.error(self.file.place(key.span().start), problem);
        }
    }
}
