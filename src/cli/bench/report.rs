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

/// The same run against something else.
#[derive(Clone, Debug)]
pub struct Beside {
    /// What it is called in the table.
    pub name: &'static str,
    /// Name of its figures in the JSON.
    pub key: &'static str,
    /// Name in the JSON of what the node's figures are to these.
    pub ratio: &'static str,
    /// Its figures.
    pub figures: Figures,
}

/// A run against a node, and perhaps the same run against others.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which run.
    pub run: &'static str,
    /// What it was asked to do, in a few words.
    pub parameters: Value,
    /// The node's figures.
    pub node: Figures,
    /// The others'.
    pub beside: Vec<Beside>,
}

impl Report {
    /// Whether nothing was lost or doubled and everything finished.
    pub fn passed(&self) -> bool {
        self.problems().next().is_none()
    }

    fn problems(&self) -> impl Iterator<Item = String> {
        let others = self.beside.iter().flat_map(|Beside { name, figures, .. }| {
            figures.problems.iter().map(move |problem| format!("{name}: {problem}"))
        });
        self.node.problems.iter().cloned().chain(others)
    }

    fn ratio(&self, key: &str, beside: &Beside) -> Option<f64> {
        let (node, other) = (self.node.value(key)?, beside.figures.value(key)?);
        (other > 0.0).then_some(node / other)
    }

    /// One JSON object.
    pub fn json(&self) -> Value {
        let mut report = json!({
            "run": self.run,
            "parameters": self.parameters,
            "node": self.node.json(),
            "reference": null,
            "ratio": null,
            "problems": self.problems().collect::<Vec<_>>(),
            "passed": self.passed(),
        });
        for beside in &self.beside {
            let ratio = |row: &Row| Some((row.key.to_owned(), json!(self.ratio(row.key, beside)?)));
            report[beside.key] = beside.figures.json();
            report[beside.ratio] = self.node.rows.iter().filter_map(ratio).collect::<Map<_, _>>().into();
        }
        report
    }

    /// An aligned table.
    pub fn table(&self) -> String {
        let parameters = self.parameters.as_object().into_iter().flatten();
        let parameters: Vec<String> = parameters.map(|(key, value)| format!("{key} {value}")).collect();
        let mut lines = vec![vec!["figure".to_owned(), "node".to_owned()]];
        lines[0].extend(self.beside.iter().flat_map(|beside| [beside.name.to_owned(), "ratio".to_owned()]));
        for row in &self.node.rows {
            let mut line = vec![row.label.to_owned(), shown(row.value)];
            for beside in &self.beside {
                let ratio = self.ratio(row.key, beside).map(|ratio| format!("{ratio:.2}"));
                line.extend([shown(beside.figures.value(row.key)), ratio.unwrap_or_default()]);
            }
            lines.push(line);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..lines[0].len()).map(width).collect();
        let mut out = format!("{} ({})\n\n", self.run, parameters.join(", "));
        for line in &lines {
            let mut cells = vec![format!("{:<width$}", line[0], width = widths[0])];
            cells.extend(line.iter().zip(&widths).skip(1).map(|(cell, width)| format!("{cell:>width$}")));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{}", cells.join("  ").trim_end());
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
        let mut figures = Figures::default();
        figures.add("rate", "deliveries a second", 2_469_134.0);
        let reference = Beside { name: "reference", key: "reference", ratio: "ratio", figures };
        Report { run: "fanout", parameters: json!({"members": 10}), node, beside: vec![reference] }
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
