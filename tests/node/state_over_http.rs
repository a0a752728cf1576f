//! Shared state without a socket: snapshots, conflicts, and what is private.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    entities_over_http::{JSON, MERGE, ask, get, put, version},
    support::{Client, Node, Port},
};

/// Reads a snapshot to its end.
async fn snapshot(node: &Node, query: &str) -> (BTreeMap<String, Value>, Value, usize) {
    let (mut state, mut page_of, mut pages) = (BTreeMap::new(), String::new(), 0);
    let (mut reached, mut count) = (0, 0);
    loop {
        let page = node.get(&format!("/v1/tenants/t/snapshot?{query}{page_of}")).await;
        assert_eq!(page.status, 200, "{}", page.text());
        let page = page.json();
        for entity in page["entities"].as_array().expect("entities") {
            let key = format!("{}/{}", entity["entity_type"], entity["entity_id"]);
            state.insert(key, entity.clone());
        }
        pages += 1;
        let progress = &page["progress"];
        let now = progress["reached"].as_u64().expect("a number");
        assert!(now >= reached, "{progress}");
        (reached, count) = (now, count + page["entities"].as_array().map_or(0, Vec::len));
        assert_eq!((&progress["entities"], &progress["of"]), (&json!(count), &page["position"]), "{progress}");
        match page["next"].as_str() {
            None => {
                assert!(now >= progress["of"].as_u64().expect("a number"), "{progress}");
                return (state, page, pages);
            }
            Some(next) => page_of = format!("&page={next}"),
        }
    }
}

#[tokio::test]
async fn a_snapshot_and_its_tail_are_the_whole_state_while_others_change_it() {
    let node = Node::start(&[]).await;
    let operations = "/v1/tenants/t/operations";
    for part in 0..6 {
        let batch: Vec<_> = (0..500)
            .map(|n| {
                let id = format!("e{}", part * 500 + n);
                json!({"instance_id": "a", "entity_type": "thing", "entity_id": id, "action": "create", "data": {"n": n}})
            })
            .collect();
        assert_eq!(node.post(operations, &json!(batch)).await.status, 201);
    }
    // Another tenant's log goes on further.
    node.post("/v1/tenants/u/events", &json!({"event_type": "note", "instance_id": "u"})).await;
    let changing = async {
        for round in 0..40 {
            for n in [round * 7 % 3000, 2999 - round * 11, 5] {
                put(&node, &format!("thing/e{n}"), json!({"round": round})).await;
            }
            ask(&node, "DELETE", &format!("thing/e{}", 1000 + round), &[], &Value::Null).await;
            put(&node, &format!("thing/new{round}"), json!({"round": round})).await;
        }
    };
    let ((mut state, last, pages), ()) = tokio::join!(snapshot(&node, "limit=200"), changing);
    assert!(pages >= 15, "{pages}");
    let mut after = last["cursor"].as_str().expect("a cursor").to_owned();
    assert_eq!(after.split('.').nth(1), Some(&*last["position"].to_string()));
    loop {
        let page = node.get(&format!("/v1/tenants/t/events?limit=1000&after={after}")).await.json();
        assert_eq!(page["resync"], Value::Null, "{}", page["resync"]);
        for record in page["events"].as_array().expect("events") {
            let event = &record["data"]["event"];
            let key = format!("{}/{}", event["entity_type"], event["entity_id"]);
            let is_later = state.get(&key).is_none_or(|known| known["version"].as_u64() < record["seq"].as_u64());
            if is_later && event["action"] == "delete" {
                state.remove(&key);
            } else if is_later {
                let changed = json!({"by": {"instance_id": event["device_id"]}});
                let entity = json!({"version": record["seq"], "changed": changed, "data": event["data"]});
                state.insert(key, entity);
            }
        }
        page["cursor"].as_str().expect("a cursor").clone_into(&mut after);
        if page["more"] == json!(false) {
            break;
        }
    }
    assert_eq!(state.len(), 3000 - 40 + 40);
    for n in (0..3000).step_by(17).chain([5, 1000, 1039, 1040]) {
        let shown = get(&node, &format!("thing/e{n}")).await;
        match state.get(&format!("\"thing\"/\"e{n}\"")) {
            None => drop(shown.problem(410, "deleted")),
            Some(known) => {
                let shown = shown.json();
                assert_eq!((&known["version"], &known["data"]), (&shown["version"], &shown["data"]), "e{n}");
            }
        }
    }
    // A fresh snapshot is the same state.
    let (again, _, _) = snapshot(&node, "limit=1000").await;
    let whose = |state: &BTreeMap<String, Value>| -> BTreeMap<String, [Value; 3]> {
        let of = |known: &Value| {
            [&known["version"], &known["data"], &known["changed"]["by"]["instance_id"]].map(Value::clone)
        };
        state.iter().map(|(key, known)| (key.clone(), of(known))).collect()
    };
    assert_eq!(whose(&again), whose(&state));
}

#[tokio::test]
async fn a_snapshot_is_of_the_types_that_were_asked_for_and_its_pages_are_its_own() {
    let mut node = Node::start(&[]).await;
    let empty = node.get("/v1/tenants/t/snapshot").await.json();
    assert_eq!(
        (&empty["entities"], &empty["next"], &empty["progress"]),
        (&json!([]), &Value::Null, &json!({"entities": 0, "reached": 0, "of": 0}))
    );
    for n in 0..6 {
        put(&node, &format!("note/n{n}"), json!({"n": n})).await;
        put(&node, &format!("node/n{n}"), json!({"n": n})).await;
    }
    ask(&node, "DELETE", "note/n5", &[], &Value::Null).await;
    let (notes, _, _) = snapshot(&node, "types=note&limit=2").await;
    assert_eq!(notes.len(), 5);
    assert!(notes.values().all(|entity| entity["entity_type"] == "note"));
    assert_eq!(snapshot(&node, "types=no*,x&limit=3").await.0.len(), 11);
    assert_eq!(snapshot(&node, "types=x").await.0.len(), 0);
    let first = node.get("/v1/tenants/t/snapshot?limit=2").await.json();
    let token = first["next"].as_str().expect("more").to_owned();
    let page = |tenant: &str, query: &str| format!("/v1/tenants/{tenant}/snapshot?page={query}");
    assert_eq!(node.get(&page("t", &token)).await.status, 200);
    let mut changed = token.clone().into_bytes();
    changed[20] = if changed[20] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("ASCII");
    for wrong in [
        page("u", &token),
        page("t", &format!("{token}&types=note")),
        page("t", &changed),
        page("t", "x"),
        page("t", ""),
    ] {
        node.get(&wrong).await.problem(400, "invalid_parameter");
    }
    node.get(&format!("/v1/tenants/t/conflicts?page={token}")).await.problem(400, "invalid_parameter");
    for wrong in ["limit=0", "limit=1001", "limit=x", "types=a%20b"] {
        node.get(&format!("/v1/tenants/t/snapshot?{wrong}")).await.problem(400, "invalid_parameter");
    }
    // Pages outlive a restart, but not the log.
    node.restart(Port::New).await;
    assert_eq!(node.get(&page("t", &token)).await.status, 200);
    let other = Node::start(&[]).await;
    let gone = other.get(&page("t", &token)).await.problem(410, "page_gone");
    assert!(gone["detail"].as_str().is_some_and(|text| text.contains("other_epoch")), "{gone}");
}

#[tokio::test]
async fn conflicts_are_listed_and_settled() {
    let node = Node::start(&[]).await;
    let mut base = BTreeMap::new();
    for n in 0..130 {
        let id = format!("n{n}");
        base.insert(id.clone(), version(&put(&node, &format!("note/{id}"), json!({"title": "one"})).await));
    }
    let mut pending = Vec::new();
    for n in [3, 70, 129] {
        let target = |strategy: &str| format!("note/n{n}?base_version={}&strategy={strategy}", base[&format!("n{n}")]);
        assert_eq!(ask(&node, "PATCH", &target("merge"), &[MERGE], &json!({"title": "two"})).await.status, 200);
        let refused = ask(&node, "PATCH", &target("manual"), &[MERGE], &json!({"title": "three"})).await;
        let problem = refused.problem(409, "conflict_pending");
        assert_eq!((&problem["outcome"], &problem["paths"]), (&json!("conflict_pending"), &json!(["/title"])));
        assert_eq!((&problem["current"], &problem["proposed"]), (&json!({"title": "two"}), &json!({"title": "three"})));
        pending.push((format!("n{n}"), problem["conflict_id"].as_str().expect("an id").to_owned()));
        assert_eq!(ask(&node, "PATCH", &target("version"), &[MERGE], &json!({"title": "four"})).await.status, 200);
    }
    let (mut found, mut page_of) = (Vec::new(), String::new());
    loop {
        let page = node.get(&format!("/v1/tenants/t/conflicts?limit=1{page_of}")).await.json();
        found.extend(page["conflicts"].as_array().expect("conflicts").clone());
        match page["next"].as_str() {
            Some(next) => page_of = format!("&page={next}"),
            None => break,
        }
    }
    assert_eq!(found.len(), 6, "{found:?}");
    assert_eq!(node.get("/v1/tenants/t/conflicts").await.json()["conflicts"], json!(found));
    for (id, conflict) in &pending {
        let item = found.iter().find(|item| item["conflict_id"] == **conflict).expect("listed");
        assert_eq!((&item["entity_id"], &item["kind"]), (&json!(id), &json!("conflict")));
        assert_eq!((&item["base"], &item["proposed"]), (&json!({"title": "one"}), &json!({"title": "three"})));
        let of_one = get(&node, &format!("note/{id}/conflicts")).await.json();
        assert_eq!(
            (&of_one["conflicts"][0]["conflict_id"], &of_one["current"]),
            (&json!(conflict), &json!({"title": "two"}))
        );
        assert_eq!(of_one["variants"].as_array().map(Vec::len), Some(1));
        let shown = get(&node, &format!("note/{id}")).await.json();
        assert_eq!((&shown["conflicts"], &shown["variants"]), (&of_one["conflicts"], &of_one["variants"]));
    }
    let (id, conflict) = &pending[0];
    let place = format!("note/{id}/conflicts/{conflict}");
    // Judged on what was seen: others changed the title since.
    let old = json!({"choice": "proposed", "base_version": base[id]});
    ask(&node, "POST", &place, &[JSON], &old).await.problem(409, "conflict_pending");
    let seen = version(&get(&node, &format!("note/{id}")).await);
    let chosen = json!({"choice": "merged", "data": {"title": "both"}, "base_version": seen});
    let settled = ask(&node, "POST", &format!("{place}?user_id=ann"), &[JSON], &chosen).await;
    assert_eq!(settled.status, 200, "{settled:?}");
    let shown = get(&node, &format!("note/{id}")).await.json();
    assert_eq!((&shown["data"]["title"], &shown["conflicts"]), (&json!("both"), &json!([])), "{shown}");
    assert_eq!(shown["changed"]["by"]["user_id"], "ann");
    ask(&node, "POST", &place, &[JSON], &json!({"choice": "current"})).await.problem(404, "no_such_conflict");
    let (id, conflict) = &pending[1];
    let take =
        ask(&node, "POST", &format!("note/{id}/conflicts/{conflict}"), &[JSON], &json!({"choice": "proposed"})).await;
    assert_eq!(take.status, 200, "{take:?}");
    assert_eq!(get(&node, &format!("note/{id}")).await.json()["data"]["title"], "three");
}

#[tokio::test]
async fn what_is_private_is_its_owners_alone() {
    let node = Node::start(&[]).await;
    let (ann, bob) = ("user_id=ann", "user_id=bob");
    let make = |id: &str, who: &str| format!("note/{id}?{who}");
    let private = |text: &str| json!({"visibility": "private", "text": text});
    put(&node, &make("hers", ann), private("one")).await;
    put(&node, &make("desks", "instance_id=desk"), private("two")).await;
    put(&node, &make("shared", ann), json!({"text": "three"})).await;
    let open = version(&get(&node, "note/shared").await);
    for (id, owner, strangers) in [
        ("hers", ann, ["", bob, "instance_id=ann"]),
        ("desks", "instance_id=desk", ["", "user_id=desk", "instance_id=other"]),
    ] {
        let now = version(&get(&node, &make(id, owner)).await);
        for stranger in strangers {
            get(&node, &make(id, stranger)).await.problem(404, "not_found");
            get(&node, &format!("note/{id}?version={now}&{stranger}")).await.problem(404, "not_found");
            get(&node, &format!("note/{id}/versions?{stranger}")).await.problem(404, "not_found");
            get(&node, &format!("note/{id}/conflicts?{stranger}")).await.problem(404, "not_found");
            for (method, media) in [("PUT", JSON), ("PATCH", MERGE), ("DELETE", JSON)] {
                for more in ["", "&base_version=1", "&base_version=99999", "&strategy=last_write_wins"] {
                    let target = format!("note/{id}?{stranger}{more}");
                    let refused = ask(&node, method, &target, &[media], &json!({"text": "x"})).await;
                    let problem = refused.problem(404, "not_found");
                    assert!(problem.get("current").is_none_or(Value::is_null), "{problem}");
                    assert!(problem.get("version").is_none_or(|version| *version == json!(0)), "{problem}");
                }
                let guess = [media, ("If-Match", "*")];
                ask(&node, method, &make(id, stranger), &guess, &json!({})).await.problem(404, "not_found");
            }
        }
        assert_eq!(version(&get(&node, &make(id, owner)).await), now, "nothing was changed");
    }
    assert_eq!(snapshot(&node, "").await.0.len(), 1);
    assert_eq!(snapshot(&node, ann).await.0.len(), 2);
    assert_eq!(snapshot(&node, "instance_id=desk").await.0.len(), 2);
    let titles = |page: Value| -> Vec<Value> {
        page["events"]
            .as_array()
            .expect("events")
            .iter()
            .map(|record| record["data"]["event"]["data"]["text"].clone())
            .collect()
    };
    let events = async |who: &str| node.get(&format!("/v1/tenants/t/events?{who}")).await.json();
    assert_eq!(titles(events("").await), ["three"]);
    assert_eq!(titles(events(ann).await), ["one", "three"]);
    assert_eq!(titles(events("instance_id=desk").await), ["two", "three"]);
    // What lies open with something private is as private.
    let base = version(&get(&node, &make("hers", ann)).await);
    for strategy in ["merge", "manual"] {
        let target = format!("note/hers?{ann}&base_version={base}&strategy={strategy}");
        ask(&node, "PATCH", &target, &[MERGE], &json!({"text": strategy})).await;
    }
    let conflicts =
        async |who: &str| node.get(&format!("/v1/tenants/t/conflicts?{who}")).await.json()["conflicts"].clone();
    assert_eq!(conflicts(ann).await.as_array().map(Vec::len), Some(1));
    assert_eq!(conflicts(bob).await, json!([]));
    let id = conflicts(ann).await[0]["conflict_id"].as_str().expect("an id").to_owned();
    let settle = |who: &str| format!("note/hers/conflicts/{id}?{who}");
    ask(&node, "POST", &settle(bob), &[JSON], &json!({"choice": "proposed"})).await.problem(404, "not_found");
    assert_eq!(ask(&node, "POST", &settle(ann), &[JSON], &json!({"choice": "proposed"})).await.status, 200);
    // Turned private, it goes from the others, with what it was; turned public, it comes, without what it was.
    ask(&node, "PATCH", &make("shared", bob), &[MERGE], &json!({"visibility": "private", "text": "secret"})).await;
    get(&node, &make("shared", bob)).await.problem(404, "not_found");
    get(&node, &format!("note/shared?version={open}")).await.problem(404, "not_found");
    ask(&node, "PATCH", &make("shared", ann), &[MERGE], &json!({"visibility": "team", "text": "public"})).await;
    let versions = get(&node, "note/shared/versions").await.json();
    assert!(!versions.to_string().contains("secret"), "{versions}");
    let between = version(&get(&node, "note/shared").await) - 1;
    get(&node, &format!("note/shared?version={between}")).await.problem(404, "version_gone");
    assert_eq!(get(&node, &format!("note/shared?version={between}&{ann}")).await.json()["data"]["text"], "secret");
    let seen = events("").await;
    assert!(!seen.to_string().contains("secret"), "{seen}");
    let actions: Vec<_> =
        seen["events"].as_array().expect("events").iter().map(|r| &r["data"]["event"]["action"]).collect();
    assert_eq!(json!(actions), json!(["create", "delete", "create"]), "{seen}");
    // A tombstone stays its owner's.
    assert_eq!(ask(&node, "DELETE", &make("hers", ann), &[], &Value::Null).await.status, 200);
    get(&node, &make("hers", ann)).await.problem(410, "deleted");
    get(&node, &make("hers", bob)).await.problem(404, "not_found");
    put(&node, &make("hers", bob), json!({})).await.problem(404, "not_found");
}

#[tokio::test]
async fn what_was_deleted_a_moment_ago_is_told_with_the_state() {
    let node = Node::start(&[]).await;
    for id in ["kept", "gone", "secret"] {
        let visibility = if id == "secret" { "private" } else { "team" };
        put(&node, &format!("thing/{id}?instance_id=a&user_id=ann"), json!({"visibility": visibility})).await;
    }
    for id in ["gone", "secret"] {
        ask(&node, "DELETE", &format!("thing/{id}?instance_id=a&user_id=ann"), &[], &Value::Null).await;
    }
    let names = |list: &Value| {
        let names =
            list.as_array().into_iter().flatten().map(|item| item["entity_id"].as_str().expect("an id").to_owned());
        names.collect::<Vec<_>>()
    };
    for (user, told) in [("ann", vec!["gone", "secret"]), ("bob", vec!["gone"])] {
        let page = node.get(&format!("/v1/tenants/t/snapshot?user_id={user}")).await.json();
        assert_eq!(
            (names(&page["entities"]), names(&page["deleted"])),
            (vec!["kept".to_owned()], told.clone().into_iter().map(str::to_owned).collect()),
            "{page}"
        );
        let mut client = Client::typed(node.address(), &format!("tenant_id=t&instance_id={user}&user_id={user}")).await;
        client.send(json!({"id": "s", "type": "graph.sync"})).await;
        let page = client.find(|message| message["type"] == "graph.sync").await["data"].clone();
        assert_eq!(
            (names(&page["entities"]), names(&page["deleted"])),
            (vec!["kept".to_owned()], told.into_iter().map(str::to_owned).collect()),
            "{page}"
        );
    }
}
