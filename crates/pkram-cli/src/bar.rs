//! Progress on a terminal, for what takes longer than a second.

use indicatif::{ProgressBar, ProgressStyle};
use pkram::progress::Progress;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is shown is worth showing after this long.
const WAIT: Duration = Duration::from_secs(1);

/// Bars on stderr.
#[derive(Debug)]
pub(crate) struct Bars {
    shown: bool,
    stage: Mutex<Option<Stage>>,
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    total: u64,
    done: u64,
    since: Instant,
    bar: Option<ProgressBar>,
}

impl Bars {
    pub(crate) fn new(quiet: bool) -> Self {
        Self { shown: !quiet && std::io::stderr().is_terminal(), stage: Mutex::new(None) }
    }

    fn with(&self, act: impl FnOnce(&mut Option<Stage>)) {
        if self.shown {
            // A poisoned lock can only mean that another thread panicked: then no bars.
            if let Ok(mut stage) = self.stage.lock() {
                act(&mut stage);
            }
        }
    }
}

impl Progress for Bars {
    fn begin(&self, name: &'static str, total: u64) {
        self.with(|stage| {
            *stage = Some(Stage { name, total, done: 0, since: Instant::now(), bar: None });
        });
    }

    fn advance(&self, units: u64) {
        self.with(|stage| {
            let Some(stage) = stage else { return };
            stage.done += units;
            if stage.bar.is_none() && stage.since.elapsed() > WAIT {
                let style = ProgressStyle::with_template("{msg:10} {wide_bar} {percent:>3}% {eta}");
                let bar = ProgressBar::new(stage.total).with_message(stage.name);
                stage.bar = style.ok().map(|style| bar.with_style(style));
            }
            if let Some(bar) = &stage.bar {
                bar.set_position(stage.done);
            }
        });
    }

    fn end(&self) {
        self.with(|stage| {
            if let Some(bar) = stage.take().and_then(|s| s.bar) {
                bar.finish_and_clear();
            }
        });
    }
}
