//! Shared state without a socket: one entity, its versions, and lists of operations. `state_over_http` has the listings.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::{Client, Node, Port, http, http::Response, new_id, until};

const ENTITIES: &str = "/v1/tenants/t/entities";
pub const JSON: (&str, &str) = ("Content-Type", "application/json");
pub const MERGE: (&str, &str) = ("Content-Type", "application/merge-patch+json");
pub const PATCH: (&str, &str) = ("Content-Type", "application/json-patch+json");

pub async fn ask(node: &Node, method: &str, target: &str, headers: &[(&str, &str)], body: &Value) -> Response {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    http::send(node.address(), method, &format!("{ENTITIES}/{target}"), headers, body.as_bytes()).await
}

pub async fn put(node: &Node, target: &str, body: Value) -> Response {
    ask(node, "PUT", target, &[JSON], &body).await
}

pub async fn get(node: &Node, target: &str) -> Response {
    node.get(&format!("{ENTITIES}/{target}")).await
}

pub fn version(answer: &Response) -> u64 {
    answer.json()["version"].as_u64().unwrap_or_else(|| panic!("a version in {}", answer.json()))
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

#[tokio::test]
async fn an_entity_is_made_read_changed_and_deleted() {
    let node = Node::start(&[]).await;
    let mut reader = node.join("t", "reader").await;
    get(&node, "note/n1").await.problem(404, "not_found");
    let made = put(&node, "note/n1?instance_id=desk&user_id=ann&user_name=Ann", json!({"title": "one", "n": 1})).await;
    assert_eq!(made.status, 201, "{made:?}");
    let answer = made.json();
    let first = version(&made);
    assert_eq!((&answer["outcome"], &answer["entity_id"]), (&json!("confirmed"), &json!("n1")), "{answer}");
    assert_eq!(made.header("etag"), Some(&*etag(first)));
    let seen = reader.record().await;
    assert_eq!((&seen["seq"], &seen["data"]["event"]["data"]["title"]), (&json!(first), &json!("one")), "{seen}");

    let patched = ask(&node, "PATCH", "note/n1", &[MERGE], &json!({"title": "two", "n": null})).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let ops = json!([{"op": "test", "path": "/title", "value": "two"}, {"op": "add", "path": "/tags", "value": ["a"]}]);
    let patched = ask(&node, "PATCH", "note/n1", &[PATCH], &ops).await;
    assert_eq!(patched.status, 200, "{patched:?}");
    let second = version(&patched);
    let shown = get(&node, "note/n1").await;
    assert_eq!((shown.status, shown.header("etag")), (200, Some(&*etag(second))));
    let entity = shown.json();
    assert_eq!(entity["data"], json!({"title": "two", "tags": ["a"]}), "{entity}");
    assert_eq!(entity["created"]["by"], json!({"instance_id": "desk", "user_id": "ann", "user_name": "Ann"}));
    assert!(entity["created"]["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{entity}");
    assert!(entity["changed"]["by"].get("user_id").is_none(), "{entity}");
    assert_eq!((&entity["conflicts"], &entity["variants"]), (&json!([]), &json!([])));
    let (name, value) = ("If-None-Match", format!("\"x\", W/{}", etag(second)));
    let same = ask(&node, "GET", "note/n1", &[(name, &value)], &Value::Null).await;
    assert_eq!((same.status, same.body.len(), same.header("etag")), (304, 0, Some(&*etag(second))));
    let other = ask(&node, "GET", "note/n1", &[(name, &etag(first))], &Value::Null).await;
    assert_eq!(other.status, 200);

    let then = get(&node, &format!("note/n1?version={first}")).await;
    assert_eq!((then.status, then.json()["data"].clone()), (200, json!({"title": "one", "n": 1})));
    for other in [first + 100_000, 1 << 60] {
        get(&node, &format!("note/n1?version={other}")).await.problem(404, "version_gone");
    }
    put(&node, "note/n2", json!({})).await;
    let others = version(&get(&node, "note/n2").await);
    get(&node, &format!("note/n1?version={others}")).await.problem(404, "version_gone");

    let replaced = put(&node, "note/n1", json!({"title": "three"})).await;
    assert_eq!(replaced.status, 200);
    assert_eq!(get(&node, "note/n1").await.json()["data"], json!({"title": "three"}));
    let gone = ask(&node, "DELETE", "note/n1", &[], &Value::Null).await;
    assert_eq!((gone.status, gone.header("etag")), (200, None), "nothing stands there");
    let problem = get(&node, "note/n1").await.problem(410, "deleted");
    assert_eq!(problem["version"], version(&gone));
    assert_eq!(ask(&node, "DELETE", "note/n1", &[], &Value::Null).await.status, 200, "gone already");
    ask(&node, "DELETE", "note/never", &[], &Value::Null).await.problem(404, "not_found");
    let problem = ask(&node, "PATCH", "note/n1", &[MERGE], &json!({"a": 1})).await.problem(410, "deleted");
    assert_eq!((&problem["outcome"], &problem["current"]), (&json!("rollback"), &Value::Null));
    let again = put(&node, "note/n1", json!({"title": "four"})).await;
    assert_eq!(again.status, 201, "made anew");
}

#[tokio::test]
async fn every_id_of_an_entity_has_its_path() {
    let node = Node::start(&[]).await;
    let ids = [
        "a/b",
        "a/b/versions",
        "..",
        ".",
        "%2F",
        "a%b",
        "a+b c",
        "ü🌗",
        "a?b#c",
        "\"'\\",
        "a;b=c",
        "conflicts",
        "{id}",
    ];
    let path = |id: &str| -> String { id.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    for id in ids {
        let made = put(&node, &format!("note/{}", path(id)), json!({"name": id})).await;
        assert_eq!((made.status, &made.json()["entity_id"]), (201, &json!(id)), "{made:?}");
    }
    for id in ids {
        let entity = get(&node, &format!("note/{}", path(id))).await.json();
        assert_eq!((&entity["entity_id"], &entity["data"]["name"]), (&json!(id), &json!(id)));
        let versions = get(&node, &format!("note/{}/versions", path(id))).await.json();
        assert_eq!((&versions["entity_id"], versions["versions"].as_array().map(Vec::len)), (&json!(id), Some(1)));
    }
    // Each way to write a character, of which some need no encoding.
    assert_eq!(get(&node, "note/a%2fb").await.json()["entity_id"], "a/b");
    assert_eq!(get(&node, "note/%61%2f%62").await.json()["entity_id"], "a/b");
    assert_eq!(get(&node, "note/a+b%20c").await.json()["entity_id"], "a+b c");
    let long = "ü".repeat(128);
    assert_eq!(put(&node, &format!("note/{}", path(&long)), json!({})).await.status, 201);
    for bad in [
        "note/%FF",
        "note/%C3",
        "note/a%00b",
        "note/%0A",
        "no%20te/a",
        "note.x/a",
        &format!("note/{}", "x".repeat(257)),
    ] {
        get(&node, bad).await.problem(400, "invalid_entity");
        put(&node, bad, json!({})).await.problem(400, "invalid_entity");
        get(&node, &format!("{bad}/versions")).await.problem(400, "invalid_entity");
    }
    for bad in ["note/", "note", "note/a/b", "note/a/conflicts/x/y"] {
        get(&node, bad).await.problem(404, "not_found");
    }
    node.get("/v1/tenants/%FF/entities/note/a").await.problem(400, "invalid_tenant");
}

#[tokio::test]
async fn preconditions_are_strict_and_say_what_stands() {
    let node = Node::start(&[]).await;
    let first = version(&put(&node, "note/n", json!({"a": 1})).await);
    let second = version(&put(&node, "note/n", json!({"a": 2})).await);
    let (old, now) = (etag(first), etag(second));
    for (method, media) in [("PUT", JSON), ("PATCH", MERGE), ("DELETE", JSON)] {
        for header in [("If-Match", &*old), ("If-Match", "\"999999\""), ("If-None-Match", "*")] {
            let refused = ask(&node, method, "note/n", &[media, header], &json!({"a": 3})).await;
            let problem = refused.problem(412, "precondition_failed");
            assert_eq!((&problem["version"], &problem["current"]), (&json!(second), &json!({"a": 2})), "{problem}");
        }
        for header in [("If-Match", "*"), ("If-Match", &*now)] {
            ask(&node, method, "note/never", &[media, header], &json!({"a": 3}))
                .await
                .problem(412, "precondition_failed");
        }
    }
    let done = ask(&node, "PATCH", "note/n", &[MERGE, ("If-Match", &now)], &json!({"b": 1})).await;
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(ask(&node, "PUT", "note/n", &[JSON, ("If-Match", "*")], &json!({"a": 4})).await.status, 200);
    assert_eq!(ask(&node, "PUT", "note/new", &[JSON, ("If-None-Match", "*")], &json!({})).await.status, 201);
    let last = version(&get(&node, "note/n").await);
    assert_eq!(ask(&node, "DELETE", "note/n", &[("If-Match", &etag(last))], &Value::Null).await.status, 200);
    let gone = ask(&node, "PUT", "note/n", &[JSON, ("If-Match", "*")], &json!({})).await;
    assert_eq!(gone.problem(412, "precondition_failed")["current"], Value::Null);
    assert_eq!(ask(&node, "PUT", "note/n", &[JSON, ("If-None-Match", "*")], &json!({})).await.status, 201);
}

#[tokio::test]
async fn of_many_with_the_same_precondition_exactly_one_wins() {
    let node = Node::start(&[]).await;
    let mut base = version(&put(&node, "note/n", json!({"n": 0})).await);
    for round in 1..=5 {
        let tag = etag(base);
        let bodies: Vec<_> = (0..20).map(|n| json!({"n": n, "round": round})).collect();
        let headers = [JSON, ("If-Match", &*tag)];
        let answers = join_all(bodies.iter().map(|body| ask(&node, "PUT", "note/n", &headers, body))).await;
        let won: Vec<_> = (0..20).filter(|n| answers[*n].status == 200).collect();
        let [winner] = won[..] else { panic!("{won:?} won") };
        base = version(&answers[winner]);
        for (n, answer) in answers.iter().enumerate().filter(|(n, _)| *n != winner) {
            let problem = answer.problem(412, "precondition_failed");
            assert_eq!(problem["version"], base, "{n}");
            assert_eq!(problem["current"], json!({"n": winner, "round": round}));
        }
        assert_eq!(get(&node, "note/n").await.json()["data"]["n"], winner);
    }
    let headers = [JSON, ("If-None-Match", "*")];
    let body = json!({});
    let answers = join_all((0..20).map(|_| ask(&node, "PUT", "note/fresh", &headers, &body))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.status == 412).count(), 19);
}

#[tokio::test]
async fn requests_without_a_name_are_strangers_to_each_other() {
    let node = Node::start(&[]).await;
    let base = version(&put(&node, "note/n", json!({"a": 1, "b": 1})).await);
    let on = |more: &str| format!("note/n?base_version={base}{more}");
    assert_eq!(ask(&node, "PATCH", &on(""), &[MERGE], &json!({"a": 2})).await.status, 200);
    let late = ask(&node, "PATCH", &on(""), &[MERGE], &json!({"a": 3, "b": 3})).await;
    let answer = late.json();
    assert_eq!((late.status, &answer["outcome"]), (200, &json!("conflict_resolved")), "{answer}");
    assert_eq!(answer["overwritten"][0]["path"], "/a", "{answer}");
    assert_eq!(answer["overwritten"][0]["value"], 2);
    assert_eq!(late.header("etag"), None, "others' writes are in it");
    // Under one name, what one wrote oneself is no surprise.
    for n in 4..6 {
        let own = ask(&node, "PATCH", &on("&replica_id=me"), &[MERGE], &json!({"c": n})).await;
        assert_eq!(own.json()["outcome"], "confirmed", "{own:?}");
        let own = ask(&node, "PATCH", &on("&instance_id=desk"), &[MERGE], &json!({"d": n})).await;
        assert_eq!(own.json()["outcome"], "confirmed", "{own:?}");
    }
    let kept = ask(&node, "PATCH", &on("&strategy=version"), &[MERGE], &json!({"a": 9})).await;
    assert_eq!((kept.status, &kept.json()["resolution"]), (200, &json!("variant")), "{kept:?}");
    assert_eq!(get(&node, "note/n").await.json()["variants"][0]["proposed"], json!({"a": 9}));
    let ahead = ask(&node, "PATCH", "note/n?base_version=99999999", &[MERGE], &json!({"a": 9})).await;
    ahead.problem(409, "version_ahead");
}

#[tokio::test]
async fn an_idempotency_key_is_good_for_one_change_also_across_a_crash() {
    let mut node = Node::start(&[]).await;
    put(&node, "note/n", json!({"n": 0})).await;
    let (uuid, text) = (new_id(), "order 66");
    let patch = json!([{"op": "add", "path": "/list/-", "value": 1}]);
    put(&node, "note/n", json!({"list": []})).await;
    let mut first = Vec::new();
    for round in 0..3 {
        for (index, key) in [&*uuid, text].into_iter().enumerate() {
            for (who, target) in ["note/n", "note/n?instance_id=a"].into_iter().enumerate() {
                // A UUID is one operation, whoever sends it.
                if key == uuid && who == 1 {
                    continue;
                }
                let answer = ask(&node, "PATCH", target, &[PATCH, ("Idempotency-Key", key)], &patch).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                let seen = (version(&answer), index, who);
                if round == 0 {
                    first.push(seen);
                } else {
                    assert_eq!(answer.json()["duplicate"], true, "{answer:?}");
                    assert!(first.contains(&seen), "{seen:?} of {first:?}");
                }
            }
        }
        if round == 1 {
            node.kill9().await;
            node.restart(Port::New).await;
        }
    }
    assert_eq!(get(&node, "note/n").await.json()["data"], json!({"list": [1, 1, 1]}));
    // The same key with another content is another request, where nobody says who sends it.
    let other = json!([{"op": "add", "path": "/list/-", "value": 2}]);
    ask(&node, "PATCH", "note/n", &[PATCH, ("Idempotency-Key", text)], &other).await;
    assert_eq!(get(&node, "note/n").await.json()["data"], json!({"list": [1, 1, 1, 2]}));
}

#[tokio::test]
async fn bad_requests_have_their_codes_and_change_nothing() {
    let settings =
        [("limits.max_message_bytes", "2000"), ("limits.http_body_bytes", "9000"), ("limits.json_depth", "9")];
    let node = Node::start(&settings).await;
    let base = version(&put(&node, "note/n", json!({"text": "abc", "list": [1]})).await);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(20), "]".repeat(20));
    let large = json!({"text": "x".repeat(3_000)}).to_string();
    let bad_patch = json!([{"op": "remove", "path": "/nothing"}]).to_string();
    let failing = json!([{"op": "test", "path": "/text", "value": "x"}]).to_string();
    let blanks = format!("{{\"more\":1{}}}", " ".repeat(3_000));
    let grown = json!({"more": "x".repeat(1_950)}).to_string();
    let (octets, none) = (("Content-Type", "text/plain"), ("X-Nothing", "x"));
    type Case<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, &'a str, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("PUT", "note/n", vec![JSON], "", 400, "invalid_json"),
        ("PUT", "note/n", vec![JSON], "{", 400, "invalid_json"),
        ("PUT", "note/n", vec![JSON], "{\"a\":\"\\ud800\"}", 400, "invalid_json"),
        ("PUT", "note/n", vec![JSON], "[]", 400, "invalid_operation"),
        ("PUT", "note/n", vec![JSON], "7", 400, "invalid_operation"),
        ("PUT", "note/n", vec![JSON], &deep, 400, "too_deep"),
        ("PUT", "note/n", vec![JSON], &large, 413, "too_large"),
        ("PUT", "note/n", vec![octets], "{}", 415, "unsupported_media_type"),
        ("PUT", "note/n", vec![PATCH], "[]", 415, "unsupported_media_type"),
        ("PATCH", "note/n", vec![none], "{}", 415, "unsupported_media_type"),
        ("PATCH", "note/n", vec![octets], "{}", 415, "unsupported_media_type"),
        ("PATCH", "note/n", vec![MERGE], "[]", 400, "invalid_operation"),
        ("PATCH", "note/n", vec![MERGE], &grown, 413, "too_large"),
        ("PATCH", "note/n", vec![MERGE], &blanks, 413, "too_large"),
        ("PATCH", "note/n", vec![PATCH], "{}", 400, "invalid_operation"),
        ("PATCH", "note/n", vec![PATCH], "[{\"op\":\"jump\"}]", 400, "invalid_operation"),
        ("PATCH", "note/n", vec![PATCH], &bad_patch, 422, "patch_failed"),
        ("PATCH", "note/n", vec![PATCH], &failing, 422, "test_failed"),
        ("PATCH", "note/never", vec![MERGE], "{}", 404, "not_found"),
        ("PATCH", "note/n?base_version=x", vec![MERGE], "{}", 400, "invalid_parameter"),
        ("PATCH", "note/n?base_version=-1", vec![MERGE], "{}", 400, "invalid_parameter"),
        ("PATCH", "note/n?strategy=hope", vec![MERGE], "{}", 400, "invalid_operation"),
        ("PATCH", "note/n?instance_id=", vec![MERGE], "{}", 400, "invalid_instance"),
        ("PATCH", "note/n?instance_id=%00", vec![MERGE], "{}", 400, "invalid_instance"),
        ("PATCH", "note/n?user_id=%0A", vec![MERGE], "{}", 400, "invalid_parameter"),
        ("PATCH", "note/n?replica_id=", vec![MERGE], "{}", 400, "invalid_operation"),
        ("PUT", "note/n", vec![JSON, ("If-Match", "5")], "{}", 400, "invalid_parameter"),
        ("PUT", "note/n", vec![JSON, ("If-Match", "\"a\"")], "{}", 400, "invalid_parameter"),
        ("PUT", "note/n", vec![JSON, ("If-Match", "\"1\", \"2\"")], "{}", 400, "invalid_parameter"),
        ("PUT", "note/n", vec![JSON, ("If-Match", "W/\"1\"")], "{}", 400, "invalid_parameter"),
        ("PUT", "note/n", vec![JSON, ("If-None-Match", "\"1\"")], "{}", 400, "invalid_parameter"),
        ("PUT", "note/n", vec![JSON, ("If-Match", "*"), ("If-None-Match", "*")], "{}", 400, "invalid_parameter"),
        ("POST", "note/n", vec![JSON], "{}", 405, "method_not_allowed"),
        ("PUT", "note/n/versions", vec![JSON], "{}", 405, "method_not_allowed"),
        ("GET", "note/n?version=0", vec![], "", 400, "invalid_parameter"),
        ("GET", "note/n?version=new", vec![], "", 400, "invalid_parameter"),
        ("GET", "note/n/versions?limit=0", vec![], "", 400, "invalid_parameter"),
        ("GET", "note/n/versions?limit=101", vec![], "", 400, "invalid_parameter"),
        ("GET", "note/n/versions?before=99999", vec![], "", 404, "version_gone"),
        ("GET", "note/never/versions", vec![], "", 404, "not_found"),
        ("GET", "note/never/conflicts", vec![], "", 404, "not_found"),
        ("POST", "note/n/conflicts/7", vec![JSON], "{\"choice\":\"current\"}", 400, "invalid_parameter"),
    ];
    for (method, target, headers, body, status, code) in cases {
        let answer =
            http::send(node.address(), method, &format!("{ENTITIES}/{target}"), &headers, body.as_bytes()).await;
        assert_eq!(answer.status, status, "{method} {target} {headers:?} {body}: {}", answer.text());
        answer.problem(status, code);
    }
    let settle = format!("note/n/conflicts/{}", new_id());
    for (body, status, code) in [
        (json!({"choice": "current"}), 404, "no_such_conflict"),
        (json!({"choice": "maybe"}), 400, "invalid_operation"),
        (json!({"choice": "merged"}), 400, "invalid_operation"),
        (json!([]), 400, "invalid_operation"),
    ] {
        ask(&node, "POST", &settle, &[JSON], &body).await.problem(status, code);
    }
    let too_much = vec![b' '; 9_001];
    http::send(node.address(), "PUT", &format!("{ENTITIES}/note/n"), &[JSON], &too_much)
        .await
        .problem(413, "too_large");
    http::send(node.address(), "PUT", &format!("{ENTITIES}/note/n"), &[JSON], b"\"\xff\"")
        .await
        .problem(400, "invalid_json");
    assert_eq!(version(&get(&node, "note/n").await), base, "nothing was changed");
}

#[tokio::test]
async fn a_list_of_operations_is_answered_one_by_one() {
    let node = Node::start(&[("limits.events_per_request", "9"), ("limits.max_message_bytes", "1000")]).await;
    let operations = "/v1/tenants/t/operations";
    let op = |action: &str, id: &str, more: Value| {
        let mut op =
            json!({"instance_id": "a", "op_id": new_id(), "entity_type": "note", "entity_id": id, "action": action});
        op.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        op
    };
    let one = node.post(operations, &op("create", "n", json!({"data": {"text": "ab", "n": 1}}))).await;
    assert_eq!((one.status, &one.json()["outcome"]), (201, &json!("confirmed")), "{one:?}");
    let all = json!([op("create", "x", json!({"data": {}})), op("create", "y", json!({}))]);
    assert_eq!(node.post(operations, &all).await.status, 201);
    let again = node.post(operations, &all).await;
    assert_eq!((again.status, &again.json()["results"][1]["duplicate"]), (200, &json!(true)));
    let edit =
        op("update", "n", json!({"text": {"path": "/text", "ops": [2, "c"]}, "op_number": 1, "replica_id": "r"}));
    let mixed = json!([
        edit,
        op("update", "never", json!({"patch": {"a": 1}})),
        op("update", "n", json!({"patch": {"a": 1}, "ops": []})),
        {"op_id": "mine", "entity_type": "note", "entity_id": "n", "action": "delete"},
        op("update", "n", json!({"patch": {"a": "x".repeat(2000)}})),
        7,
        op("put", "z", json!({"data": {"made": true}, "user_id": "ann", "user_name": "Ann"})),
        op("dance", "n", json!({})),
        op("delete", "x", json!({})),
    ]);
    let answer = node.post(operations, &mixed).await;
    assert_eq!(answer.status, 207, "{answer:?}");
    let results = answer.json()["results"].clone();
    let seen: Vec<_> = results
        .as_array()
        .expect("results")
        .iter()
        .map(|item| json!([item["status"], item["code"].as_str().or(item["outcome"].as_str())]))
        .collect();
    let expected = json!([
        [200, "confirmed"],
        [404, "not_found"],
        [400, "invalid_operation"],
        [400, "invalid_message"],
        [413, "too_large"],
        [400, "invalid_message"],
        [201, "confirmed"],
        [400, "invalid_operation"],
        [200, "confirmed"],
    ]);
    assert_eq!(json!(seen), expected, "{results}");
    assert_eq!(get(&node, "note/n").await.json()["data"], json!({"text": "abc", "n": 1}));
    assert_eq!(get(&node, "note/z").await.json()["changed"]["by"]["user_name"], "Ann");
    let many: Vec<_> = (0..10).map(|n| op("create", &format!("m{n}"), json!({}))).collect();
    node.post(operations, &json!(many)).await.problem(413, "too_large");
    assert_eq!(node.post(operations, &json!([])).await.json(), json!({"results": []}));
    for (body, code) in
        [("", "invalid_json"), ("[{]", "invalid_json"), ("{}", "invalid_message"), ("7", "invalid_message")]
    {
        http::post(node.address(), operations, body.as_bytes()).await.problem(400, code);
    }
    let mut foreign = op("create", "f", json!({}));
    foreign["tenant_id"] = json!("other");
    node.post(operations, &foreign).await.problem(403, "identity_mismatch");
    let deep = format!(r#"{{"instance_id":"a","data":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    http::post(node.address(), operations, deep.as_bytes()).await.problem(400, "too_deep");
}

#[tokio::test]
async fn the_versions_of_an_entity_are_walked_down_to_where_the_log_begins() {
    let node = Node::start(&[("log.retention_bytes", "30000"), ("log.sweep_interval", "50ms")]).await;
    let mut made = vec![version(&put(&node, "note/n?user_id=ann", json!({"n": 0, "gone": 1})).await)];
    made.push(version(&ask(&node, "PATCH", "note/n?user_id=bob", &[MERGE], &json!({"n": 1, "gone": null})).await));
    put(&node, "note/other", json!({"n": 0})).await;
    made.push(version(&ask(&node, "DELETE", "note/n", &[], &Value::Null).await));
    made.push(version(&put(&node, "note/n", json!({"n": 2})).await));
    let all = get(&node, "note/n/versions").await.json();
    let field = |name: &str| -> Vec<Value> {
        all["versions"].as_array().expect("versions").iter().map(|version| version[name].clone()).collect()
    };
    made.reverse();
    assert_eq!(json!(field("version")), json!(made), "{all}");
    assert_eq!(json!(field("action")), json!(["create", "delete", "update", "create"]));
    assert_eq!(json!(field("deleted")), json!([false, true, false, false]));
    assert_eq!(all["versions"][2]["changes"], json!({"n": 1, "gone": null}));
    assert_eq!(all["versions"][2]["by"]["user_id"], "bob", "{all}");
    assert_eq!(all["versions"][3]["changes"], json!({"n": 0, "gone": 1}));
    assert_eq!((&all["more"], &all["before"], &all["trimmed"]), (&json!(false), &Value::Null, &json!(false)));
    let (mut pages, mut before) = (Vec::new(), String::new());
    loop {
        let page = get(&node, &format!("note/n/versions?limit=1{before}")).await.json();
        pages.extend(page["versions"].as_array().expect("versions").clone());
        if page["more"] == json!(false) {
            break;
        }
        before = format!("&before={}", page["before"]);
    }
    assert_eq!(json!(pages), all["versions"]);
    // Other records push the older ones out of the log.
    let trimmed = until("older versions are trimmed", async || {
        put(&node, "note/other", json!({"text": "x".repeat(4_000)})).await;
        let page = get(&node, "note/n/versions").await.json();
        (page["trimmed"] == json!(true)).then_some(page)
    })
    .await;
    assert_eq!((&trimmed["more"], &trimmed["before"]), (&json!(false), &Value::Null), "{trimmed}");
    get(&node, &format!("note/n?version={}", made[3])).await.problem(404, "version_gone");
    assert_eq!(get(&node, "note/n").await.json()["data"], json!({"n": 2}), "the last one stays");
}

#[tokio::test]
async fn sockets_cannot_change_what_is_somebody_elses_either() {
    let node = Node::start(&[]).await;
    put(&node, "node/n?user_id=ann", json!({"visibility": "private", "x": 1})).await;
    let mut bob = Client::typed(node.address(), "tenant_id=t&instance_id=b&user_id=bob").await;
    let change = json!({"id": new_id(), "type": "node.update", "timestamp": 1, "version": "1.0",
        "data": {"node": {"id": "n", "x": 2}}});
    let answer = bob.ask(change).await;
    assert_eq!(
        (&answer["type"], &answer["data"]["code"]),
        (&json!("update.rollback"), &json!("not_found")),
        "{answer}"
    );
    assert_eq!((&answer["data"]["version"], &answer["data"]["current"]), (&json!(0), &Value::Null), "{answer}");
    assert_eq!(get(&node, "node/n?user_id=ann").await.json()["data"]["x"], 1);
}

#[tokio::test]
async fn the_index_names_the_paths() {
    let node = Node::start(&[]).await;
    let links = node.get("/").await.json()["links"].clone();
    for name in ["operations", "entity", "entity_versions", "entity_conflicts", "snapshot", "conflicts"] {
        assert!(
            links[name].as_str().is_some_and(|link| link.starts_with("/v1/tenants/{tenant}/")),
            "{name} in {links}"
        );
    }
}
