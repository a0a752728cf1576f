//! The figures of a run: a table for a person, one JSON object for a script.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// Name in the JSON.
    key: &'static str,
    /// Name in the table.
    label: &'static str,
    /// The figure; `None` when the server does not tell.
    value: Option<f64>,
}

/// The figures of one server.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    rows: Vec<Row>,
    /// What makes the run a failure.
    pub problems: Vec<String>,
}

impl Figures {
    /// Adds a figure.
    pub fn add(&mut self, key: &'static str, label: &'static str, value: f64) {
        self.add_if_known(key, label, Some(value));
    }

    /// Adds a figure that this server may not tell.
    pub fn add_if_known(&mut self, key: &'static str, label: &'static str, value: Option<f64>) {
        self.rows.push(Row { key, label, value: value.filter(|value| value.is_finite()) });
    }

    /// The median of each figure over several runs; what made any of them a failure makes this one.
    pub fn median(runs: Vec<Self>) -> Self {
        let mut all = runs.first().cloned().unwrap_or_default();
        for row in &mut all.rows {
            let mut values: Vec<f64> = runs.iter().filter_map(|run| run.value(row.key)).collect();
            values.sort_by(f64::total_cmp);
            row.value = values.get(values.len() / 2).copied();
        }
        all.problems = runs.into_iter().flat_map(|run| run.problems).collect();
        all
    }

    fn value(&self, key: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.key == key)?.value
    }

    fn json(&self) -> Value {
        self.rows.iter().map(|row| (row.key.to_owned(), json!(row.value))).collect::<Map<_, _>>().into()
    }
}

/// A run against a node, and perhaps the same run against the reference.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which run.
    pub run: &'static str,
    /// What it was asked to do, in a few words.
    pub parameters: Value,
    /// The node's figures.
    pub node: Figures,
    /// The reference's.
    pub reference: Option<Figures>,
}

impl Report {
    /// Whether nothing was lost or doubled and everything finished.
    pub fn passed(&self) -> bool {
        self.problems().next().is_none()
    }

    fn problems(&self) -> impl Iterator<Item = String> {
        let reference = self.reference.iter().flat_map(|figures| &figures.problems).map(|p| format!("reference: {p}"));
        self.node.problems.iter().cloned().chain(reference)
    }

    fn ratio(&self, key: &str) -> Option<f64> {
        let (node, reference) = (self.node.value(key)?, self.reference.as_ref()?.value(key)?);
        (reference > 0.0).then_some(node / reference)
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let ratio = self.reference.is_some().then(|| {
            let ratios =
                self.node.rows.iter().filter_map(|row| Some((row.key.to_owned(), json!(self.ratio(row.key)?))));
            Value::from(ratios.collect::<Map<_, _>>())
        });
        json!({
            "run": self.run,
            "parameters": self.parameters,
            "node": self.node.json(),
            "reference": self.reference.as_ref().map(Figures::json),
            "ratio": ratio,
            "problems": self.problems().collect::<Vec<_>>(),
            "passed": self.passed(),
        })
    }

    /// An aligned table.
    pub fn table(&self) -> String {
        let parameters = self.parameters.as_object().into_iter().flatten();
        let parameters: Vec<String> = parameters.map(|(key, value)| format!("{key} {value}")).collect();
        let mut lines = vec![["figure".to_owned(), "node".to_owned(), String::new(), String::new()]];
        if self.reference.is_some() {
            lines[0][2] = "reference".to_owned();
            lines[0][3] = "ratio".to_owned();
        }
        for row in &self.node.rows {
            let reference = self.reference.as_ref().map(|figures| shown(figures.value(row.key))).unwrap_or_default();
            let ratio = self.ratio(row.key).map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
            lines.push([row.label.to_owned(), shown(row.value), reference, ratio]);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2), width(3)];
        let mut out = format!("{} ({})\n\n", self.run, parameters.join(", "));
        for [label, node, reference, ratio] in &lines {
            let line = format!(
                "{label:<a$}  {node:>b$}  {reference:>c$}  {ratio:>d$}",
                a = widths[0],
                b = widths[1],
                c = widths[2],
                d = widths[3]
            );
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", line.trim_end());
        }
        for problem in self.problems() {
            let _ = writeln!(out, "\nFAILED: {problem}");
        }
        out
    }
}

fn shown(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 1000.0 => grouped(value),
        Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
        Some(value) if value.abs() < 0.1 => format!("{value:.4}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut node = Figures::default();
        node.add("rate", "deliveries a second", 1_234_567.0);
        node.add("lost", "lost", 0.0);
        let mut reference = Figures::default();
        reference.add("rate", "deliveries a second", 2_469_134.0);
        Report { run: "fanout", parameters: json!({"members": 10}), node, reference: Some(reference) }
    }

    #[test]
    fn the_table_is_aligned_and_shows_the_ratio() {
        let table = report().table();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "fanout (members 10)");
        assert_eq!(lines[2], "figure                    node  reference  ratio");
        assert_eq!(lines[3], "deliveries a second  1,234,567  2,469,134   0.50");
        assert_eq!(lines[4], "lost                         0          -");
    }

    #[test]
    fn the_median_of_runs_keeps_every_problem() {
        let runs = [3.0, 1.0, 2.0].map(|rate| {
            let mut run = Figures::default();
            run.add("rate", "deliveries a second", rate);
            run
        });
        let mut runs = Vec::from(runs);
        runs[1].problems.push("1 lost".to_owned());
        let median = Figures::median(runs);
        assert_eq!((median.value("rate"), median.problems.len()), (Some(2.0), 1));
    }

    #[test]
    fn a_problem_makes_the_run_fail_and_stands_in_the_json() {
        let mut report = report();
        assert!(report.passed());
        report.node.problems.push("3 lost".to_owned());
        assert!(!report.passed());
        assert_eq!(report.json()["problems"], json!(["3 lost"]));
        assert_eq!(report.json()["ratio"]["rate"], json!(0.5));
    }
}
