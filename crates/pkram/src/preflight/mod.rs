//! The preflight: whether this exact kexec would work, as findings, each with a reason and, where
//! the answer is no, a remedy. Nothing is loaded, and nothing is left changed.
//!
//! ```text
//! machine ─► next kernel ─► sources ─► prepare: hold, plan, compose, check ─► findings of the plan
//!    all of these are asked, whatever the answers      only where none is no
//! ```

mod kernel;
mod machine;
mod outcome;

use crate::progress::Progress;
use crate::save::{NoKernel, Options, Prepared, prepare};
use crate::source::{self, SourceSpec};
use serde::Serialize;
use std::collections::BTreeSet;

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// As it must be.
    Yes,
    /// It cannot be told, or is worth a look; nothing is refused for it.
    Unknown,
    /// It would not work.
    No,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was asked about, in one or two words.
    pub about: String,
    /// The answer.
    pub answer: Answer,
    /// What it rests on.
    pub reason: String,
    /// What would change it.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(about: impl Into<String>, answer: Answer, reason: impl Into<String>) -> Self {
        Self { about: about.into(), answer, reason: reason.into(), remedy: None }
    }

    fn yes(about: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(about, Answer::Yes, reason)
    }

    fn no(about: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(about, Answer::No, reason)
    }

    #[must_use]
    fn with_remedy(self, remedy: Option<impl Into<String>>) -> Self {
        Self { remedy: remedy.map(Into::into), ..self }
    }
}

/// All answers, and what they are about.
#[derive(Debug)]
pub struct Preflight {
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
    /// What is ready to be loaded; none where an answer is no, or where there are no sources.
    pub prepared: Option<Prepared>,
}

impl Preflight {
    /// Asks about the kexec with these sources and options; without a kernel, only about the machine
    /// and the sources.
    pub fn look(
        specs: &[SourceSpec],
        options: &Result<Options, NoKernel>,
        progress: &dyn Progress,
    ) -> Self {
        let mut findings = machine::findings(options.as_ref().is_ok_and(|o| o.force));
        match options {
            Ok(options) => findings.extend(kernel::findings(options)),
            Err(none) => findings.push(
                Finding::no("next kernel", none.to_string()).with_remedy(Some("--kernel FILE")),
            ),
        }
        let mut save = crate::nodes::Save::new();
        match source::add_each(&mut save, specs, &BTreeSet::new()) {
            Err(error) => findings.push(Finding::no("sources", error.to_string())),
            Ok(added) => findings.extend(specs.iter().zip(added.outcomes).map(|(spec, added)| {
                let about = format!("source {}", spec.name);
                match added {
                    Ok(()) => Finding::yes(about, format!("{} can be kept", spec.what)),
                    Err(error) => Finding::no(about, error.to_string()).with_remedy(error.remedy()),
                }
            })),
        }
        let mut preflight = Self { findings, prepared: None };
        let Ok(options) = options else { return preflight };
        if specs.is_empty() || !preflight.passed() {
            return preflight;
        }
        match prepare(save, options, progress) {
            Ok(prepared) => {
                preflight.findings.extend(outcome::findings(&prepared));
                preflight.prepared = Some(prepared);
            }
            Err(error) => preflight.findings.push(outcome::refusal(&error)),
        }
        preflight
    }

    /// Whether no answer is no.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.answer != Answer::No)
    }
}
