//! Operations on entities without a socket: one, or a list of them, each answered on its own; all or none if that was
//! asked.

use actix_web::{
    HttpRequest, HttpResponse,
    http::StatusCode,
    web::{Data, Payload},
};

use super::{
    asker::{Asker, Rules},
    events::{read_body, split},
    parameters::Parameters,
    problem,
    server::Shared,
    settled::{self, FAILED_DEPENDENCY, Settled},
};
use crate::wire::{
    Code, Need, Refusal,
    answer::Told,
    incoming::Shape,
    message::json_list,
    operation::{Identity, Unit, Wanted, bounded},
    request,
};

/// `POST /v1/tenants/{tenant}/operations`
pub(super) async fn apply(shared: Data<Shared>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let _counted = shared.context.requests.hold();
    match apply_all(&shared, &request, payload).await {
        Ok((settled, Shape::One)) => match settled.into_iter().next() {
            Some(settled) => settled.respond(),
            None => problem::respond(&Refusal::new(Code::InvalidJson, "the body is empty")),
        },
        Ok((settled, Shape::List)) => answer_list(settled),
        Err(refusal) => problem::respond(&refusal),
    }
}

async fn apply_all(shared: &Shared, request: &HttpRequest, payload: Payload) -> Result<(Vec<Settled>, Shape), Refusal> {
    let asker = Asker::enter(shared, request).await?;
    let unit = if Parameters::read(request.query_string()).switch("atomic")? { Unit::Batch } else { Unit::Operation };
    let body = read_body(shared, payload).await?;
    let (items, shape) = split(shared, &body, "operations")?;
    let mut read: Vec<_> = items.into_iter().map(|item| read_item(shared, &asker, item.get())).collect();
    let who = |wanted: &Wanted| asker.who(Some(wanted.operation.stamp.by.instance.clone()));
    let askers: Vec<_> = read.iter().flatten().map(|wanted| (who(wanted), wanted.key.clone())).collect();
    // Before the rules are asked: whoever may send no more makes nobody ask.
    asker.takes_messages(shared, askers.len())?;
    let rules = Rules::ask(shared, &asker, askers.iter().map(|(who, key)| (who, Need::Change(key)))).await?;
    let ruled = |wanted: Wanted| match rules.check(&who(&wanted), Need::Change(&wanted.key)) {
        Ok(()) => Ok(wanted),
        Err(refusal) => Err(refusal.concerning(wanted.reference.clone())),
    };
    read = read.into_iter().map(|wanted| wanted.and_then(ruled)).collect();
    if unit == Unit::Batch {
        read = bounded(read);
    }
    let (mut fit, mut settled) = (Vec::new(), Vec::new());
    for one in read {
        match one {
            Ok(wanted) => {
                fit.push(wanted);
                settled.push(None);
            }
            Err(refusal) => settled.push(Some(Settled::refused(&refusal))),
        }
    }
    let done = if unit == Unit::Batch && fit.len() < settled.len() {
        // One that makes no sense could not be done either.
        fit.into_iter().map(|wanted| Settled::of(&Told::apart(wanted))).collect()
    } else {
        settled::operate(shared, asker.tenant(), fit, unit).await?
    };
    let mut done = done.into_iter();
    Ok((settled.into_iter().filter_map(|settled| settled.or_else(|| done.next())).collect(), shape))
}

fn read_item(shared: &Shared, asker: &Asker, text: &str) -> Result<Wanted, Refusal> {
    let limits = &shared.context.config.limits;
    check_size(shared, text)?;
    let author = |instance| Ok(asker.grant(shared, instance)?.author().clone());
    let author = (Identity::of(asker.is_proven()), asker.may_change(), author);
    let wanted = request::read_item(text, asker.tenant(), author, shared.context.now(), limits.json_depth)?;
    let is_granted = asker.is_granted(Need::Change(&wanted.key));
    let is_own = is_granted.and_then(|()| asker.is_own(&wanted.key, &wanted.operation.stamp.by));
    is_own.map_err(|refusal| refusal.concerning(wanted.reference.clone()))?;
    Ok(wanted)
}

/// Holds what changes one entity to the bound on messages.
pub(super) fn check_size(shared: &Shared, text: &str) -> Result<(), Refusal> {
    let limit = shared.context.config.limits.max_message_bytes;
    if text.len() > limit {
        return Err(Refusal::new(Code::TooLarge, format!("what is sent for one entity is larger than {limit} bytes")));
    }
    Ok(())
}

fn answer_list(settled: Vec<Settled>) -> HttpResponse {
    let first = settled.first().map_or(200, |one| one.status);
    let cause = settled.iter().find(|one| one.status != FAILED_DEPENDENCY);
    let status = match cause {
        _ if settled.iter().all(|one| one.status == first) => first,
        // Nothing was done, and this is why.
        Some(cause) if settled.iter().any(|one| one.status == FAILED_DEPENDENCY) => cause.status,
        _ => 207,
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = format!("{{\"results\":{}}}", json_list(settled.into_iter().map(|one| one.body)));
    HttpResponse::build(status).content_type("application/json").body(body)
}
