//! All nodes that this one knows.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use serde::Serialize;
use serde_json::json;
use uuid::Uuid;

use super::Scope;
use crate::{
    actors::nodes::account,
    http::{admin::answer, server::Shared},
    model::peers::{Account, Link},
};

/// A node as it is shown: what it said of itself, or nothing.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: Uuid,
    is_self: bool,
    incarnation: u64,
    heard_ms_ago: u64,
    name: Option<&'a str>,
    version: Option<&'a str>,
    since: Option<String>,
    status: Option<&'a str>,
    reason: Option<&'a str>,
    link: Option<&'a Link>,
    connections: Option<u64>,
    rooms: Option<u64>,
    hears: Option<u64>,
}

impl<'a> Shown<'a> {
    fn new(id: Uuid, (incarnation, heard_ms_ago): (u64, u64), account: Option<&'a Account>) -> Self {
        Self {
            id,
            is_self: false,
            incarnation,
            heard_ms_ago,
            name: account.map(|account| &*account.name),
            version: account.map(|account| &*account.version),
            since: account.map(|account| account.since.to_string()),
            status: account.map(|account| &*account.status),
            reason: account.and_then(|account| account.reason.as_deref()),
            link: account.map(|account| &account.link),
            connections: account.map(|account| account.connections),
            rooms: account.map(|account| account.rooms),
            hears: account.map(|account| account.hears),
        }
    }
}

/// `GET /v1/admin/nodes`
pub(in crate::http) async fn nodes(shared: Data<Shared>, request: HttpRequest) -> HttpResponse {
    answer(Scope::enter_all(&shared, &request).await.map(|()| told(&shared)))
}

fn told(shared: &Shared) -> HttpResponse {
    let context = &shared.context;
    let (nodes, now) = (&context.nodes, context.uptime());
    let own = account(context);
    let me = Shown { is_self: true, ..Shown::new(nodes.me().0, (nodes.incarnation().0, 0), Some(&own)) };
    let others = nodes.others();
    let others = others.iter().map(|(id, peer)| {
        let silent = now.saturating_sub(peer.heard).as_millis() as u64;
        Shown::new(id.0, (peer.incarnation.0, silent), peer.account.as_ref().map(Arc::as_ref))
    });
    HttpResponse::Ok().json(json!({
        "nodes": std::iter::once(me).chain(others).collect::<Vec<_>>(),
        "is_deaf": nodes.is_deaf(),
        "as_of": context.now().to_string(),
    }))
}
