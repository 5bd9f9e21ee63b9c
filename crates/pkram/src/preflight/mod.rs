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
    /// An answer without a remedy.
    pub fn new(about: impl Into<String>, answer: Answer, reason: impl Into<String>) -> Self {
        Self { about: about.into(), answer, reason: reason.into(), remedy: None }
    }

    /// [`Answer::Yes`].
    pub fn yes(about: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(about, Answer::Yes, reason)
    }

    /// [`Answer::No`].
    pub fn no(about: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(about, Answer::No, reason)
    }

    /// Says what would change the answer.
    #[must_use]
    pub fn with_remedy(self, remedy: Option<impl Into<String>>) -> Self {
        Self { remedy: remedy.map(Into::into), ..self }
    }
}

/// A source that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which.
    pub spec: SourceSpec,
    /// Whether the answer is no where it cannot be kept; else the others go without it.
    pub required: bool,
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
    /// Asks about the kexec with these sources and options; the sources that can be kept are planned for; without a kernel, only about the machine
    /// and the sources.
    pub fn look(
        wanted: &[Wanted],
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
        let specs: Vec<_> = wanted.iter().map(|w| w.spec.clone()).collect();
        match source::add_each(&mut save, &specs, &BTreeSet::new()) {
            Err(error) => findings.push(Finding::no("sources", error.to_string())),
            Ok(added) => {
                findings.extend(wanted.iter().zip(added.outcomes).map(|(wanted, added)| {
                    let about = format!("source {}", wanted.spec.name);
                    let lost = if wanted.required { Answer::No } else { Answer::Unknown };
                    match added {
                        Ok(()) => Finding::yes(about, format!("{} can be kept", wanted.spec.what)),
                        Err(error) => {
                            Finding::new(about, lost, error.to_string()).with_remedy(error.remedy())
                        }
                    }
                }))
            }
        }
        let mut preflight = Self { findings, prepared: None };
        let Ok(options) = options else { return preflight };
        if save.is_empty() || !preflight.passed() {
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
