//! Figures of one run, and rows of a table made from several runs.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What one run found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Figure {
    /// `group.what`, the same in every run.
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) unit: String,
    /// What exactly was measured.
    pub(super) about: String,
    /// What it must not exceed, if it is promised.
    pub(super) at_most: Option<f64>,
}

impl Figure {
    pub(super) fn new(name: &str, value: f64, unit: &str, about: impl Into<String>) -> Self {
        Self { name: name.into(), value, unit: unit.into(), about: about.into(), at_most: None }
    }

    pub(super) fn at_most(mut self, limit: f64) -> Self {
        self.at_most = Some(limit);
        self
    }
}

/// The same figure of all runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    /// The median of the runs.
    pub(super) value: f64,
    pub(super) unit: String,
    /// As they came.
    pub(super) runs: Vec<f64>,
    pub(super) about: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_most: Option<f64>,
}

impl Row {
    /// Whether no run broke the promise.
    pub(super) fn holds(&self) -> bool {
        self.at_most.is_none_or(|limit| self.runs.iter().all(|&run| run <= limit))
    }
}

/// Measures `count` times and puts the figures together.
pub(super) fn repeat(
    group: &str,
    count: usize,
    mut measure: impl FnMut() -> Result<Vec<Figure>>,
) -> Result<Vec<Row>> {
    let mut runs = Vec::new();
    for number in 1..=count {
        eprintln!("{group}: run {number} of {count}");
        runs.push(measure().with_context(|| format!("{group}, run {number}"))?);
    }
    rows(&runs)
}

fn rows(runs: &[Vec<Figure>]) -> Result<Vec<Row>> {
    let Some((first, rest)) = runs.split_first() else { return Ok(Vec::new()) };
    let row = |(i, figure): (usize, &Figure)| {
        let mut values = vec![figure.value];
        for run in rest {
            let same = run.get(i).filter(|other| other.name == figure.name);
            values.push(same.with_context(|| format!("a run without {}", figure.name))?.value);
        }
        ensure!(values.iter().all(|v| v.is_finite()), "{}: no number in {values:?}", figure.name);
        let Figure { name, unit, about, at_most, .. } = figure.clone();
        Ok(Row { name, value: median(&values), unit, runs: values, about, at_most })
    };
    first.iter().enumerate().map(row).collect()
}

/// The middle one, or the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    f64::midpoint(below, above)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(a: f64, b: f64) -> Vec<Figure> {
        vec![Figure::new("a", a, "s", ""), Figure::new("b", b, "%", "").at_most(2.0)]
    }

    #[test]
    fn rows_are_medians_by_name() {
        let table = rows(&[run(9.0, 1.0), run(1.0, 1.5), run(2.0, 2.0)]).unwrap();
        assert_eq!((table[0].value, table[1].value), (2.0, 1.5));
        assert_eq!(table[0].runs, [9.0, 1.0, 2.0]);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }

    #[test]
    fn one_run_above_the_limit_breaks_the_promise() {
        let holds = |b| rows(&[run(1.0, 1.0), run(1.0, b)]).unwrap()[1].holds();
        assert!(holds(2.0) && !holds(2.1));
    }

    #[test]
    fn runs_that_differ_in_kind_are_refused() {
        assert!(rows(&[run(1.0, 1.0), run(1.0, 1.0)[1..].to_vec()]).is_err());
        assert!(rows(&[run(f64::NAN, 1.0)]).is_err());
    }
}
