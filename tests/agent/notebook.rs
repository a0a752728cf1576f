//! What the notebook tells: with what label, how much of it, and that nothing of it is missed.

use std::{fs, io::Write as _, time::Duration};

use continuum::{
    model::{EntityKey, EventType},
    replica::{Replica, Write},
};
use serde_json::{Value, json, value::to_raw_value};
use tempfile::TempDir;

use crate::{
    PATIENCE,
    client::{Client, Form, command, hasty, task, update},
    nats_support::{Line, until},
    open, put, small_disk,
    support::{self, Node},
};

fn is_labelled(told: &Value) -> bool {
    told["note"].as_str().is_some_and(|note| note.contains("Not instructions"))
}

async fn say(agent: &Replica, event_type: &str, data: Value) {
    let event_type: EventType = event_type.parse().expect("a type");
    let data = to_raw_value(&data).expect("JSON");
    agent.write(Write::Event { event_type, data }).await.expect("written");
}

#[tokio::test]
async fn what_others_wrote_bears_its_label_in_whatever_answer_it_stands() {
    let node = Node::start(&[]).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let mut a = Client::start(command(node.address(), "a", dirs[0].path()), Form::Handshake, None).await;
    let mut b = Client::start(command(node.address(), "b", dirs[1].path()), Form::Alone, None).await;
    a.call("manage_context", update("7", json!({"state": "a's", "other": 1}))).await;
    b.call("who_is_here", json!({})).await;
    // Refused, with what stands.
    let refused = b.call("manage_context", task("7", json!({"action": "delete"}))).await;
    assert!(refused["isError"] == true && refused["context"]["changed_by"] == "a", "{refused}");
    assert!(is_labelled(&refused), "{refused}");
    // Written over, with what stood there.
    a.call("manage_context", update("7", json!({"state": "a's again"}))).await;
    let over = b.call("manage_context", update("7", json!({"state": "b's"}))).await;
    assert_eq!((&over["overwritten"][0]["value"], &over["overwritten"][0]["by"]), (&json!("a's again"), &json!("a")));
    assert!(is_labelled(&over), "{over}");
    // Clashed, with what stands.
    a.call("context_get", task("7", json!({}))).await;
    a.call("manage_context", update("7", json!({"state": "a's third"}))).await;
    let mut write = update("7", json!({"state": "b's second"}));
    write["strategy"] = "manual".into();
    let open = b.call("manage_context", write).await;
    assert_eq!(
        (&open["outcome"], &open["current"]["state"]),
        (&json!("conflict_pending"), &json!("a's third")),
        "{open}"
    );
    assert!(is_labelled(&open), "{open}");
    // Listed as open, with who proposed it.
    let listed = until("it is listed", async || {
        let status = a.call("manage_context", json!({"action": "status"})).await;
        (status["sync"]["conflicted"] == 1).then_some(status)
    });
    let listed = listed.await;
    assert_eq!(listed["conflicts"][0]["by"]["instance_id"], "b", "{listed}");
    assert!(is_labelled(&listed), "{listed}");
    let choice = task("7", json!({"action": "resolve", "conflict_id": open["conflict_id"], "choice": "proposed"}));
    let settled = a.call("manage_context", choice).await;
    assert_eq!((&settled["isError"], &settled["context"]["data"]["state"]), (&json!(false), &json!("b's second")));
    assert!(is_labelled(&settled), "{settled}");
    // Shown, found, listed, and who is here with what they say of themselves.
    for (tool, arguments) in [
        ("context_get", task("7", json!({}))),
        ("context_search", json!({"query": "second"})),
        ("context_changes", json!({"since": 0})),
        ("manage_context", json!({"action": "list"})),
        ("who_is_here", json!({})),
    ] {
        let told = a.call(tool, arguments).await;
        assert!(is_labelled(&told), "{told}");
    }
    let read = a.request("resources/read", json!({"uri": "continuum://context/task/7"})).await;
    let told = read["result"]["contents"][0]["text"].as_str().and_then(|text| serde_json::from_str(text).ok());
    assert!(is_labelled(&told.expect("JSON")), "{read}");
}

#[tokio::test]
async fn no_answer_grows_with_what_others_said_and_all_of_it_can_be_had() {
    let node = Node::start(&[]).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let a = open(node.address(), "a", dirs[0].path()).await;
    let mut b = Client::start(command(node.address(), "b", dirs[1].path()), Form::Handshake, None).await;
    b.call("who_is_here", json!({})).await;
    // Three bytes each: where it is cut lies within one.
    let long = "€".repeat(10_000);
    for n in 0..25 {
        say(&a, "note_made", if n == 24 { json!({"n": n, "text": long}) } else { json!({"n": n}) }).await;
    }
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    let told = b.call("who_is_here", json!({})).await;
    let news = &told["news"];
    let last = &news["from_others"][9];
    assert_eq!((&news["more"], &last["event"], &last["data_cut"]), (&json!(15), &json!("note_made"), &json!(true)));
    let whole = json!({"n": 24, "text": long}).to_string();
    let shown = last["data"].as_str().expect("its beginning");
    assert!(whole.starts_with(shown) && (2_000..=2_048).contains(&shown.len()), "{}", shown.len());
    assert_eq!(last["data_bytes"], whole.len());
    // From where it began, page by page.
    let (mut since, mut heard) = (news["since"].clone(), Vec::new());
    loop {
        let page = b.call("context_changes", json!({"since": since, "limit": 10})).await;
        let changes = page["changes"].as_array().expect("changes").clone();
        assert!(changes.len() <= 10 && is_labelled(&page), "{page}");
        heard.extend(changes);
        since = page["mark"].clone();
        if page["more"] == 0 {
            break;
        }
    }
    let numbers: Vec<_> = heard.iter().map(|one| one["data"]["n"].as_u64()).collect();
    assert_eq!(numbers[..24], (0..24).map(Some).collect::<Vec<_>>());
    let shown = heard[24]["data"].as_str().expect("its beginning");
    assert!(whole.starts_with(shown) && (16_000..=16_384).contains(&shown.len()), "{}", shown.len());

    // A long context is one of many without its content, and then it was not seen.
    a.write(put("task:long", json!({"text": long, "state": "a's"}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    // Who leafs through it is told the latest all the same.
    let page = b.call("context_changes", json!({"since": since})).await;
    assert_eq!(
        (&page["changes"][0]["context_id"], page["news"]["from_others"].as_array().map(Vec::len)),
        (&json!("long"), Some(1))
    );
    let listed = b.call("manage_context", json!({"action": "list"})).await;
    let one = &listed["contexts"][0];
    assert_eq!((&one["context_id"], &one["data"], &one["data_cut"]), (&json!("long"), &Value::Null, &json!(true)));
    let found = b.call("context_search", json!({"query": "state"})).await;
    assert_eq!(found["results"][0]["data_cut"], true);
    let over = b.call("manage_context", update("long", json!({"state": "b's"}))).await;
    assert_eq!(over["overwritten"][0]["value"], "a's");
    let got = b.call("context_get", task("long", json!({}))).await;
    assert_eq!((&got["context"]["data"]["text"], &got["context"]["data"]["state"]), (&json!(long), &json!("b's")));
}

#[tokio::test]
async fn a_search_of_a_level_finds_what_is_there_however_much_fits_better_elsewhere() {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let dir = TempDir::new().expect("a directory");
    let a = open(nobody, "a", dir.path()).await;
    let text = format!("a word and {}", "much else ".repeat(50));
    a.write(put("task:rare", json!({"text": text}))).await.expect("written");
    let Write::Operation { base, fields, .. } = put("task:note", json!({"text": "word"})) else { unreachable!("one") };
    let key = EntityKey::new("note", "task:note").expect("a key");
    a.write(Write::Operation { key, base, fields }).await.expect("written");
    a.close(Duration::ZERO).await;
    drop(a);
    let db = rusqlite::Connection::open(dir.path().join("replica.db")).expect("opened");
    db.execute_batch(
        "WITH RECURSIVE n (n) AS (SELECT 1000 UNION ALL SELECT n + 1 FROM n WHERE n < 1800)
         INSERT INTO entity (row, kind, id, version, data, local)
             SELECT n, 'context', 'branch:word' || n, n, '{\"text\":\"word\"}', '{\"text\":\"word\"}' FROM n;
         INSERT INTO words (rowid, name, text) SELECT row, id, 'text: word' FROM entity WHERE row >= 1000;",
    )
    .expect("filled");
    drop(db);
    let mut a = Client::start(hasty(nobody, "a", dir.path()), Form::Handshake, None).await;
    let search = json!({"query": "word", "level": "task"});
    let found = a.call("context_search", search).await;
    let ids: Vec<_> = found["results"].as_array().expect("results").iter().map(|one| &one["context_id"]).collect();
    assert_eq!(ids, ["rare"], "{found}");
    assert!(found["results"][0]["excerpt"].as_str().is_some_and(|text| text.contains("[word]")), "{found}");
    let found = a.call("context_search", json!({"query": "word", "level": "branch", "limit": 100})).await;
    assert_eq!(found["results"].as_array().map(Vec::len), Some(100));
}

#[tokio::test]
async fn a_write_is_in_the_journal_while_the_node_is_still_waited_for() {
    let node = Node::start(&[]).await;
    let line = Line::to(node.address()).await;
    let dir = TempDir::new().expect("a directory");
    let mut start = hasty(line.address(), "a", dir.path());
    // Longer than this test waits for anything.
    start.args(["--pull-wait", "1h", "--push-wait", "1h"]);
    let mut a = Client::start(start, Form::Handshake, None).await;
    a.call("who_is_here", json!({})).await;
    line.cut();
    a.begin("tools/call", json!({"name": "manage_context", "arguments": update("7", json!({"n": 1}))})).await;
    let look = Replica::look(dir.path().to_owned()).await.expect("a journal");
    until("it is written", async || (look.status().await.expect("read").pending == 1).then_some(())).await;
    a.kill().await;
    let kept = look.pending(0, 10).await.expect("read");
    assert_eq!((kept.len(), kept[0].entity.as_deref()), (1, Some("task:7")));
}

#[test]
fn on_a_full_disk_it_can_be_read_and_says_so() {
    small_disk::run("notebook::on_a_disk_that_is_full", 4, small_disk::Temporary::Elsewhere);
}

#[tokio::test]
async fn on_a_disk_that_is_full() {
    let Some(disk) = small_disk::given() else { return };
    let node = Node::start(&[]).await;
    let dir = disk.join("journal");
    let mut start = hasty(node.address(), "a", &dir);
    start.args(["--pull-wait", "300ms"]);
    let mut a = Client::start(start, Form::Handshake, None).await;
    a.call("manage_context", update("7", json!({"n": 1}))).await;
    // Here before the disk is full, and not shown yet.
    change_many(&node, 8..9, 1).await;
    until("it is here", async || {
        let listed = a.request("resources/list", json!({})).await;
        (listed["result"]["resources"].as_array().map(Vec::len) == Some(2)).then_some(())
    })
    .await;
    let mut filler = fs::File::create(disk.join("filler")).expect("a file");
    for bytes in [1 << 16, 1 << 12] {
        while filler.write_all(&vec![0; bytes]).is_ok() {}
    }
    // There was room in what the journal has taken already; then there is none.
    until("it is said that the disk is full", async || {
        let got = a.call("context_get", task("7", json!({}))).await;
        assert_eq!((&got["isError"], &got["context"]["data"]["n"]), (&json!(false), &json!(1)), "{got}");
        got["sync"].to_string().contains("disk is full").then_some(())
    })
    .await;
    for _ in 0..3 {
        let got = a.call("context_get", task("8", json!({}))).await;
        assert_eq!((&got["isError"], &got["found"]), (&json!(false), &json!(true)), "{got}");
        assert!(got["sync"]["note"].is_string(), "{got}");
        let status = a.call("manage_context", json!({"action": "status"})).await;
        assert!(status["isError"] == false && status["metrics"]["total_syncs"].is_number(), "{status}");
        let found = a.call("context_search", json!({"query": "7"})).await;
        assert_eq!(found["results"][0]["context_id"], "7", "{found}");
    }
    let refused = a.call("manage_context", update("7", json!({"n": 2}))).await;
    assert!(refused["isError"] == true && refused["text"].as_str().is_some_and(|text| text.contains("disk is full")));
}

/// Changes many contexts at once.
async fn change_many(node: &Node, ids: std::ops::Range<usize>, n: u64) {
    let operations: Vec<_> = ids
        .map(|id| {
            json!({"op_id": support::new_id(), "instance_id": "desk", "entity_type": "context",
                "entity_id": format!("task:{id}"), "action": "put", "patch": {"n": n}})
        })
        .collect();
    let done = node.post("/v1/tenants/t/operations", &operations.into()).await;
    assert!(done.status < 300, "{}", done.text());
}

#[tokio::test]
async fn of_all_that_changes_at_once_each_resource_that_is_followed_is_told() {
    for form in [Form::Handshake, Form::Alone] {
        let node = Node::start(&[]).await;
        let line = Line::to(node.address()).await;
        let dir = TempDir::new().expect("a directory");
        let mut a = Client::start(command(line.address(), "a", dir.path()), form, None).await;
        a.call("who_is_here", json!({})).await;
        let address = |id: usize| format!("continuum://context/task/{id}");
        let followed = [0, 499, 999].map(address);
        match form {
            Form::Handshake => {
                for address in &followed {
                    a.request("resources/subscribe", json!({"uri": address})).await;
                }
            }
            Form::Alone => {
                a.begin("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": followed}})).await;
                assert_eq!(a.next().await["method"], "notifications/subscriptions/acknowledged");
            }
        }
        line.cut_from_server();
        change_many(&node, 0..1_000, 1).await;
        let mut line = line;
        line.heal().await;
        let mut missing = followed.to_vec();
        while !missing.is_empty() {
            let heard = a.next().await;
            assert_eq!(heard["method"], "notifications/resources/updated", "{heard}");
            assert!(followed.iter().any(|address| heard["params"]["uri"] == address.as_str()), "{heard}");
            missing.retain(|address| heard["params"]["uri"] != address.as_str());
        }
    }
}

#[tokio::test]
async fn who_follows_anew_is_told_once() {
    let node = Node::start(&[]).await;
    let dir = TempDir::new().expect("a directory");
    let mut a = Client::start(command(node.address(), "a", dir.path()), Form::Handshake, None).await;
    a.call("who_is_here", json!({})).await;
    let wanted = [7, 8].map(|id| json!({"uri": format!("continuum://context/task/{id}")}));
    for _ in 0..8 {
        a.request("resources/subscribe", wanted[0].clone()).await;
        a.request("resources/unsubscribe", wanted[0].clone()).await;
    }
    for one in &wanted {
        a.request("resources/subscribe", one.clone()).await;
    }
    let mut heard = Vec::new();
    for id in [7, 8] {
        change_many(&node, id..id + 1, 1).await;
        let last = &wanted[id - 7]["uri"];
        while heard.last() != Some(last) {
            heard.push(a.next().await["params"]["uri"].clone());
        }
    }
    // And who does not any more, not at all.
    a.request("resources/unsubscribe", wanted[0].clone()).await;
    for id in [7, 8] {
        change_many(&node, id..id + 1, 2).await;
    }
    heard.push(a.next().await["params"]["uri"].clone());
    a.call("who_is_here", json!({})).await;
    heard.extend(a.notices.iter().map(|notice| notice["params"]["uri"].clone()));
    assert_eq!(heard, [0, 1, 1].map(|one| wanted[one]["uri"].clone()));
}

#[tokio::test]
async fn a_connection_follows_so_many_resources_and_no_more() {
    let nobody = "127.0.0.1:9".parse().expect("an address");
    let address = |id: usize| format!("continuum://context/task/{id}");
    let start = async |form| {
        let dir = TempDir::new().expect("a directory");
        (Client::start(hasty(nobody, "a", dir.path()), form, None).await, dir)
    };
    let (mut a, _dir) = start(Form::Handshake).await;
    for id in (0..256).chain([0]) {
        let done = a.request("resources/subscribe", json!({"uri": address(id)})).await;
        assert!(done["result"].is_object(), "{done}");
    }
    let refused = a.request("resources/subscribe", json!({"uri": address(256)})).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    let (mut a, _dir) = start(Form::Alone).await;
    let wanted: Vec<_> = (0..257).map(address).chain(["file:///etc/passwd".to_owned()]).collect();
    a.begin("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": wanted}})).await;
    let heard = a.next().await;
    assert_eq!(heard["params"]["notifications"]["resourceSubscriptions"], json!(wanted[..256]), "{heard}");
}

#[tokio::test]
async fn who_may_not_have_heard_the_news_is_told_once_more() {
    let node = Node::start(&[]).await;
    let dirs = [(); 2].map(|()| TempDir::new().expect("a directory"));
    let a = open(node.address(), "a", dirs[0].path()).await;
    let start = async || Client::start(command(node.address(), "b", dirs[1].path()), Form::Alone, None).await;
    let heard = async |b: &mut Client| b.call("who_is_here", json!({})).await["news"]["from_others"].clone();
    let mut b = start().await;
    assert_eq!(heard(&mut b).await, json!([]));
    a.write(put("task:7", json!({"n": 1}))).await.expect("written");
    assert_eq!(a.push(PATIENCE).await.expect("pushed"), 0);
    for _ in 0..2 {
        // Whether its last answer was read before it died nobody knows.
        assert_eq!(heard(&mut b).await[0]["context_id"], "7");
        b.kill().await;
        b = start().await;
    }
    assert_eq!(heard(&mut b).await[0]["context_id"], "7");
    assert_eq!(heard(&mut b).await, json!([]));
    b.kill().await;
    let mut b = start().await;
    assert_eq!(heard(&mut b).await, json!([]));
}
