//! Publishing without a socket.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Bytes, Data, Payload},
};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::timeout};

use super::{
    asker::{Asker, Rules},
    problem,
    server::Shared,
};
use crate::{
    actors::{
        messages::{Enter, PublishFor},
        room::appends::{append_of, refusal},
    },
    auth::hook::Who,
    backbone::{Answer, Append, AppendError, Appended, Outcome},
    model::{Epoch, EventId, EventType, TenantId},
    wire::{
        Code, Need, Refusal,
        incoming::{self, Shape},
        outgoing::{ErrorReport, EventIdText, place_of},
    },
};

/// What became of one publish.
#[derive(Serialize)]
#[serde(untagged)]
enum ItemAnswer<'a> {
    Queued { event_id: EventIdText, status: &'static str },
    Stored { event_id: EventIdText, seq: u64, duplicate: bool, status: &'static str, cursor: String },
    Refused { status: &'static str, error: ErrorReport<'a> },
}

type ItemResult = Result<(EventId, Answer), Refusal>;

/// `POST /v1/tenants/{tenant}/events`
pub(super) async fn publish(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let asker = match Asker::enter(&shared, &request).await {
        Ok(asker) => asker,
        Err(refusal) => return problem::respond(&refusal),
    };
    let _counted = shared.context.requests.hold();
    let published = publish_all(&shared, &asker, payload).await;
    let epoch = shared.context.backbone.epoch(asker.tenant());
    match published {
        Ok((results, Shape::One)) => answer_one(epoch, results),
        Ok((results, Shape::List)) => answer_list(epoch, &results),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn publish_all(shared: &Shared, asker: &Asker, payload: Payload) -> Result<(Vec<ItemResult>, Shape), Refusal> {
    let body = read_body(shared, payload).await?;
    let (items, shape) = split(shared, &body, "events")?;
    let mut results: Vec<Option<ItemResult>> = Vec::new();
    let (mut appends, mut ids) = (Vec::new(), Vec::new());
    let read: Vec<_> = items.into_iter().map(|item| read_item(shared, asker, item.get())).collect();
    // Before the rules are asked: whoever may send no more makes nobody ask.
    asker.takes_messages(shared, read.iter().flatten().count())?;
    let rules = Rules::ask(shared, asker, read.iter().flatten().map(|item| (&item.who, item.need()))).await?;
    for item in read {
        match item.and_then(|item| item.ruled(&rules)) {
            Ok((id, append)) => {
                ids.push((results.len(), id));
                appends.push(append);
                results.push(None);
            }
            Err(refusal) => results.push(Some(Err(refusal))),
        }
    }
    for ((index, id), answer) in ids.into_iter().zip(append_all(shared, asker.tenant(), appends).await?) {
        results[index] = Some(match answer.await {
            Ok(Ok(answer)) => Ok((id, answer)),
            Ok(Err(error)) => Err(refusal(error).about(id)),
            // The room died with the append under way.
            Err(_) => Err(refusal(AppendError::Unknown("room died".into())).about(id)),
        });
    }
    Ok((results.into_iter().flatten().collect(), shape))
}

/// The items of a body, one or a list of them, no more than one request may have; `what` says what they are.
pub(super) fn split<'a>(shared: &Shared, body: &'a Bytes, what: &str) -> Result<(Vec<&'a RawValue>, Shape), Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| Refusal::new(Code::InvalidJson, "the body is not UTF-8"))?;
    let limits = &shared.context.config.limits;
    let (items, shape) = incoming::split_publishes(text, limits.json_depth)?;
    if items.len() > limits.events_per_request {
        let message = format!("at most {} {what} in one request", limits.events_per_request);
        return Err(Refusal::new(Code::TooLarge, message));
    }
    Ok((items, shape))
}

pub(super) async fn read_body(shared: &Shared, payload: Payload) -> Result<Bytes, Refusal> {
    let (limit, patience) = (shared.context.config.limits.http_body_bytes, shared.context.config.server.body_timeout);
    match timeout(patience, payload.to_bytes_limited(limit)).await {
        Ok(Ok(Ok(body))) => Ok(body),
        Ok(Ok(Err(_))) => Err(Refusal::new(Code::InvalidJson, "the body could not be read to its end")),
        Err(_) => {
            Err(Refusal::new(Code::TooSlow, "the body did not come within `server.body_timeout`; send less at once"))
        }
        Ok(Err(_)) => Err(Refusal::new(Code::TooLarge, format!("the body is larger than {limit} bytes"))),
    }
}

/// An event that its sender is granted to publish.
struct Item {
    who: Who,
    event_type: EventType,
    id: EventId,
    append: Append,
}

impl Item {
    fn need(&self) -> Need<'_> {
        Need::Publish(self.event_type.as_str())
    }

    fn ruled(self, rules: &Rules) -> Result<(EventId, Append), Refusal> {
        rules.check(&self.who, self.need()).map_err(|refusal| refusal.about(self.id))?;
        Ok((self.id, self.append))
    }
}

fn read_item(shared: &Shared, asker: &Asker, text: &str) -> Result<Item, Refusal> {
    let limits = &shared.context.config.limits;
    if text.len() > limits.max_message_bytes {
        let message = format!("the event is larger than {} bytes", limits.max_message_bytes);
        return Err(Refusal::new(Code::TooLarge, message));
    }
    let (instance, publish) = incoming::read_publish(text, asker.tenant(), limits.json_depth)?;
    let id = publish.id;
    let grant = asker.grant(shared, instance).map_err(|refusal| refusal.about(id))?;
    let event_type = publish.event_type.clone();
    asker.is_granted(Need::Publish(event_type.as_str())).map_err(|refusal| refusal.about(id))?;
    let who = asker.who(Some(grant.instance().clone()));
    // Without tokens whom it acts for is its own word, here too.
    let grant = if asker.is_proven() { grant } else { grant.acting_for(asker.user().cloned(), None) };
    let append = append_of(&grant, publish, shared.context.now()).map_err(|refusal| refusal.about(id))?;
    Ok(Item { who, event_type, id, append })
}

type Answers = Vec<oneshot::Receiver<Result<Answer, AppendError>>>;

async fn append_all(shared: &Shared, tenant: &TenantId, appends: Vec<Append>) -> Result<Answers, Refusal> {
    if appends.is_empty() {
        return Ok(Vec::new());
    }
    let away = || Refusal::new(Code::Draining, "the node is going away; repeat with the same ids");
    loop {
        let entered = shared.addresses.directory.send(Enter(tenant.clone())).await.map_err(|_| away())??;
        let (answers, receivers) = appends.iter().map(|_| oneshot::channel()).unzip();
        if let Ok(Ok(())) = entered.room.send(PublishFor { appends: appends.clone(), answers }).await {
            return Ok(receivers);
        }
        // The room went away in between; repeating is harmless, and the directory has the next one.
    }
}

fn status_of(result: &ItemResult) -> u16 {
    match result {
        Ok((_, Answer::Appended(Appended { outcome: Outcome::Stored, .. }))) => 201,
        Ok((_, Answer::Appended(Appended { outcome: Outcome::Duplicate, .. }))) => 200,
        Ok((_, Answer::Queued)) => 202,
        Err(refusal) => refusal.code.status(),
    }
}

fn describe(epoch: Epoch, result: &ItemResult) -> ItemAnswer<'_> {
    match result {
        Ok((id, Answer::Queued)) => ItemAnswer::Queued { event_id: EventIdText(*id), status: "queued" },
        Ok((id, Answer::Appended(Appended { position, outcome }))) => {
            let duplicate = *outcome == Outcome::Duplicate;
            ItemAnswer::Stored {
                event_id: EventIdText(*id),
                seq: position.0,
                duplicate,
                status: if duplicate { "duplicate" } else { "stored" },
                cursor: place_of(epoch, *position, *id),
            }
        }
        Err(refusal) => ItemAnswer::Refused { status: "refused", error: ErrorReport::new(refusal) },
    }
}

fn answer_one(epoch: Epoch, results: Vec<ItemResult>) -> HttpResponse {
    match results.into_iter().next() {
        Some(Err(refusal)) => problem::respond(&refusal),
        Some(result) => HttpResponse::build(status(status_of(&result))).json(describe(epoch, &result)),
        None => problem::respond(&Refusal::new(Code::InvalidJson, "the body is empty")),
    }
}

fn answer_list(epoch: Epoch, results: &[ItemResult]) -> HttpResponse {
    #[derive(Serialize)]
    struct Results<'a> {
        results: Vec<ItemAnswer<'a>>,
    }
    let first = results.first().map_or(200, status_of);
    let same = results.iter().all(|result| status_of(result) == first);
    let results = results.iter().map(|result| describe(epoch, result)).collect();
    HttpResponse::build(status(if same { first } else { 207 })).json(Results { results })
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
