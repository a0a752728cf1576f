//! `continuum doctor`: would a node start with these settings here, and how do the things stand that it needs?
//!
//! Owns: the report and the exit code. Must not: change anything. What NATS must be is said in the backbone.

mod machine;
mod monitoring;

use std::{fmt::Write as _, io::Write as _, process::ExitCode};

use serde_json::{Value, json};

use super::ServeArgs;
use crate::{
    backbone::nats,
    config::{BackboneKind, Loaded},
    model::finding::{Finding, Verdict},
    node,
};

const CONFIGURATION: &str = "configuration";

/// Options of `continuum doctor`: those of `serve`, and how to print.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: ServeArgs,
    /// Monitoring address of a nats-server, e.g. 127.0.0.1:8222: tells how often it flushes and what fits [default: not asked]
    #[arg(long, value_name = "HOST:PORT")]
    nats_monitoring: Option<String>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Looks at everything: 0 when nothing is wrong, else 1.
///
/// # Errors
///
/// When there is no runtime, or standard output cannot be written.
pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Args { node, nats_monitoring, json } = args;
    let findings = match node.into_settings().load() {
        Ok(loaded) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(examine(&loaded, nats_monitoring.as_deref()))
        }
        Err(error) => {
            vec![Finding::wrong(CONFIGURATION, error.to_string(), "nothing else was looked at")]
        }
    };
    let report = if json { format!("{:#}\n", as_json(&findings)) } else { as_text(&findings) };
    std::io::stdout().write_all(report.as_bytes())?;
    Ok(if count(&findings, Verdict::Wrong) == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(loaded: &Loaded, monitoring: Option<&str>) -> Vec<Finding> {
    let config = &loaded.config;
    let mut findings = machine::configuration(loaded);
    findings.extend(machine::data_dir(config));
    findings.push(machine::port(&config.server).await);
    findings.extend(machine::certificate(&config.server));
    findings.extend(machine::rules(config).await);
    findings.push(machine::log(config).await);
    if config.backbone.kind == BackboneKind::Nats {
        findings.extend(nats::examine(&node::nats_config(config)).await);
        findings.extend(monitoring::findings(monitoring, config).await);
    }
    findings
}

fn count(findings: &[Finding], verdict: Verdict) -> usize {
    findings.iter().filter(|finding| finding.verdict == verdict).count()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fine => "ok",
        Verdict::Warning => "warning",
        Verdict::Wrong => "wrong",
    }
}

/// One line a finding, and one that sums up.
fn as_text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.area.len()).max().unwrap_or_default();
    let mut text = String::new();
    for Finding { area, verdict, what, mend } in findings {
        let mend = mend.as_ref().map(|mend| format!("; mend: {mend}")).unwrap_or_default();
        // Errors of others may have several lines; a finding has one. Writing to a String does not fail, here and below.
        let told = format!("{what}{mend}").split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(text, "{:<7}  {area:<width$}  {told}", word(*verdict));
    }
    let (wrong, warnings) = (count(findings, Verdict::Wrong), count(findings, Verdict::Warning));
    let _ = match wrong {
        0 => writeln!(text, "\nnothing is wrong, {warnings} to be warned of"),
        _ => writeln!(text, "\n{wrong} wrong, {warnings} to be warned of"),
    };
    text
}

fn as_json(findings: &[Finding]) -> Value {
    let told = |finding: &Finding| {
        let Finding { area, verdict, what, mend } = finding;
        json!({ "area": area, "verdict": word(*verdict), "what": what, "mend": mend })
    };
    json!({
        "wrong": count(findings, Verdict::Wrong),
        "warnings": count(findings, Verdict::Warning),
        "findings": findings.iter().map(told).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings() -> Vec<Finding> {
        vec![
            Finding::fine("port", "127.0.0.1:8420 is free"),
            Finding::warning("nats", "one copy", "set nats.replicas = 3"),
            Finding::wrong("data directory", "cannot be\n written", "chown it"),
        ]
    }

    #[test]
    fn the_report_is_aligned_one_line_a_finding() {
        let text = as_text(&findings());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "ok       port            127.0.0.1:8420 is free");
        assert_eq!(lines[1], "warning  nats            one copy; mend: set nats.replicas = 3");
        assert_eq!(lines[2], "wrong    data directory  cannot be written; mend: chown it");
        assert_eq!(lines[4], "1 wrong, 1 to be warned of");
        assert!(as_text(&findings()[..2]).ends_with("\nnothing is wrong, 1 to be warned of\n"));
    }

    #[test]
    fn the_json_counts_and_lists() {
        let report = as_json(&findings());
        assert_eq!((&report["wrong"], &report["warnings"]), (&json!(1), &json!(1)));
        assert_eq!(
            report["findings"][0],
            json!({
                "area": "port", "verdict": "ok", "what": "127.0.0.1:8420 is free", "mend": null
            })
        );
    }
}
