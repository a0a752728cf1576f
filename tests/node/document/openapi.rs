//! The description of the HTTP API, held to the node: it has every route and no other, its examples are taken, and what is
//! really asked and answered is as its schemas say (`scripts/check-openapi` knows those).

use std::{collections::BTreeSet, path::Path, process::Command};

use serde_json::{Value, json};

use super::over_http::routes;
use crate::support::{
    Node,
    http::{self, Response},
};

/// Where the examples' answers may be read; the others are streams and upgrades.
const HAVE_NO_BODY: [&str; 3] = ["/v1/tenants/{tenant}/stream", "/ws", "/ws/sync"];

/// Where a node that asks for no tokens lets everybody look.
const IS_OPEN: [&str; 5] =
    ["/v1/admin/nodes", "/v1/admin/rooms", "/v1/admin/sessions", "/v1/admin/journal", "/v1/admin/shards"];

fn description() -> Value {
    serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("JSON")
}

/// What was asked and answered, as the script reads it.
pub fn exchange((method, target): (&str, &str), sent: &[(&str, &str)], content: &str, answer: &Response) -> Value {
    json!({
        "method": method, "target": target, "sent": sent, "content": content,
        "status": answer.status, "headers": answer.headers, "body": answer.text(),
    })
}

/// Holds exchanges to the description.
pub fn hold_to_the_description(exchanges: &[Value]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = root.join(".tools/venv/bin/python");
    assert!(python.exists(), "{} is missing: run scripts/setup", python.display());
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    std::fs::write(file.path(), Value::from(exchanges).to_string()).expect("it can be written");
    let checked = Command::new(python).arg(root.join("scripts/check-openapi")).arg(file.path()).output();
    let checked = checked.expect("Python can be started");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// The operations: method, path, what is said of it, and its parameters.
fn operations(description: &Value) -> Vec<(String, String, Value, Vec<Value>)> {
    let mut operations = Vec::new();
    for (path, item) in description["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods").iter().filter(|(name, _)| *name != "parameters") {
            let lists = [&item["parameters"], &operation["parameters"]];
            let parameters = lists.into_iter().filter_map(Value::as_array).flatten().map(|parameter| {
                let pointer = parameter["$ref"].as_str().and_then(|place| place.strip_prefix('#'));
                pointer.map_or(parameter, |pointer| description.pointer(pointer).expect("it is there")).clone()
            });
            operations.push((method.to_ascii_uppercase(), path.clone(), operation.clone(), parameters.collect()));
        }
    }
    operations
}

#[test]
fn the_description_has_every_route_and_no_other() {
    let described: BTreeSet<_> =
        operations(&description()).into_iter().map(|(method, path, ..)| (method, path)).collect();
    let served: BTreeSet<_> = routes().into_iter().collect();
    assert_eq!(described, served);
}

#[tokio::test]
async fn every_described_operation_is_there_and_takes_its_examples() {
    let node = Node::start(&[]).await;
    let mut operations = operations(&description());
    // What makes the entity of the examples comes first, what takes it away last.
    operations.sort_by_key(|(method, ..)| ["PUT", "POST", "PATCH", "GET", "DELETE"].iter().position(|m| m == method));
    let mut exchanges = Vec::new();
    for (method, path, operation, parameters) in operations {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut target = path.clone();
        let mut query = Vec::new();
        for parameter in parameters.iter().filter(|parameter| parameter.get("example").is_some()) {
            let (name, example) = (text(&parameter["name"]), text(&parameter["example"]));
            match parameter["in"].as_str() {
                Some("path") => target = target.replace(&format!("{{{name}}}"), &example),
                _ => query.push(format!("{name}={example}")),
            }
        }
        let target = format!("{target}?{}", query.join("&"));
        let contents = operation["requestBody"]["content"].as_object().cloned().unwrap_or_default();
        let bodies = contents.iter().map(|(media, content)| (Some(media.as_str()), content["example"].to_string()));
        let bodies = if contents.is_empty() { vec![(None, String::new())] } else { bodies.collect() };
        for (media, body) in bodies {
            let headers: Vec<_> = media.map(|media| ("Content-Type", media)).into_iter().collect();
            let answer = http::send(node.address(), &method, &target, &headers, body.as_bytes()).await;
            if HAVE_NO_BODY.contains(&path.as_str()) {
                assert!([200, 426].contains(&answer.status), "{method} {target}: {answer:?}");
                continue;
            }
            let is_admins = path.starts_with("/v1/admin/") && !IS_OPEN.contains(&path.as_str())
                || ["/v1/tenants/{tenant}", "/v1/tenants/{tenant}/export", "/v1/tenants/{tenant}/import"]
                    .contains(&path.as_str());
            if is_admins || path == "/v1/tickets" {
                // Taken by nodes that ask for tokens: `tokens.rs`.
                answer.problem(403, "switched_off");
            } else if answer.status >= 400 {
                // The conflict that is settled is nobody's, and nothing was erased.
                let codes = [("/{conflict}", "no_such_conflict"), ("/{receipt}", "not_found")];
                let code = codes.iter().find(|(end, _)| path.ends_with(end)).map(|(_, code)| code);
                answer.problem(404, code.unwrap_or_else(|| panic!("{method} {target}: {answer:?} {}", answer.text())));
            }
            exchanges.push(exchange((&method, &target), &headers, &body, &answer));
        }
    }
    hold_to_the_description(&exchanges);
}

#[tokio::test]
async fn the_description_is_served_as_it_stands() {
    let node = Node::start(&[]).await;
    let answer = node.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.json(), description());
    assert_eq!(node.get("/").await.json()["links"]["description"], "/openapi.json");
}
