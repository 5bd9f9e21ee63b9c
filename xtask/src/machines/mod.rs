//! `cargo xtask machines`: what `pkram check` says, against what really happens.
//!
//! ```text
//! machine ─► check ─┬─ yes ─► kexec ─► all there? RAM as promised? memory back as promised?
//!                   └─ no ──► do it all the same ─► did it really fail, or come short?
//! ```

mod machine;
mod report;
mod trial;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};
use testbed::Testbed;

use report::{Report, Row};

/// Each machine keeps one processor busy.
const AT_ONCE: usize = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Their numbers; all without any
    numbers: Vec<usize>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Also write the table to docs/machines.md
    #[arg(long, conflicts_with = "numbers")]
    save: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let start = Instant::now();
    let say = |text: &str| eprintln!("{:6.1} s  {text}", start.elapsed().as_secs_f64());
    let bed = Testbed::prepare(false, &say)?;
    let mut machines = machine::machines();
    if !args.numbers.is_empty() {
        machines.retain(|m| args.numbers.contains(&m.number));
    }
    ensure!(!machines.is_empty(), "there are machines 1 to {}", machine::machines().len());
    let (next, rows) = (AtomicUsize::new(0), Mutex::new(Vec::<Row>::new()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(machine) = machines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = trial::row(&bed, machine);
                    say(&row.line());
                    rows.lock().unwrap_or_else(|e| e.into_inner()).push(row);
                }
            });
        }
    });
    let rows = rows.into_inner().unwrap_or_else(|e| e.into_inner());
    let report = Report::of(rows, bed.accelerator())?;
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.text());
    }
    if args.save {
        report.save()?;
    }
    ensure!(report.ok(), "check was wrong, or a machine could not be tried: see above");
    Ok(())
}
